"""Part segmentation on shapes that the package makes: what pre-training is worth where each point has a label."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from lift3d_ros.datasets.made_parts import PartSet, make_parts
from lift3d_ros.datasets.point_cloud_changes import noisy, stretched, turned
from lift3d_ros.models.i2p_mae.heads import PartSegmenter
from lift3d_ros.models.i2p_mae.losses import restrict_parts, segmentation_loss
from lift3d_ros.models.i2p_mae.tokenizer import group_scales
from lift3d_ros.training.i2p_mae.module import PointModule
from lift3d_ros.training.i2p_mae.part_scores import part_scores
from lift3d_ros.training.i2p_mae.settings import I2pMaeTraining

_HELD_OUT = 1_000_000  # seeds from here on are never trained on


class PartBatch(NamedTuple):
    """Clouds of one step.

    Args:
        points: (B, N, 3).
        parts: (B, N) int64.
        categories: (B,) int64.
    """

    points: Tensor
    parts: Tensor
    categories: Tensor


class PartData:
    """Training batches of shapes drawn once, with changes of their own, and other shapes for the validation."""

    def __init__(self, recipe: I2pMaeTraining) -> None:
        """Make the shapes."""
        points, parts = recipe.network.num_points, recipe.parts
        self._recipe = recipe
        self.training = make_parts(parts.training_shapes, points, recipe.run.seed)
        self.validation = make_parts(parts.validation_shapes, points, _HELD_OUT)

    def train_batches(self, first: int, rank: int, num_ranks: int) -> Any:
        """Return an endless iterable of batches."""
        return DataLoader(_Stream(self, first, rank, num_ranks), batch_size=None)

    def validation_batches(self, rank: int, num_ranks: int) -> Any:
        """Return all batches of the validation, the same in every process."""
        return DataLoader(_Fixed(self.validation, self._recipe.run.batch_size), batch_size=None)

    def make(self, number: int) -> PartBatch:
        """Return the batch of one step, the same whenever it is asked for."""
        rng = np.random.default_rng((self._recipe.run.seed, number, 2))
        rows = rng.integers(0, len(self.training), self._recipe.run.batch_size)
        settings, points = self._recipe.augmentation, self.training.points[rows]
        if settings.turn_deg:
            points = turned(rng, points, 2, settings.turn_deg)
        points = stretched(rng, points, settings.scale, settings.shift)
        if settings.noise:
            points = noisy(rng, points, settings.noise)
        return _batch(points, self.training, rows)


class PartModule(PointModule):
    """Trains encoder and part segmentation together; ``score`` is the IoU over clouds of the validation."""

    def __init__(self, network: PartSegmenter, recipe: I2pMaeTraining, shapes: PartSet) -> None:
        """Train `network` in place on parts as `shapes` have them."""
        super().__init__(network, recipe)
        self._parts_of = {number: shapes.parts_of(number) for number in range(len(shapes.category_names))}
        self._found: list[tuple[Tensor, Tensor, Tensor]] = []

    def training_step(self, batch: PartBatch, batch_idx: int) -> Tensor:
        """Return the cross entropy over all points."""
        return self.keep_figures({"loss_parts": segmentation_loss(self._logits(batch), batch.parts)})

    def validation_step(self, batch: PartBatch, batch_idx: int) -> None:
        """Note loss and parts."""
        logits = self._logits(batch)
        self.add_up({"loss_parts": segmentation_loss(logits, batch.parts)}, len(batch.points))
        allowed = [self._parts_of[int(category)] for category in batch.categories]
        self._found.append((restrict_parts(logits, allowed), batch.parts, batch.categories))

    def validation_figures(self) -> dict[str, float]:
        """Return the mean loss and the scores of all validated clouds."""
        figures = super().validation_figures()
        predicted, parts, categories = (torch.cat(part).cpu().numpy() for part in zip(*self._found, strict=True))
        self._found = []
        figures |= part_scores(predicted, parts, categories, self._parts_of)
        return figures | {"score": figures["instance_iou"]}

    def _logits(self, batch: PartBatch) -> Tensor:
        scales = group_scales(batch.points, self.recipe.network.tokens)
        with self.autocast():
            logits: Tensor = self.network(batch.points, scales, batch.categories)
        return logits.float()


def _batch(points: Any, shapes: PartSet, rows: Any) -> PartBatch:
    return PartBatch(
        torch.from_numpy(points), torch.from_numpy(shapes.parts[rows]), torch.from_numpy(shapes.categories[rows])
    )


class _Stream(IterableDataset[PartBatch]):
    def __init__(self, data: PartData, first: int, rank: int, num_ranks: int) -> None:
        self._data, self._first, self._rank, self._num_ranks = data, first, rank, num_ranks

    def __iter__(self) -> Iterator[PartBatch]:
        for number in count(self._first):
            yield self._data.make(number * self._num_ranks + self._rank)


class _Fixed(Dataset[PartBatch]):
    def __init__(self, shapes: PartSet, size: int) -> None:
        self._shapes, self._size = shapes, size

    def __len__(self) -> int:
        return -(-len(self._shapes) // self._size)

    def __getitem__(self, number: int) -> PartBatch:
        if not 0 <= number < len(self):
            raise IndexError(number)
        rows = np.arange(number * self._size, min((number + 1) * self._size, len(self._shapes)))
        return _batch(self._shapes.points[rows], self._shapes, rows)
