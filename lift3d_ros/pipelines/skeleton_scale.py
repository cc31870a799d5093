"""Metres for a placed skeleton: from depth, from a detected box, from known lengths, or from the size of its category.

A placed skeleton is known up to one factor on all coordinates of the camera frame; each source gives this factor, in
metres per unit, with its relative standard deviation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import ConfigError, nearest_name_hint
from lift3d_ros.geometry.camera import project
from lift3d_ros.geometry.rigid import transform_points
from lift3d_ros.geometry.skeleton import SkeletonFacts, length_problem
from lift3d_ros.types import Boxes3D, CameraModel, Float32Array, Float64Array, ScaleSource

# Relative errors that remain whatever the readings say: joints lie inside of the body, boxes are not centred on joints.
_DEPTH_STD = 0.02
_BOX_STD = 0.05
_LENGTH_STD = 0.02
# Scatter that one reading of depth is taken to have: it may be of something that stands before the joint.
_READING_STD = 0.3
# A scale that makes something larger or smaller than its known size by more than this many standard deviations is that
# of something else. These are of at least so much: detectors call children persons too, and shapes are not exact.
_MOST_STDS = 4.0
_SMALLEST_SIZE_STD = 0.18
# A reading of depth is the median of this many pixels to each side.
_DEPTH_WINDOW_PX = 2


@dataclass(frozen=True)
class Scale:
    """Metres per unit, where it comes from, and its relative standard deviation."""

    factor: float
    source: ScaleSource
    std: float


@dataclass(frozen=True, eq=False)
class Scales:
    """Scales from one source, for hypotheses of instances: `factor` and `std` are (B, H), NaN where it tells none."""

    factor: Float64Array
    source: ScaleSource
    std: Float64Array

    def at(self, instance: int, hypothesis: int) -> Scale | None:
        """Return one of them, None where there is none."""
        factor = float(self.factor[instance, hypothesis])
        return Scale(factor, self.source, float(self.std[instance, hypothesis])) if factor == factor else None


@dataclass(frozen=True)
class KnownLength:
    """Distance of two joints, by name, m."""

    first: str
    second: str
    m: float

    def __post_init__(self) -> None:
        if problem := length_problem(self.first, self.second, self.m):
            raise ConfigError(f"known length {self.first} to {self.second}: {problem}")

    @classmethod
    def parse(cls, text: str, source: str) -> KnownLength:
        """Return the length that a text as ``left_hip:left_knee=0.43`` tells.

        Raises:
            ConfigError: it tells none; the sentence begins with `source`, which names the option or parameter.
        """
        joints, _, metres = text.rpartition("=")
        first, _, second = (part.strip() for part in joints.partition(":"))
        try:
            value = float(metres)
        except ValueError:
            value = float("nan")
        if not (first and second) or value != value:
            raise ConfigError(f"{source} '{text}'; expected two joints and metres, as in left_hip:left_knee=0.43")
        return cls(first, second, value)


def scale_from_depth(joints: Float64Array, readings: Float64Array) -> Scale | None:
    """Return the scale that brings the depth of joints (J, 3) to `readings` (J,), NaN where there is none, metres.

    The median of all ratios, so that less than half of the joints may be hidden behind something nearer.
    """
    is_used = np.isfinite(readings) & (readings > 0) & (joints[:, 2] > 1e-6)
    if not is_used.any():
        return None
    ratios = readings[is_used] / joints[is_used, 2]
    factor = float(np.median(ratios))
    scatter = 1.4826 * float(np.median(np.abs(ratios / factor - 1.0)))
    # What is expected counts as one reading more, so that few of them cannot claim to agree.
    variance = (_READING_STD**2 + len(ratios) * scatter**2) / (1 + len(ratios))
    return Scale(factor, "depth", float(np.hypot(_DEPTH_STD, np.sqrt(variance / len(ratios)))))


def is_plausible(scale: Scale, known: Scale) -> bool:
    """Whether a measured scale is possible for something whose size, and so another scale, is known."""
    return abs(math.log(scale.factor / known.factor)) <= _MOST_STDS * max(known.std, _SMALLEST_SIZE_STD)


def read_depth(depth: Float32Array, pixels: Float64Array, is_seen: NDArray[np.bool_]) -> Float64Array:
    """Return depths (J,) of a picture (H, W), m, at pixels (J, 2); NaN where not seen, outside, or not measured."""
    height, width = depth.shape
    readings = np.full(len(pixels), np.nan)
    for joint in np.flatnonzero(is_seen):
        column, row = np.rint(pixels[joint])
        if not (0 <= column < width and 0 <= row < height):
            continue
        first_row, first_column = (max(0, int(value) - _DEPTH_WINDOW_PX) for value in (row, column))
        window = depth[first_row : int(row) + _DEPTH_WINDOW_PX + 1, first_column : int(column) + _DEPTH_WINDOW_PX + 1]
        measured = window[np.isfinite(window) & (window > 0)]
        if measured.size:
            readings[joint] = np.median(measured)
    return readings


def scale_from_center(joints: Float64Array, center: Float64Array) -> Scale | None:
    """Return the scale that brings the middle of joints (J, 3) as far away as a box with this `center` (3,), metres."""
    middle = 0.5 * (joints.min(axis=0) + joints.max(axis=0))
    distance, wanted = float(np.linalg.norm(middle)), float(np.linalg.norm(center))
    return Scale(wanted / distance, "box", _BOX_STD) if distance > 1e-6 and wanted > 1e-6 else None


def match_boxes(
    boxes: Boxes3D, T_cam_boxes: Float64Array, camera: CameraModel, extents: Float64Array
) -> list[Float64Array | None]:
    """Return for each rectangle of keypoints (B, 4: left, top, right, bottom; px) the centre of its box, metres.

    A box belongs to a rectangle that its projected centre lies in; each box is used once, nearest pairs first.
    """
    found: list[Float64Array | None] = [None] * len(extents)
    if not len(boxes) or not len(extents):
        return found
    centers = transform_points(T_cam_boxes, boxes.centers)
    pixels, is_valid = project(camera, centers)
    middle, half = 0.5 * (extents[:, :2] + extents[:, 2:]), 0.5 * (extents[:, 2:] - extents[:, :2])
    offsets = np.abs(pixels[None] - middle[:, None]) / np.maximum(half, 1.0)[:, None]
    distance = np.where(is_valid[None] & (offsets <= 1.0).all(axis=2), offsets.max(axis=2), np.inf)
    while np.isfinite(distance).any():
        instance, box = np.unravel_index(np.argmin(distance), distance.shape)
        found[int(instance)] = centers[box]
        distance[instance], distance[:, box] = np.inf, np.inf
    return found


def scales_from_lengths(
    joints: Float64Array, is_seen: NDArray[np.bool_], pairs: NDArray[np.int64], lengths_m: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Return metres per unit from distances of joints that were both seen, and its relative standard deviation.

    Long distances count for more.

    Args:
        joints: (B, H, J, 3) hypotheses of instances.
        is_seen: (B, J).
        pairs: (K, 2) joints.
        lengths_m: (K,) their distances.

    Returns:
        Two arrays (B, H); NaN where no such distance was seen.
    """
    is_used = is_seen[:, pairs].all(axis=2).astype(np.float64)
    ends = joints[:, :, pairs]
    found = np.linalg.norm(ends[:, :, :, 0] - ends[:, :, :, 1], axis=3)
    total = (found * is_used[:, None]).sum(axis=2)
    total = np.where(total < 1e-6, np.nan, total)
    factor = (is_used @ lengths_m)[:, None] / total
    errors2 = (found * factor[:, :, None] / lengths_m - 1.0) ** 2
    # The mean square over the square root of the count, as of a mean.
    return factor, np.sqrt((errors2 * is_used[:, None]).sum(axis=2)) / np.maximum(is_used.sum(axis=1), 1.0)[:, None]


