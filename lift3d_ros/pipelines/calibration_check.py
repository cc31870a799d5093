"""Says in plain sentences what cannot be right about the calibration of a rig, before its first box.

A wrong calibration does not fail, it gives wrong boxes. Reported is only what hardly any real rig has: a base frame at
axle height, a turned base frame, cameras of a small robot and pairs of cameras for stereo are fine.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from lift3d_ros.geometry.rigid import invert, make_transform
from lift3d_ros.pipelines.rig_check import LOOK, CameraPose, Finding, MountedCamera, check_rig, fields_deg
from lift3d_ros.types import CameraModel, CameraView, Float64Array, FrameSet

_LOWEST_M, _HIGHEST_M = 0.2, 4.5
_FARTHEST_M = 20.0
_STEEPEST_DEG = 45.0
_STRAIGHT_DEG = 75.0
_ROLLED_DEG = 30.0
_NARROWEST_DEG, _WIDEST_DEG, _WIDEST_FISHEYE_DEG = 5.0, 170.0, 300.0

# Body axes (x forward, y left, z up) of optical ones, and a base frame with z down instead of up.
_BODY_OPTICAL = make_transform([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]], np.zeros(3))
_TURNED_OVER = make_transform(np.diag([1.0, -1.0, -1.0]), np.zeros(3))

_CHECK_ANGLES = f"check the order of axes and angles, and degrees against radians, {LOOK}"

_Mounted = tuple[CameraModel, Float64Array]
_Text = tuple[str, str, str]  # found, expected, remedy


class CalibrationWatch:
    """Checks a rig when its first cameras are seen, and again when a camera comes or its calibration changes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rig: dict[str, _Mounted] = {}
        self._keys: dict[str, tuple[object, ...]] = {}
        self._sentences: tuple[str, ...] = ()

    def look_at(self, frame_set: FrameSet) -> tuple[str, ...]:
        """Return the sentences about all cameras seen so far; they are the same until a calibration changes."""
        with self._lock:
            keys = {**self._keys, **{name: _key(view) for name, view in frame_set.views.items()}}
            if keys != self._keys:
                self._keys = keys
                self._rig.update(_without_pictures(frame_set.views))
                self._sentences = tuple(_check(self._rig))
            return self._sentences


def check_calibration(views: Mapping[str, CameraView]) -> list[str]:
    """Return one sentence for each thing that looks wrong: cameras, found, expected, remedy; empty when all is fine.

    Args:
        views: camera name -> view; intrinsics and mounting are looked at, pictures are not.
    """
    return _check(_without_pictures(views))


def _without_pictures(views: Mapping[str, CameraView]) -> dict[str, _Mounted]:
    return {name: (view.model, view.T_base_cam) for name, view in views.items()}


def _check(rig: Mapping[str, _Mounted]) -> list[str]:
    findings: list[Finding] = []
    plausible: list[MountedCamera] = []
    for name, (model, T_base_cam) in rig.items():
        findings += _check_intrinsics(name, model)
        wrong = _check_mounting(name, model, T_base_cam)
        if wrong is None:
            plausible.append(MountedCamera(name, model, CameraPose.of(T_base_cam)))
        else:
            findings.append(wrong)
    return _sentences([*findings, *check_rig(plausible)])


def _key(view: CameraView) -> tuple[object, ...]:
    model = view.model
    numbers = (model.intrinsics.tobytes(), model.distortion.tobytes(), view.T_base_cam.tobytes())
    return (model.width, model.height, model.distortion_model, *numbers)


def _sentences(findings: Sequence[Finding]) -> list[str]:
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.expected, finding.remedy), []).append(finding)
    sentences = []
    for (expected, remedy), group in groups.items():
        if len(group) == 1:
            names = group[0].cameras
            subject = f"camera{'s' if len(names) > 1 else ''} {_quoted(names)}: {group[0].found}"
        else:
            subject = "cameras " + ", ".join(f"{_quoted(item.cameras)} ({item.found})" for item in group)
        sentences.append(f"{subject}; expected {expected}; {remedy}")
    return sentences


def _quoted(names: Sequence[str]) -> str:
    return " and ".join(f"'{name}'" for name in names) if len(names) < 3 else ", ".join(f"'{name}'" for name in names)


def _check_intrinsics(name: str, model: CameraModel) -> Iterator[Finding]:
    K, size = model.intrinsics, np.array([model.width, model.height])
    is_fisheye = model.distortion_model == "equidistant"
    field_deg = float(fields_deg(model).max())
    widest = _WIDEST_FISHEYE_DEG if is_fisheye else _WIDEST_DEG
    of_this_size = "take the calibration made for pictures of this size"
    if not _NARROWEST_DEG <= field_deg <= widest:
        yield Finding(
            (name,),
            f"field of view {field_deg:.1f} deg (focal length {K[0, 0]:g} px, {model.width} px wide)",
            f"{_NARROWEST_DEG:g} to {widest:g} deg",
            f"give fx and fy in pixels, {of_this_size}",
        )
        return
    relative = 2.0 * (K[:2, 2] + 0.5) / size  # 1 in the middle
    where = f"principal point ({K[0, 2]:.0f}, {K[1, 2]:.0f}) in pictures of {model.width}x{model.height}"
    # Cropping moves it along one axis or by different ratios; another picture size moves it alike on both.
    ratio = float(np.sqrt(np.abs(relative[0] * relative[1])))
    is_alike = relative.max() < 1.15 * relative.min()
    if is_alike and ((relative.min() > 1.1 and ratio > 1.15) or (relative.max() < 1 / 1.1 and ratio < 1 / 1.15)):
        other = size * ratio
        yield Finding(
            (name,),
            f"{where}, as if calibrated for about {other[0]:.0f}x{other[1]:.0f}",
            "it near the middle",
            of_this_size,
        )
    elif relative.min() < -0.5 or relative.max() > 2.5:
        yield Finding((name,), where, "it inside or near the picture", f"check cx and cy, {of_this_size}")


