"""Keypoints of one picture, checked and padded to batches for the skeleton lifter.

Shape letters: B instances of a batch, J joints (padded).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.config import setting
from lift3d_ros.engines.protocol import Arrays
from lift3d_ros.errors import CalibrationError, TransformError
from lift3d_ros.geometry.camera import unproject
from lift3d_ros.geometry.skeleton import SkeletonFacts
from lift3d_ros.pipelines.skeleton_placement import CenteredRays, NormalisedPoints, look_at_instances, normalise_points
from lift3d_ros.pipelines.skeleton_scale import KnownLength
from lift3d_ros.types import Boxes3D, CameraModel, Float32Array, Float64Array, Keypoints2D

_JOINTS_PER_RUN = 4096
# No picture is so large: joints farther away count as not seen, before numbers overflow.
FARTHEST_PX = 1e7
_PADDED_SIZES = (8, 12, 16, 20, 26, 34, 48, 72, 104, 144)


@dataclass(frozen=True)
class LifterConfig:
    """Which instances are lifted, and from what."""

    min_confidence: float = setting(0.2, "joints with a lower confidence count as not seen", minimum=0.0, maximum=1.0)
    min_joints: int = setting(4, "instances with fewer seen joints are not lifted", minimum=3, maximum=1000)
    min_extent_px: float = setting(
        4.0, "instances that are smaller in the picture are not lifted", unit="px", minimum=0.1, maximum=10000.0
    )
    max_joints: int = setting(
        256, "instances with more joints are not lifted; time grows with the square", minimum=3, maximum=4096
    )
    uses_sides: bool = setting(True, "tell the network which joints are left and right, where the skeleton says it")


@dataclass(frozen=True, eq=False)
class KeypointFrame:
    """The keypoints of one picture and what is known besides.

    Args:
        skeletons: name -> skeleton, for every instance.
        camera: intrinsics of the picture; without them the result is normalised, not metric.
        up: (3,) direction against gravity in the optical frame; None where not known.
        depth: (H, W) metres in the picture of `camera`, registered to it; not finite or <= 0 where not measured.
        boxes: detected boxes of the same time, for scale.
        T_cam_boxes: (4, 4) from the frame of `boxes` to the optical frame.
        known_lengths: distances of joints that the user measured; they hold for every instance that has the joints.
    """

    stamp_ns: int
    instances: tuple[Keypoints2D, ...]
    skeletons: Mapping[str, SkeletonFacts]
    frame_id: str = ""
    camera: CameraModel | None = None
    up: Float64Array | None = None
    depth: Float32Array | None = None
    boxes: Boxes3D | None = None
    T_cam_boxes: Float64Array = field(default_factory=lambda: np.eye(4))
    known_lengths: tuple[KnownLength, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a depth picture of another size than the camera's, and an upward direction without direction."""
        if self.depth is not None and self.camera is not None:
            expected = (self.camera.height, self.camera.width)
            if self.depth.shape != expected:
                raise CalibrationError(
                    f"depth picture has shape {self.depth.shape}; expected {expected} as camera '{self.camera.name}': "
                    "give depth that is registered to the picture of the keypoints"
                )
        if self.up is not None:
            up = np.asarray(self.up, dtype=np.float64)
            if up.shape != (3,) or not np.isfinite(up).all() or np.linalg.norm(up) < 1e-6:
                raise TransformError(
                    f"direction against gravity is {up.tolist()}; expected three finite numbers, not all zero, in the "
                    "optical frame; check the transform between camera and base"
                )


@dataclass(frozen=True, eq=False)
class PreparedBatch:
    """Instances of about the same number of joints, padded: B instances, J joints.

    Args:
        members: (B,) positions in `KeypointFrame.instances`.
        is_seen: (B, J).
        normalised: the points that the network gets; with a camera on the plane z = 1 of one that looks at each object.
        centered: None without a camera.
        is_line: (B,) the seen joints lie on a line in the picture.
    """

    members: tuple[int, ...]
    is_seen: NDArray[np.bool_]
    normalised: NormalisedPoints
    centered: CenteredRays | None
    is_line: NDArray[np.bool_]
    inputs: Arrays


@dataclass(frozen=True, eq=False)
class PreparedKeypoints:
    """What one frame gives to the network; instances that cannot be lifted are left out and explained."""

    frame: KeypointFrame
    batches: tuple[PreparedBatch, ...]
    problems: tuple[str, ...]
    prepare_s: float