def scales_from_known_lengths(
    joints: Float64Array, is_seen: NDArray[np.bool_], facts: SkeletonFacts, known: Sequence[KnownLength]
) -> Scales | None:
    """Return scales from lengths that the user measured, None without any; shapes as :func:`scales_from_lengths`.

    Raises:
        ConfigError: a joint that the skeleton does not have, with the nearest name.
    """
    if not known:
        return None
    pairs, lengths_m = joint_pairs(facts, known), np.array([length.m for length in known])
    factor, std = scales_from_lengths(joints, is_seen, pairs, lengths_m)
    return Scales(factor, "bone_length", np.hypot(_LENGTH_STD, std))


def joint_pairs(facts: SkeletonFacts, known: Sequence[KnownLength]) -> NDArray[np.int64]:
    """Return the joints (K, 2) of known lengths; errors as :func:`scales_from_known_lengths`."""
    names = facts.skeleton.joint_names
    for name in (name for length in known for name in (length.first, length.second)):
        if name not in names:
            raise ConfigError(
                f"known length: skeleton '{facts.skeleton.name}' has no joint '{name}'"
                f"{nearest_name_hint(name, names)}; its joints are {', '.join(names[:40])}"
            )
    return np.array([[names.index(length.first), names.index(length.second)] for length in known], dtype=np.int64)


def scales_from_category(
    joints: Float64Array, is_seen: NDArray[np.bool_], facts: SkeletonFacts, category: str
) -> Scales | None:
    """Return scales from the usual size of a category, None where it is not known; shapes as the lengths'."""
    size = facts.size_of(category)
    if size is None:
        return None
    factor, std = scales_from_lengths(joints, is_seen, facts.length_joints, size * facts.lengths_m)
    return Scales(factor, "category_size", np.hypot(facts.size_spread, std))
