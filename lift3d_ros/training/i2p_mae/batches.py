"""Batches of clouds: every cloud comes once before any comes again, each with random changes of its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from lift3d_ros.datasets.point_cloud_changes import (
    brought_to,
    drawn_points,
    noisy,
    stretched,
    thinned,
    to_unit_sphere,
    turned,
)
from lift3d_ros.datasets.point_clouds import CloudSet
from lift3d_ros.training.i2p_mae.settings import I2pMaeTraining
from lift3d_ros.types import Float32Array


class CloudBatch(NamedTuple):
    """Clouds of one step.

    Args:
        points: (B, N, 3); in training of the teacher (2 B, N, 3), the second half shows the clouds of the first again.
        labels: (B,) int64, -1 where unknown.
    """

    points: Tensor
    labels: Tensor


class CloudData:
    """Training batches without end, and validation batches."""

    def __init__(self, training: CloudSet, validation: CloudSet | None, recipe: I2pMaeTraining) -> None:
        """Draw from `training`, and validate all clouds of `validation`."""
        self._training, self._validation, self._recipe = training, validation, recipe
        self._epoch, self._order = -1, np.zeros(0, np.int64)

    @property
    def has_validation(self) -> bool:
        """Whether there is anything to validate on."""
        return self._validation is not None

    def train_batches(self, first: int, rank: int, num_ranks: int) -> Any:
        """Return an endless iterable of batches."""
        workers = self._recipe.run.workers
        return DataLoader(
            _Stream(self, first, rank, num_ranks),
            batch_size=None,
            num_workers=workers,
            pin_memory=torch.cuda.is_available(),
            prefetch_factor=4 if workers else None,
        )

    def validation_batches(self, rank: int, num_ranks: int) -> Any:
        """Return the validation batches, all in every process; None without any."""
        if self._validation is None:
            return None
        return DataLoader(_Fixed(self._validation, self._recipe), batch_size=None)

    def make(self, number: int) -> CloudBatch:
        """Return the batch of one step, the same whenever it is asked for."""
        recipe = self._recipe
        rng = np.random.default_rng((recipe.run.seed, number))
        rows = self._rows(number)
        times = 2 if recipe.stage == "teacher" else 1
        points = np.concatenate([self._changed(rng, self._training.points[rows]) for _ in range(times)])
        return CloudBatch(torch.from_numpy(points), torch.from_numpy(self._training.labels[rows]))

    def _rows(self, number: int) -> NDArray[np.int64]:
        """Return the clouds of a batch: a place in an endless row of shuffled epochs."""
        size, clouds = self._recipe.run.batch_size, len(self._training)
        places = np.arange(number * size, (number + 1) * size)
        rows = np.empty(size, np.int64)
        for epoch in range(places[0] // clouds, places[-1] // clouds + 1):
            if epoch != self._epoch:
                self._epoch = epoch
                self._order = np.random.default_rng((self._recipe.run.seed, epoch, 1)).permutation(clouds)
            own = places // clouds == epoch
            rows[own] = self._order[places[own] % clouds]
        return rows

    def _changed(self, rng: np.random.Generator, points: Float32Array) -> Float32Array:
        settings = self._recipe.augmentation
        count, fills_gaps = self._recipe.network.num_points, self._recipe.network.fills_gaps
        points = drawn_points(rng, points, min(count, points.shape[1]) if fills_gaps else count)
        points = brought_to(points, count, fills_gaps=fills_gaps)
        is_harder = np.ones(len(points), bool)
        if settings.harder_share < 1.0:
            is_harder = rng.random(len(points)) < settings.harder_share
        if settings.fewest_points:
            points[is_harder] = thinned(rng, points[is_harder], settings.fewest_points, fills_gaps=fills_gaps)
        if self._recipe.data.normalises:
            points = to_unit_sphere(points)
        if settings.turn_deg:
            points[is_harder] = turned(rng, points[is_harder], self._training.up_axis, settings.turn_deg)
        points = stretched(rng, points, settings.scale, settings.shift)
        if settings.noise:
            points[is_harder] = noisy(rng, points[is_harder], settings.noise)
        return points


def unchanged_points(clouds: CloudSet, num_points: int, *, normalises: bool, fills_gaps: bool = False) -> Float32Array:
    """Return the first points of each cloud (N, num_points, 3) without random changes, as they are tested."""
    points = brought_to(clouds.points, num_points, fills_gaps=fills_gaps)
    return to_unit_sphere(points) if normalises else points


class _Stream(IterableDataset[CloudBatch]):
    def __init__(self, data: CloudData, first: int, rank: int, num_ranks: int) -> None:
        self._data, self._first, self._rank, self._num_ranks = data, first, rank, num_ranks

    def __iter__(self) -> Iterator[CloudBatch]:
        worker = get_worker_info()
        start, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for number in count(self._first + start, step):
            yield self._data.make(number * self._num_ranks + self._rank)


class _Fixed(Dataset[CloudBatch]):
    def __init__(self, clouds: CloudSet, recipe: I2pMaeTraining) -> None:
        most, chosen = recipe.data.validation_clouds, np.arange(len(clouds))
        if most and most < len(clouds):
            chosen = np.linspace(0, len(clouds) - 1, most).round().astype(int)
        network = recipe.network
        points = unchanged_points(
            clouds, network.num_points, normalises=recipe.data.normalises, fills_gaps=network.fills_gaps
        )
        self._points, self._labels = torch.from_numpy(points[chosen]), torch.from_numpy(clouds.labels[chosen])
        self._size = recipe.run.batch_size

    def __len__(self) -> int:
        return -(-len(self._points) // self._size)

    def __getitem__(self, number: int) -> CloudBatch:
        if not 0 <= number < len(self):
            raise IndexError(number)
        part = slice(number * self._size, (number + 1) * self._size)
        return CloudBatch(self._points[part], self._labels[part])