def prepare_keypoints(frame: KeypointFrame, config: LifterConfig) -> PreparedKeypoints:
    """Check the instances, undo the lens, and pad instances of similar size to batches.

    An instance that cannot be lifted never raises: it is left out and named in `problems`.
    """
    start = time.perf_counter()
    problems: list[str] = []
    seen: dict[int, NDArray[np.bool_]] = {}
    sources = _sources(frame)
    for number, instance in enumerate(frame.instances):
        is_seen = instance.seen(config.min_confidence) & np.isfinite(sources[number]).all(axis=1)
        problem = _refusal(instance, is_seen, frame.skeletons, config)
        if problem:
            problems.append(f"{instance_label(instance)}: {problem}; it is not lifted")
        else:
            seen[number] = is_seen
    if seen and frame.camera is None:
        problems.append("no calibration of the camera: skeletons are normalised, not in metres")
    batches = []
    for members in _batches({number: len(frame.instances[number]) for number in seen}):
        batch = _prepare_batch(frame, members, seen, sources, config.uses_sides)
        problems += [
            f"{instance_label(frame.instances[number])}: all seen joints lie on a line, so how the object is turned "
            "about it is not known"
            for row, number in enumerate(members)
            if batch.is_line[row]
        ]
        batches.append(batch)
    return PreparedKeypoints(frame, tuple(batches), tuple(problems), time.perf_counter() - start)


def instance_label(instance: Keypoints2D) -> str:
    """Return how messages name an instance."""
    return f"instance {instance.instance_id} ({instance.skeleton or 'without skeleton'})"


def _refusal(
    instance: Keypoints2D, is_seen: NDArray[np.bool_], skeletons: Mapping[str, SkeletonFacts], config: LifterConfig
) -> str:
    """Return why an instance cannot be lifted, empty where it can."""
    facts = skeletons.get(instance.skeleton)
    if facts is None:
        return f"its skeleton is not known (known: {', '.join(skeletons) or 'none'})"
    if len(instance) != len(facts.skeleton):
        return f"it has {len(instance)} keypoints, the skeleton has {len(facts.skeleton)} joints"
    if len(instance) > config.max_joints:
        return f"it has {len(instance)} joints; expected at most {config.max_joints} (lifter.max_joints)"
    if is_seen.sum() < config.min_joints:
        return f"{is_seen.sum()} seen joints; expected at least {config.min_joints} (lifter.min_joints)"
    extent = np.ptp(instance.points[is_seen], axis=0).max()
    if extent < config.min_extent_px:
        return (
            f"its seen joints lie within {extent:.1f} px; expected at least {config.min_extent_px:g} px "
            "(lifter.min_extent_px)"
        )
    return ""


def _prepare_batch(
    frame: KeypointFrame,
    members: tuple[int, ...],
    seen: Mapping[int, NDArray[np.bool_]],
    sources: list[Float64Array],
    uses_sides: bool,
) -> PreparedBatch:
    count, joints = len(members), max(len(frame.instances[number]) for number in members)
    points = np.zeros((count, joints, 2))
    exists, is_seen = np.zeros((count, joints), dtype=bool), np.zeros((count, joints), dtype=bool)
    side = np.zeros((count, joints), dtype=np.float32)
    adjacency = np.zeros((count, joints, joints), dtype=bool)
    for row, number in enumerate(members):
        instance = frame.instances[number]
        skeleton, size = frame.skeletons[instance.skeleton].skeleton, len(instance)
        exists[row, :size] = True
        is_seen[row, :size] = seen[number]
        points[row, :size] = np.where(seen[number][:, None], sources[number], 0.0)
        adjacency[row, :size, :size] = skeleton.adjacency
        if uses_sides:
            side[row, :size] = skeleton.sides
    centered = None
    if frame.camera is not None:
        centered = look_at_instances(points, is_seen)
        points, is_seen = centered.rays, centered.is_usable
    normalised = normalise_points(points, is_seen)
    singular = np.linalg.svd(normalised.points, compute_uv=False)
    inputs: Arrays = {
        "points": normalised.points.astype(np.float32),
        "exists": exists,
        "is_visible": is_seen,
        "side": side,
        "adjacency": adjacency,
    }
    is_line = singular[:, 1] < 1e-3 * np.maximum(singular[:, 0], 1e-9)
    return PreparedBatch(members, is_seen, normalised, centered, is_line, inputs)


def _sources(frame: KeypointFrame) -> list[Float64Array]:
    """Return the points of each instance in pixels or, with a camera, at z = 1; NaN where the lens has no ray."""
    points = [np.where(np.abs(instance.points) <= FARTHEST_PX, instance.points, np.nan) for instance in frame.instances]
    if frame.camera is None or not points:
        return points
    rays = unproject(frame.camera, np.concatenate(points))[:, :2]
    return np.split(rays, np.cumsum([len(part) for part in points])[:-1])


def _batches(sizes: Mapping[int, int]) -> list[tuple[int, ...]]:
    """Return instances of about the same number of joints together, `sizes` being instance -> joints."""
    by_size: dict[int, list[int]] = {}
    for number, size in sizes.items():
        padded = next((step for step in _PADDED_SIZES if size <= step), size)
        by_size.setdefault(padded, []).append(number)
    batches = []
    for padded, members in by_size.items():
        most = max(1, _JOINTS_PER_RUN // padded)
        batches += [tuple(members[first : first + most]) for first in range(0, len(members), most)]
    return batches
