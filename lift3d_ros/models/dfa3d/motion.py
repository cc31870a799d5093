"""Reads the velocities of boxes from where the BEV map of the last frame shows the same things.

For each of a grid of velocities, the place is looked up where an object at the centre of a box was when the last frame
was taken, if it has that velocity. The mean velocity, weighted by how alike both places are, is the first answer, and a
small perceptron says how far to trust it and what to add. The grid is one of velocities and not of distances, so that
maps of different ages give the same picture; in one that is too young nothing has moved (`history_s`). Correlation of
features as a layer: FlowNet (arXiv 1504.06852), section 3.
Letters: B samples, Q boxes, C channels of the features, V velocities of the grid.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lift3d_ros.models.dfa3d.config import Dfa3dConfig

_UNIT_MPS = 10.0  # what the perceptron adds is counted in it


class MotionHead(nn.Module):
    """Velocities of objects at given places of the current BEV map."""

    velocities: Tensor
    low: Tensor
    size: Tensor

    def __init__(self, config: Dfa3dConfig) -> None:
        super().__init__()
        motion, channels = config.motion, config.motion.channels
        self.height, self.width = config.bev_height, config.bev_width
        self.features = nn.Sequential(
            nn.Conv2d(config.embed_dims, channels, 1), nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
        )  # fmt: skip
        axis = torch.arange(-motion.steps, motion.steps + 1) * (motion.largest_mps / motion.steps)
        along_y, along_x = torch.meshgrid(axis, axis, indexing="ij")
        velocities = torch.stack([along_x, along_y], dim=-1).reshape(-1, 2)
        self.log_gain = nn.Parameter(torch.tensor(2.0))
        self.prior = nn.Linear(channels, len(velocities))
        hidden = 4 * channels
        self.perceptron = nn.Sequential(
            nn.Linear(len(velocities) + channels, hidden), nn.ReLU(inplace=True),
            nn.Linear(hidden, hidden), nn.ReLU(inplace=True),
            nn.Linear(hidden, 3),
        )  # fmt: skip
        nn.init.normal_(self.perceptron[-1].weight, std=0.01)  # type: ignore[arg-type]
        nn.init.zeros_(self.perceptron[-1].bias)  # type: ignore[arg-type]
        low = torch.tensor(config.point_range[:2])
        self.register_buffer("velocities", velocities, persistent=False)
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("size", torch.tensor(config.point_range[3:5]) - low, persistent=False)

    def forward(self, bev: Tensor, aligned: Tensor, centers: Tensor, age: Tensor) -> Tensor:
        """Return velocities (B, Q, 2) along x and y of the model frame, m/s.

        Args:
            bev, aligned: (B, cells, C) current map, and that of the last frame moved to where the vehicle is now.
            centers: (B, Q, 2) metres in the model frame.
            age: (B,) time since the last frame, s.
        """
        picture = self._picture(bev)
        now = self._read(picture, centers[:, :, None])[..., 0].transpose(1, 2)  # (B, Q, C)
        likeness = self.likeness(picture, self._picture(aligned), centers, age) * self.log_gain.exp()
        mean = (likeness + self.prior(now)).softmax(-1) @ self.velocities
        *added, trust = self.perceptron(torch.cat([likeness, now], dim=-1)).split(1, dim=-1)
        velocities: Tensor = torch.cat(added, dim=-1) * _UNIT_MPS + trust.sigmoid() * mean
        return velocities

    def likeness(self, picture: Tensor, before: Tensor, centers: Tensor, age: Tensor) -> Tensor:
        """Return (B, Q, V), -1 to 1: how like each centre it looked where an object of each velocity came from.

        Args:
            picture, before: (B, C, height, width) features of the current map and of the last one.
        """
        places = centers[:, :, None] - self.velocities * age[:, None, None, None]
        # Of length one before they are read: a place half outside of the map is half as sure, not as sure as any.
        here = self._read(F.normalize(picture, dim=1), centers[:, :, None])  # (B, C, Q, 1)
        there = self._read(F.normalize(before, dim=1), places)  # (B, C, Q, V)
        return (here * there).sum(1)

    def _picture(self, rows: Tensor) -> Tensor:
        """Return the features of a map (B, cells, C) as a picture (B, C', height, width)."""
        picture = rows.transpose(1, 2).reshape(rows.shape[0], -1, self.height, self.width)
        features: Tensor = self.features(picture)
        return features

    def _read(self, picture: Tensor, places: Tensor) -> Tensor:
        """Sample a picture at places (B, Q, K, 2) in metres, zero outside."""
        return F.grid_sample(picture, (places - self.low) / self.size * 2 - 1, align_corners=False)