def _check_mounting(name: str, model: CameraModel, T_base_cam: Float64Array) -> Finding | None:
    """Return the most likely cause where the mounting of a camera on its own is wrong."""
    pose = CameraPose.of(T_base_cam)
    wrong = (
        _wrong_unit(pose)
        or _wrong_frame(T_base_cam, pose)
        or _wrong_direction(model, pose)
        or _wrong_height(pose)
        or _wrong_horizon(model, pose)
    )
    return None if wrong is None else Finding((name,), *wrong)


def _wrong_unit(pose: CameraPose) -> _Text | None:
    if np.abs(pose.position).max() <= _FARTHEST_M:
        return None
    x, y, z = pose.position
    expected = f"at most {_FARTHEST_M:g} m from the base frame"
    return f"position ({x:g}, {y:g}, {z:g}) m", expected, "give metres, not millimetres, and no position on a map"


def _wrong_frame(T_base_cam: Float64Array, pose: CameraPose) -> _Text | None:
    """Try whether the mounting makes sense when it is read in another way."""
    if _is_plausible(pose):
        return None
    if _is_plausible(CameraPose.of(_TURNED_OVER @ T_base_cam)):
        expected = "a base frame with z up (x forward, y left), this one seems to have z down (y right)"
        return _looks(pose), expected, f"turn the base frame after REP-103, {LOOK}"
    if _is_plausible(CameraPose.of(invert(T_base_cam))):
        expected = "the pose of the camera in the base frame, this seems to be its inverse"
        return _looks(pose), expected, f"invert the transform, {LOOK}"
    if not _is_upright(pose) and _is_upright(CameraPose.of(T_base_cam @ _BODY_OPTICAL)):
        expected = "optical axes (x right, y down, z forward), these seem to be body axes (x forward, z up)"
        return _looks(pose), expected, f"give the optical frame of the camera (REP-103), {LOOK}"
    return None


def _wrong_direction(model: CameraModel, pose: CameraPose) -> _Text | None:
    # A fisheye camera may look down steeply and still see the horizon.
    steepest = _STRAIGHT_DEG if 0 <= _horizon_row(model, pose) <= model.height else _STEEPEST_DEG
    if abs(pose.pitch_deg) > steepest:
        return _looks(pose), "a camera that sees the horizon", _CHECK_ANGLES
    if abs(pose.roll_deg) > 180 - _ROLLED_DEG:
        remedy = f"correct the mounting, or turn the pictures and the calibration by 180 deg, {LOOK}"
        return f"upside down, {_looks(pose)}", "an upright picture", remedy
    if abs(pose.roll_deg) > _ROLLED_DEG:
        return _looks(pose), f"at most {_ROLLED_DEG:g} deg of roll", _CHECK_ANGLES
    return None


def _wrong_height(pose: CameraPose) -> _Text | None:
    if _has_plausible_height(pose):
        return None
    expected = f"{_LOWEST_M:g} to {_HIGHEST_M:g} m above the ground, which is z = 0 of the base frame"
    remedy = f"check the position, or take a base frame that lies lower, {LOOK}"
    return f"{pose.position[2]:.2f} m high", expected, remedy


def _wrong_horizon(model: CameraModel, pose: CameraPose) -> _Text | None:
    row = _horizon_row(model, pose)
    # Looking down there is still ground to see, above the horizon there is none.
    if -model.height <= row <= 1.1 * model.height:
        return None
    expected = "it in the picture, or at most one picture height above"
    return (
        f"horizon in row {row:.0f} of {model.height}",
        expected,
        f"check the pitch of the mounting, fy and cy, {LOOK}",
    )


def _looks(pose: CameraPose) -> str:
    pitch = abs(pose.pitch_deg)
    direction = "level" if pitch < 0.5 else f"{pitch:.0f} deg {'down' if pose.pitch_deg > 0 else 'up'}"
    return f"looks {direction}, rolled {pose.roll_deg:.0f} deg, {pose.position[2]:.2f} m above z = 0"


def _is_upright(pose: CameraPose) -> bool:
    return abs(pose.pitch_deg) <= _STEEPEST_DEG and abs(pose.roll_deg) <= _ROLLED_DEG


def _has_plausible_height(pose: CameraPose) -> bool:
    return bool(_LOWEST_M <= pose.position[2] <= _HIGHEST_M)


def _is_plausible(pose: CameraPose) -> bool:
    return _is_upright(pose) and _has_plausible_height(pose)


def _horizon_row(model: CameraModel, pose: CameraPose) -> float:
    """Return the row in which level directions lie, above or below the principal point."""
    angle = np.deg2rad(np.clip(pose.pitch_deg, -89.0, 89.0))
    tangent = angle if model.distortion_model == "equidistant" else np.tan(angle)
    return float(model.intrinsics[1, 2] - model.intrinsics[1, 1] * tangent)
