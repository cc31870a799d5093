"""Batches of the skeleton lifter: frames of several sets, each seen by a camera of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from lift3d_ros.datasets.keypoint_views import project, random_views
from lift3d_ros.datasets.keypoints import KeypointSet
from lift3d_ros.errors import DatasetError
from lift3d_ros.training.lfm.settings import LfmAugmentationSettings, LfmTraining
from lift3d_ros.training.lfm.skeleton_changes import ChangedSkeleton, changed_skeleton, unchanged
from lift3d_ros.types import Float32Array

EXTRA_GROUPS = ("layout", "generated")
"""Groups of the sets that are derived or made, whose figures do not count in the medians over all."""


class LiftingBatch(NamedTuple):
    """Instances padded to the same number of points.

    Args:
        points: (B, J, 2).
        exists, is_visible: (B, J) bool.
        side: (B, J) float.
        adjacency: (B, J, J) bool.
        target: (B, J, 3) in the camera frame, mean 0 and RMS distance 1 over the valid points.
        is_valid: (B, J) bool, points whose truth is known.
        size: (B,) RMS distance of the valid points from their mean, in the unit of the set.
        category: (B,) index of the set.
    """

    points: Tensor
    exists: Tensor
    is_visible: Tensor
    side: Tensor
    adjacency: Tensor
    target: Tensor
    is_valid: Tensor
    size: Tensor
    category: Tensor


class _Views(NamedTuple):
    """Views of one set with one skeleton, as arrays."""

    points: Float32Array
    is_visible: NDArray[np.bool_]
    side: Float32Array
    adjacency: NDArray[np.bool_]
    target: Float32Array
    is_valid: NDArray[np.bool_]
    size: Float32Array
    category: int


class LfmData:
    """Training batches without end, and validation batches."""

    def __init__(self, training: Sequence[KeypointSet], validation: Sequence[KeypointSet], recipe: LfmTraining) -> None:
        """Draw from `training`, and validate on the validation split of `validation`.

        Raises:
            DatasetError: no set has a frame to train on.
        """
        self._sets = [(one, one.frames(is_validation=False)) for one in training]
        self._sets = [(one, frames) for one, frames in self._sets if len(frames)]
        if not self._sets:
            raise DatasetError("no set has a frame of the training split; expected 'split' 0 for at least one frame")
        self.validation = [one for one in validation if one.is_validation.any()]
        self._recipe = recipe
        chances = np.array([len(frames) for _, frames in self._sets], float) ** recipe.data.temperature
        chances *= [recipe.data.extra_weight if one.group in EXTRA_GROUPS else 1.0 for one, _ in self._sets]
        self._chances = chances / chances.sum()

    def train_batches(self, first: int, rank: int, num_ranks: int) -> Any:
        """Return an endless iterable of tuples of batches; together they are one step."""
        workers = self._recipe.run.workers
        return DataLoader(
            _Stream(self, first, rank, num_ranks),
            batch_size=None,
            num_workers=workers,
            pin_memory=torch.cuda.is_available(),
            prefetch_factor=4 if workers else None,
        )

    def validation_batches(self, rank: int, num_ranks: int) -> Any:
        """Return the validation batches, one set at a time and all in every process; None without any."""
        if not self.validation:
            return None
        return DataLoader(_Fixed(self.validation, self._recipe.data.validation_frames), batch_size=None)

    def make(self, number: int) -> tuple[LiftingBatch, ...]:
        """Return the batches of one step, the same whenever they are asked for."""
        recipe = self._recipe
        rng = np.random.default_rng((recipe.run.seed, number))
        chosen = rng.choice(len(self._sets), size=recipe.run.batch_size, p=self._chances)
        views = []
        for index in sorted(chosen):
            keypoints, frames = self._sets[int(index)]
            skeleton = changed_skeleton(rng, keypoints, recipe.augmentation)
            amount = max(2, round(recipe.data.points_per_set / padded_points(len(skeleton.side))))
            drawn = frames[rng.integers(0, len(frames), amount)]
            views.append(draw_views(rng, keypoints, drawn, skeleton, recipe.augmentation, int(index)))
        return tuple(_join(part) for part in _alike(views, recipe.data.largest_padding))


class _Stream(IterableDataset[tuple[LiftingBatch, ...]]):
    def __init__(self, data: LfmData, first: int, rank: int, num_ranks: int) -> None:
        self._data, self._first, self._rank, self._num_ranks = data, first, rank, num_ranks

    def __iter__(self) -> Iterator[tuple[LiftingBatch, ...]]:
        worker = get_worker_info()
        start, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for number in count(self._first + start, step):
            yield self._data.make(number * self._num_ranks + self._rank)


class _Fixed(Dataset[tuple[LiftingBatch, ...]]):
    def __init__(self, sets: Sequence[KeypointSet], most: int) -> None:
        self._batches = [(validation_batch(one, number, most),) for number, one in enumerate(sets)]

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> tuple[LiftingBatch, ...]:
        return self._batches[number]


def draw_views(
    rng: np.random.Generator,
    keypoints: KeypointSet,
    frames: NDArray[np.int64],
    skeleton: ChangedSkeleton,
    settings: LfmAugmentationSettings,
    category: int,
) -> _Views:
    """Return views of some frames with random cameras and random damage."""
    size = len(frames)
    joints = keypoints.joints[frames]
    if settings.stretch:
        joints = joints * np.exp(settings.stretch * rng.standard_normal((size, 1, 3))).astype(np.float32)
    side = np.repeat(skeleton.side[None].astype(np.float32), size, axis=0)
    if (skeleton.side > 0).any() and (skeleton.side < 0).any():
        # The mirror image of a body is a body; of a hand it is the other hand, so sets without sides stay.
        sign = np.where(rng.random(size) < settings.mirror, -1.0, 1.0).astype(np.float32)
        joints = joints * np.stack([sign, np.ones_like(sign), np.ones_like(sign)], axis=-1)[:, None]
        side = side * sign[:, None]
    side[rng.random(size) < settings.drops_side] = 0.0
    rotations = random_views(rng, size, keypoints.view_range, settings.roll_deg)
    is_near = rng.random(size) < settings.perspective
    distance = np.where(is_near, rng.uniform(*settings.distance, size), np.inf)
    views = _seen(keypoints, frames, joints, skeleton, rotations, distance)
    points, is_visible = views.points, views.is_visible.copy()
    half = np.abs(points).max((1, 2))
    sigma = np.where(rng.random(size) < settings.noisy, rng.uniform(0, settings.noise, size), 0.0) * half
    points = points + (sigma[:, None, None] * rng.standard_normal(points.shape)).astype(np.float32)
    is_gappy = rng.random(size) < settings.gappy
    for row in np.flatnonzero(is_gappy):
        if rng.random() < settings.missing_limb:
            is_visible[row, _limb(rng, skeleton.adjacency, settings.missing)] = False
        else:
            is_visible[row] &= rng.random(points.shape[1]) >= rng.uniform(0.0, settings.missing)
    return views._replace(points=points, is_visible=is_visible, side=side, category=category)


def validation_batch(keypoints: KeypointSet, category: int, most: int) -> LiftingBatch:
    """Return validation frames of a set, evenly spread, each with one random view from far away.

    Args:
        most: number of frames; 0 for all.
    """
    rng = np.random.default_rng((0, 1))
    frames = keypoints.frames(is_validation=True)
    if most and most < len(frames):
        frames = frames[np.linspace(0, len(frames) - 1, most).round().astype(int)]
    rotations = random_views(rng, len(frames), keypoints.view_range)
    distance = np.full(len(frames), np.inf)
    views = _seen(keypoints, frames, keypoints.joints[frames], unchanged(keypoints), rotations, distance)
    return _join([views._replace(category=category)])


def _seen(
    keypoints: KeypointSet,
    frames: NDArray[np.int64],
    joints: Float32Array,
    skeleton: ChangedSkeleton,
    rotations: Float32Array,
    distance: NDArray[np.float64],
) -> _Views:
    """Project frames; `distance` is in body sizes, a body's size being twice its RMS distance from the mean."""
    mixed = np.matmul(skeleton.mixture, joints) @ rotations.transpose(0, 2, 1)
    valid = (keypoints.valid[frames].astype(np.float32) @ (skeleton.mixture.T > 0)) >= (skeleton.mixture > 0).sum(1)
    weights = valid[..., None].astype(np.float32)
    number = np.maximum(weights.sum(1, keepdims=True), 1.0)
    target = (mixed - (mixed * weights).sum(1, keepdims=True) / number) * weights
    size = np.sqrt(np.maximum((target**2).sum((1, 2)) / number[:, 0, 0], 1e-12))
    target = target / size[:, None, None]
    points = project(target, (2.0 * distance).astype(np.float32))
    side = np.repeat(skeleton.side[None].astype(np.float32), len(frames), axis=0)
    return _Views(points, valid, side, skeleton.adjacency, target, valid, size, 0)


