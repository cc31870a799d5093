"""The 2D teacher in training: two pictures of one cloud, changed differently, have to look alike.

VICReg (arXiv 2105.04906), because it trains the class token, whose attention is the saliency, from small batches, and
needs no labels, negatives or second network. The mean of the patches is trained alike, so that features are, too.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lift3d_ros.models.i2p_mae.projection import IMAGE_SIZE, NUM_VIEWS, draw_sides, normalise_images
from lift3d_ros.models.i2p_mae.teacher import SmallTeacher
from lift3d_ros.training.i2p_mae.batches import CloudBatch
from lift3d_ros.training.i2p_mae.module import PointModule, nearest_is_alike
from lift3d_ros.training.i2p_mae.settings import I2pMaeLossSettings, I2pMaeTraining

TEACHER = "teacher."
"""Prefix of the weights that stay; the others only serve the training."""

_LEAST_SPREAD = 1.0


class TeacherModule(PointModule):
    """Trains a teacher on depth maps; ``nearest`` as in pre-training, by the class tokens of the first view."""

    def __init__(self, recipe: I2pMaeTraining) -> None:
        """Train a teacher of the recipe."""
        torch.manual_seed(recipe.run.seed)
        super().__init__(_TeacherWithExpanders(recipe), recipe)
        self._described: list[tuple[Tensor, Tensor]] = []

    def training_step(self, batch: CloudBatch, batch_idx: int) -> Tensor:
        """Return the sum of all losses; each pair of clouds is seen from one side, drawn at random."""
        pairs = len(batch.labels)
        views = torch.randint(NUM_VIEWS, (pairs,), device=batch.points.device).repeat(2)
        with self.autocast():
            compared = self.network(draw_pictures(batch.points, views))
        sums: dict[str, Tensor] = {}
        for embedded in compared:
            first, second = embedded.float().chunk(2)
            for name, value in vicreg_losses(first, second, self.recipe.loss).items():
                sums[name] = sums[name] + value if name in sums else value
        return self.keep_figures(sums)

    def validation_step(self, batch: CloudBatch, batch_idx: int) -> None:
        """Note class tokens, and how much the attention to patches differs: 0 where nothing stands out."""
        views = torch.zeros(len(batch.points), dtype=torch.int64, device=batch.points.device)
        token, maps = self._teacher.encode(draw_pictures(batch.points, views))
        saliency = maps.saliency.flatten(1)
        self.add_up({"contrast": (saliency.std(1) / saliency.mean(1)).mean()}, len(token))
        self._described.append((token, batch.labels))

    def validation_figures(self) -> dict[str, float]:
        """Return the contrast, and ``nearest`` where the clouds have labels."""
        figures = super().validation_figures()
        if self._described:
            tokens, labels = (torch.cat(part) for part in zip(*self._described, strict=True))
            self._described = []
            if len(labels) > 1 and bool((labels >= 0).all()):
                figures["nearest"] = nearest_is_alike(tokens, labels)
        return figures

    @property
    def _teacher(self) -> SmallTeacher:
        teacher = self.network.teacher
        assert isinstance(teacher, SmallTeacher)
        return teacher


def draw_pictures(points: Tensor, views: Tensor) -> Tensor:
    """Return one picture of each cloud (B, N, 3), from the side `views` (B,) int64, (B, 3, 224, 224)."""
    return normalise_images(draw_sides(points, views)[:, None]).expand(-1, 3, IMAGE_SIZE, IMAGE_SIZE)


def vicreg_losses(first: Tensor, second: Tensor, settings: I2pMaeLossSettings) -> dict[str, Tensor]:
    """Return the three losses of two embeddings (B, D) of the same things, times their weights."""
    spread = torch.stack([F.relu(_LEAST_SPREAD - one.var(0).add(1e-4).sqrt()).mean() for one in (first, second)]).mean()
    covariance = torch.stack([_covariance(one) for one in (first, second)]).sum()
    return {
        "loss_likeness": settings.likeness * F.mse_loss(first, second),
        "loss_spread": settings.spread * spread,
        "loss_covariance": settings.covariance * covariance,
    }


def teacher_state(averaged: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of the teacher among those of its training."""
    return {name.removeprefix(TEACHER): tensor for name, tensor in averaged.items() if name.startswith(TEACHER)}


def _covariance(embedded: Tensor) -> Tensor:
    """Return the squared covariances of different dimensions, for each dimension."""
    count, dims = embedded.shape
    centred = embedded - embedded.mean(0)
    covariance = centred.T @ centred / (count - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / dims


class _TeacherWithExpanders(nn.Module):
    """The teacher, and what maps its class token and the mean of its patches to the dimensions of the comparison."""

    def __init__(self, recipe: I2pMaeTraining) -> None:
        super().__init__()
        self.teacher = SmallTeacher(recipe.teacher)
        dims, wide = recipe.teacher.out_dims, recipe.loss.expanded_dims
        self.expanders = nn.ModuleList(
            nn.Sequential(nn.Linear(dims, wide), nn.BatchNorm1d(wide), nn.ReLU(inplace=True), nn.Linear(wide, wide))
            for _ in range(2)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        token, maps = self.teacher.encode(images)
        of_token, of_patches = self.expanders
        return of_token(token), of_patches(maps.features.mean((2, 3)))
