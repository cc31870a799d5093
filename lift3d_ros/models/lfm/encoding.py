"""Position of a point as many numbers: random Fourier features that stay fixed, equation 4 of the paper."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class FourierEncoding(nn.Module):
    """Fixed random frequencies, stored with the weights (fact sheet 4.1 to 4.5)."""

    frequencies: Tensor
    phases: Tensor

    def __init__(self, width: int, bandwidth: float) -> None:
        """Draw ``width / 2`` frequencies with standard deviation `bandwidth`."""
        super().__init__()
        half = width // 2
        self.register_buffer("frequencies", bandwidth * torch.randn(2, half))
        self.register_buffer("phases", 2.0 * math.pi * torch.rand(half))
        self._factor = math.sqrt(2.0 / width)

    def forward(self, points: Tensor) -> Tensor:
        """Return (..., width) for points (..., 2) within -1..1, in float32 whatever runs around it."""
        angles = points.float() @ self.frequencies.float() + self.phases.float()
        return self._factor * torch.cat([angles.sin(), angles.cos()], dim=-1)


class LearnedEncoding(nn.Module):
    """A perceptron in place of the fixed frequencies, for comparison (table 3 of the paper)."""

    def __init__(self, width: int) -> None:
        """Learn `width` numbers."""
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, points: Tensor) -> Tensor:
        """Return (..., width) for points (..., 2)."""
        encoded: Tensor = self.layers(points)
        return encoded