def _limb(rng: np.random.Generator, adjacency: NDArray[np.bool_], most: float) -> NDArray[np.int64]:
    """Return a connected part of a skeleton, at most a share `most` of its points."""
    limit = max(1, int(rng.uniform(0.0, most) * len(adjacency)))
    part = [int(rng.integers(len(adjacency)))]
    for point in part:
        part += [int(n) for n in np.flatnonzero(adjacency[point]) if n not in part]
        if len(part) >= limit:
            break
    return np.array(part[:limit])


def padded_points(number: int) -> int:
    """Return to how many points skeletons of `number` points are padded.

    oneDNN, which multiplies on CPUs, compiles each product anew for each shape; with batches of any shape that took
    most of the time of a step.
    """
    step = 8 if number <= 32 else 16 if number <= 64 else 32
    return -(-number // step) * step


def _alike(views: Sequence[_Views], largest_padding: float) -> Iterator[list[_Views]]:
    """Yield groups of about the same number of points."""
    part: list[_Views] = []
    real = rows = 0
    for one in sorted(views, key=lambda one: one.points.shape[1]):
        size, points = len(one.points), padded_points(one.points.shape[1])
        if part and (rows + size) * points > (1.0 + largest_padding) * (real + size * points):
            yield part
            part, real, rows = [], 0, 0
        part.append(one)
        real, rows = real + size * points, rows + size
    yield part


def _join(views: Sequence[_Views]) -> LiftingBatch:
    """Return one padded batch of several sets."""
    most = padded_points(max(one.points.shape[1] for one in views))
    rows = sum(len(one.points) for one in views)
    points = np.zeros((rows, most, 2), np.float32)
    target = np.zeros((rows, most, 3), np.float32)
    side = np.zeros((rows, most), np.float32)
    exists, is_visible, is_valid = (np.zeros((rows, most), bool) for _ in range(3))
    adjacency = np.zeros((rows, most, most), bool)
    size, category = np.zeros(rows, np.float32), np.zeros(rows, np.int64)
    start = 0
    for one in views:
        number, width = one.points.shape[:2]
        place = slice(start, start + number)
        points[place, :width] = one.points
        target[place, :width] = one.target
        side[place, :width] = one.side
        exists[place, :width] = True
        is_visible[place, :width] = one.is_visible
        is_valid[place, :width] = one.is_valid
        adjacency[place, :width, :width] = one.adjacency
        size[place], category[place] = one.size, one.category
        start += number
    arrays = (points, exists, is_visible, side, adjacency, target, is_valid, size, category)
    return LiftingBatch(*(torch.from_numpy(array) for array in arrays))
