"""Camera rigs at random, and how the true cameras of a vehicle differ from what its calibration says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from lift3d_ros.datasets.frames import SceneCamera
from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.rotations import rpy_matrix
from lift3d_ros.types import CameraModel, DistortionModel, Float64Array

_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
_SHAPES = ((16, 9), (16, 9), (16, 9), (4, 3), (3, 2))


@dataclass(frozen=True)
class _Body:
    """Where cameras sit: x of the front and rear ones, y of those at the sides, and heights, metres."""

    front: tuple[float, float]
    rear: tuple[float, float]
    side: tuple[float, float]
    height: tuple[float, float]


# The base frame is on the ground below the rear axle; robots have it in their middle.
_BODIES = {
    "car": _Body((1.2, 1.9), (-0.3, 0.3), (0.40, 0.60), (1.35, 1.75)),
    "van": _Body((2.2, 3.0), (-0.9, -0.4), (0.70, 0.90), (1.7, 2.2)),
    "truck": _Body((3.2, 4.2), (-1.2, -0.6), (1.00, 1.20), (2.0, 2.6)),
    "robot": _Body((0.25, 0.50), (-0.50, -0.25), (0.20, 0.35), (0.8, 1.2)),
}

# Yaw (degrees) and horizontal field of view of the rig that most data sets resemble.
_NUSCENES = {
    "front": (0.0, 64.6), "front_left": (55.0, 64.6), "front_right": (-55.0, 64.6),
    "back": (180.0, 89.4), "back_left": (110.0, 65.0), "back_right": (-110.0, 64.8),
}  # fmt: skip


def random_rig(rng: np.random.Generator, width: int = 704) -> dict[str, SceneCamera]:
    """Return a surround rig for pictures about `width` pixels wide; half of all resemble that of nuScenes."""
    if rng.random() < 0.5:
        yaws = {name: yaw + float(rng.normal(0.0, 2.0)) for name, (yaw, _) in _NUSCENES.items()}
        fields = {name: fov * float(rng.uniform(0.93, 1.08)) for name, (_, fov) in _NUSCENES.items()}
        return _rig(rng, "car", yaws, fields, (16, 9), width, "none" if rng.random() < 0.8 else "plumb_bob")
    kind = str(rng.choice(list(_BODIES), p=[0.45, 0.25, 0.15, 0.15]))
    count = int(rng.integers(4, 9))
    start = 0.0 if rng.random() < 0.75 else 180.0 / count
    yaws, fields = {}, {}
    step = 360.0 / count
    for i in range(count):
        yaw = (start + step * i + 180.0) % 360.0 - 180.0
        name = _name(yaw, yaws)
        yaws[name] = yaw + float(rng.normal(0.0, min(3.0, 0.06 * step)))
        fields[name] = float(np.clip(step * rng.uniform(1.08, 1.35), 50.0, 110.0))
    shape = _SHAPES[int(rng.integers(len(_SHAPES)))]
    return _rig(rng, kind, yaws, fields, shape, width, _distortion_model(rng))


def disturbed(cameras: Mapping[str, SceneCamera], rng: np.random.Generator) -> dict[str, SceneCamera]:
    """Return the true cameras of a rig whose calibration says `cameras`.

    They are turned by 0.1 to 0.5 degrees, moved by some millimetres, and their focal length and principal point
    differ by some thousandths.
    """
    true = {}
    for name, camera in cameras.items():
        axis = rng.standard_normal(3)
        turn = np.deg2rad(rng.uniform(0.1, 0.5)) * axis / np.linalg.norm(axis)
        T = camera.T_base_cam @ make_transform(rpy_matrix(*turn.tolist()), rng.normal(0.0, 0.005, 3))
        intrinsics = camera.model.intrinsics.copy()
        intrinsics[:2, :2] *= 1.0 + float(np.clip(rng.normal(0.0, 0.0025), -0.005, 0.005))
        intrinsics[:2, 2] += rng.normal(0.0, 0.0015 * camera.model.width, 2)
        true[name] = SceneCamera(replace(camera.model, intrinsics=intrinsics), T)
    return true


@dataclass(frozen=True)
class BodyMotion:
    """How a vehicle body rolls and pitches over its wheels: sums of sines of time.

    Args:
        amplitudes: (2, W) rad, of roll and pitch; rates: (2, W) rad/s; phases: (2, W) rad.
    """

    amplitudes: Float64Array
    rates: Float64Array
    phases: Float64Array

    def T_base_body(self, time_s: float) -> Float64Array:
        """Return the pose of the body, which carries the cameras, relative to the level base frame."""
        roll, pitch = (self.amplitudes * np.sin(self.rates * time_s + self.phases)).sum(axis=1).tolist()
        return make_transform(rpy_matrix(roll, pitch, 0.0), np.zeros(3))


def body_motion(rng: np.random.Generator, largest_deg: float = 0.8) -> BodyMotion:
    """Return body motion of a drive; roll and pitch stay below `largest_deg` each."""
    shares = rng.dirichlet(np.ones(3), size=2)
    largest = np.deg2rad(rng.uniform(0.1, 1.0, size=(2, 1)) * largest_deg)
    return BodyMotion(shares * largest, 2 * np.pi * rng.uniform(0.2, 1.6, (2, 3)), rng.uniform(0, 2 * np.pi, (2, 3)))


def _rig(
    rng: np.random.Generator,
    kind: str,
    yaws: Mapping[str, float],
    fields: Mapping[str, float],
    shape: tuple[int, int],
    width: int,
    distortion_model: DistortionModel,
) -> dict[str, SceneCamera]:
    body = _BODIES[kind]
    front, rear, side, height = (float(rng.uniform(*span)) for span in (body.front, body.rear, body.side, body.height))
    tilt = float(rng.normal(0.0, 1.0)) if kind != "robot" else float(rng.uniform(-4.0, 2.0))
    cameras = {}
    for name, yaw in yaws.items():
        angle = np.deg2rad(yaw)
        x = (front + rear) / 2 + (front - rear) / 2 * np.cos(angle)
        position = [x, side * np.sin(angle), height + float(rng.normal(0.0, 0.03))]
        turn = rpy_matrix(
            np.deg2rad(float(rng.normal(0.0, 0.7))), np.deg2rad(tilt + float(rng.normal(0.0, 0.7))), angle
        )
        model = _camera(rng, name, fields[name], shape, width, distortion_model)
        cameras[name] = SceneCamera(model, make_transform(turn @ _OPTICAL, position))
    return cameras


def _camera(
    rng: np.random.Generator,
    name: str,
    field_deg: float,
    shape: tuple[int, int],
    width: int,
    distortion_model: DistortionModel,
) -> CameraModel:
    height = 2 * round(width * shape[1] / shape[0] / 2)
    is_fisheye = distortion_model == "equidistant"
    half = np.deg2rad(min(field_deg, 100.0) if is_fisheye else field_deg) / 2
    # An equidistant lens images the angle itself; the others come near to its tangent.
    focal = width / 2 / (half if is_fisheye else np.tan(half))
    offset = rng.normal([0.0, 0.02], [0.012, 0.02]) * width
    K = np.array(
        [[focal, 0.0, width / 2 - 0.5 + offset[0]], [0.0, focal, height / 2 - 0.5 + offset[1]], [0.0, 0.0, 1.0]]
    )
    K[1, 1] *= float(rng.uniform(0.998, 1.002))
    distortion = _coefficients(rng, distortion_model, float(np.tan(half)))
    return CameraModel(name, f"cam_{name}_optical_frame", width, height, K, distortion_model, distortion)


def _distortion_model(rng: np.random.Generator) -> DistortionModel:
    models: tuple[DistortionModel, ...] = ("none", "plumb_bob", "rational_polynomial", "equidistant")
    return models[int(rng.choice(4, p=[0.5, 0.25, 0.1, 0.15]))]


def _coefficients(rng: np.random.Generator, model: DistortionModel, slope: float) -> Float64Array:
    """Return coefficients that bend the border at `slope` by some percent, and never fold the picture."""
    if model == "none":
        return np.zeros(0)
    if model == "equidistant":
        return rng.normal(0.0, [0.02, 0.006, 0.002, 0.0005])
    # Relative to the corner of the picture, beyond which the polynomial may bend back.
    bend = float(rng.uniform(-0.10, -0.01)) / (1.35 * slope) ** 2
    tangential = rng.normal(0.0, 0.0006, 2).tolist()
    if model == "plumb_bob":
        return np.array([bend, 0.3 * bend**2, *tangential, 0.0])
    # The quotient of two close polynomials has the same first order.
    low = float(rng.uniform(0.05, 0.3))
    return np.array([bend + low, 0.0, *tangential, 0.0, low, 0.0, 0.0])


def _name(yaw: float, taken: Mapping[str, float]) -> str:
    """Return a name for a direction that is not taken yet."""
    side = "left" if yaw > 0 else "right"
    if abs(yaw) < 1.0:
        name = "front"
    elif abs(yaw) > 179.0:
        name = "back"
    elif abs(abs(yaw) - 90.0) < 12.0:
        name = side
    else:
        name = f"front_{side}" if abs(yaw) < 90.0 else f"back_{side}"
    number = 2
    unique = name
    while unique in taken:
        unique, number = f"{name}_{number}", number + 1
    return unique
