"""PointNet without its transforms, trained from random weights with labels: what pre-training has to stand beside.

Source: Qi et al. 2017 (arXiv 1612.00593), the vanilla form. Letters: B clouds, N points.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from lift3d_ros.datasets.point_clouds import CloudSet
from lift3d_ros.training.i2p_mae.batches import CloudData
from lift3d_ros.training.i2p_mae.settings import I2pMaeTraining
from lift3d_ros.training.schedule import rate_factor
from lift3d_ros.types import Float32Array

_POINT_DIMS = (64, 64, 64, 128, 1024)
_HEAD_DIMS = (512, 256)
_DROPOUT = 0.3
_AT_ONCE = 64


class PointNet(nn.Module):
    """The same layers for each point, the maximum over all points, and a classifier."""

    def __init__(self, num_classes: int) -> None:
        """Build it with random weights."""
        super().__init__()
        self.of_points = nn.Sequential(*_layers((3, *_POINT_DIMS)))
        head = _layers((_POINT_DIMS[-1], *_HEAD_DIMS))
        self.head = nn.Sequential(*head, nn.Dropout(_DROPOUT), nn.Linear(_HEAD_DIMS[-1], num_classes))

    def forward(self, points: Tensor) -> Tensor:
        """Return logits (B, classes) of clouds (B, N, 3)."""
        described = self.of_points(points.flatten(0, 1)).unflatten(0, points.shape[:2])
        result: Tensor = self.head(described.amax(1))
        return result

    @torch.inference_mode()
    def classify(self, points: Float32Array) -> NDArray[np.int64]:
        """Return the class (B,) of each cloud."""
        parts = (torch.from_numpy(points[at : at + _AT_ONCE]) for at in range(0, len(points), _AT_ONCE))
        return np.concatenate([self(part).argmax(1).numpy() for part in parts])


def train_pointnet(clouds: CloudSet, recipe: I2pMaeTraining) -> PointNet:
    """Train on labelled clouds with the batches, changes, steps and learning rates of a recipe."""
    torch.manual_seed(recipe.run.seed)
    network, run = PointNet(clouds.num_classes), recipe.run
    optimizer = torch.optim.AdamW(network.parameters(), lr=run.learning_rate, weight_decay=run.weight_decay)
    data = CloudData(clouds, None, recipe)
    for step in range(run.max_steps):
        for group in optimizer.param_groups:
            group["lr"] = run.learning_rate * rate_factor(run, step, 0.0)
        batch = data.make(step)
        loss: Any = F.cross_entropy(network(batch.points), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def _layers(dims: tuple[int, ...]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(dims):
        layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU(inplace=True)]
    return layers
