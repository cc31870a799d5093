"""What a camera sees of skeletons whose joints are known, and ways to make it harder.

Shape letters: N frames, J joints. Camera frame: x right, y down, z forward.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.datasets.keypoint_views import random_views
from lift3d_ros.datasets.keypoints import KeypointSet
from lift3d_ros.evaluation.skeletons import rms_sizes
from lift3d_ros.geometry.alignment import weighted_mean
from lift3d_ros.types import CameraModel, Float64Array, Skeleton

FEWEST_JOINTS = 4  # of a frame that is scored: three points fit anything after alignment
_PX_PER_SIZE = 300.0  # of drawn views, pixels for the RMS size of a skeleton
_PICTURE_PX = 2000
_LEAST_DEPTH = 0.05


@dataclass(frozen=True, eq=False)
class LabelledViews:
    """Frames of one skeleton as one camera sees them.

    Args:
        points: (N, J, 2) px; what stands at joints that are not seen is not read.
        is_seen: (N, J).
        joints: (N, J, 3) in the camera frame, mean of the valid joints 0, in the unit of the file.
        is_valid: (N, J) joints whose truth is known.
        camera: intrinsics; None where views are parallel projections or the intrinsics are not known.
    """

    skeleton: Skeleton
    points: Float64Array
    is_seen: NDArray[np.bool_]
    joints: Float64Array
    is_valid: NDArray[np.bool_]
    camera: CameraModel | None = None

    def __len__(self) -> int:
        return len(self.points)


def chosen_frames(keypoints: KeypointSet, split: str, most: int) -> tuple[NDArray[np.int64], str]:
    """Return the indices of the frames to score and the split that they are of.

    Args:
        split: ``val``, ``train`` or ``all``; a set without a frame of the split gives all.
        most: number of frames, evenly spread; 0 for all.
    """
    number = np.arange(len(keypoints.joints))
    frames = number if split == "all" else keypoints.frames(is_validation=split == "val")
    if not len(frames):
        frames, split = number, "all"
    frames = frames[keypoints.valid[frames].sum(axis=1) >= FEWEST_JOINTS]
    if most and most < len(frames):
        frames = frames[np.linspace(0, len(frames) - 1, most).round().astype(np.int64)]
    return frames, split


def views_of(
    keypoints: KeypointSet, frames: NDArray[np.int64], *, seed: int = 0, distance: float = float("inf")
) -> LabelledViews:
    """Return one random view of each frame.

    Args:
        distance: of the camera, in body sizes (twice the RMS size); infinite for weak perspective.
    """
    rng = np.random.default_rng((seed, 1))
    rotations = random_views(rng, len(frames), keypoints.view_range).astype(np.float64)
    is_valid = keypoints.valid[frames]
    joints = centred(keypoints.joints[frames].astype(np.float64) @ rotations.transpose(0, 2, 1), is_valid)
    relative = joints / np.maximum(rms_sizes(joints, is_valid), 1e-12)[:, None, None]
    camera, shrink = None, np.ones_like(relative[..., :1])
    middle = _PICTURE_PX / 2
    if np.isfinite(distance):
        away = 2.0 * distance
        shrink = np.maximum(1.0 + relative[..., 2:] / away, _LEAST_DEPTH)
        focal = _PX_PER_SIZE * away
        intrinsics = np.array([[focal, 0.0, middle], [0.0, focal, middle], [0.0, 0.0, 1.0]])
        camera = CameraModel("view", "view", _PICTURE_PX, _PICTURE_PX, intrinsics)
    points = _PX_PER_SIZE * relative[..., :2] / shrink + middle
    return LabelledViews(skeleton_of(keypoints), points, is_valid, joints, is_valid, camera)


def skeleton_of(keypoints: KeypointSet) -> Skeleton:
    """Return the skeleton of a set.

    Raises:
        ConfigError: an edge from a joint to itself, or a side other than -1, 0 and 1.
    """
    return Skeleton(keypoints.name, _unique(keypoints.joint_names), keypoints.edges, keypoints.side)


def damaged(views: LabelledViews, *, missing: float, noise: float, seed: int = 0) -> LabelledViews:
    """Return views in which joints are missing and the others are displaced.

    Args:
        missing: share of joints that are not seen.
        noise: standard deviation, share of half the extent in the picture.
    """
    rng = np.random.default_rng((seed, 2))
    seen = np.where(views.is_seen[..., None], views.points, np.nan)
    with np.errstate(invalid="ignore"):
        half = 0.5 * np.nan_to_num(np.fmax.reduce(seen, axis=1) - np.fmin.reduce(seen, axis=1)).max(axis=1)
    points = views.points + noise * half[:, None, None] * rng.standard_normal(views.points.shape)
    return dataclasses.replace(
        views, points=points, is_seen=views.is_seen & (rng.random(views.is_seen.shape) >= missing)
    )


def rolled(views: LabelledViews, seed: int = 0) -> LabelledViews:
    """Return parallel views turned in the picture, each by a random angle; truth turns along."""
    angles = np.random.default_rng((seed, 3)).uniform(-np.pi, np.pi, len(views))
    turn = np.zeros((len(views), 3, 3))
    turn[:, 0, 0] = turn[:, 1, 1] = np.cos(angles)
    turn[:, 0, 1], turn[:, 1, 0], turn[:, 2, 2] = -np.sin(angles), np.sin(angles), 1.0
    inverse = turn.transpose(0, 2, 1)  # points are rows
    middle = weighted_mean(np.where(views.is_seen[..., None], views.points, 0.0), views.is_seen.astype(np.float64))
    offsets = np.where(views.is_seen[..., None], views.points - middle[:, None], 0.0)
    points = offsets @ inverse[:, :2, :2] + middle[:, None]
    return dataclasses.replace(views, points=points, joints=views.joints @ inverse)


def without_leaves(views: LabelledViews) -> LabelledViews | None:
    """Return the same frames of the skeleton without its end joints (fact sheet 13.11); None where that is none."""
    kept = np.flatnonzero(views.skeleton.adjacency.sum(axis=1) > 1)
    if not FEWEST_JOINTS <= len(kept) < len(views.skeleton):
        return None
    place = np.full(len(views.skeleton), -1)
    place[kept] = np.arange(len(kept))
    edges = place[views.skeleton.edges]
    skeleton = Skeleton(
        f"{views.skeleton.name} without ends",
        tuple(views.skeleton.joint_names[joint] for joint in kept),
        edges[(edges >= 0).all(axis=1)],
        views.skeleton.sides[kept],
    )
    is_valid = views.is_valid[:, kept]
    rows = is_valid.sum(axis=1) >= FEWEST_JOINTS
    if not rows.any():
        return None
    return LabelledViews(
        skeleton,
        views.points[rows][:, kept],
        views.is_seen[rows][:, kept],
        centred(views.joints[rows][:, kept], is_valid[rows]),
        is_valid[rows],
        views.camera,
    )


def centred(joints: Float64Array, is_valid: NDArray[np.bool_]) -> Float64Array:
    """Return joints (N, J, 3) with the mean of the valid ones at 0; others become 0."""
    mean = weighted_mean(np.where(is_valid[..., None], joints, 0.0), is_valid.astype(np.float64))
    return np.where(is_valid[..., None], joints - mean[:, None], 0.0)


def _unique(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names, numbered where they repeat: figures do not depend on them."""
    if len(set(names)) == len(names):
        return names
    return tuple(f"{number} {name}" for number, name in enumerate(names))
