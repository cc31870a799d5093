"""Layers that bring the tokens of few places to many: interpolation between the nearest three, then pointwise layers.

Letters: B clouds, N places, S coarser places, C channels. Source: PointNet++ (arXiv 1706.02413); fact sheet I2P-MAE,
sections 10 and 11.9.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lift3d_ros.models.i2p_mae.pointwise import PointwiseConv, PointwiseNorm
from lift3d_ros.ops.neighbours import interpolate_nearest


class TokenPropagation(nn.Module):
    """Between two stages of the decoder; residual blocks follow the interpolation."""

    def __init__(self, in_dims: int, out_dims: int, residual_blocks: int) -> None:
        super().__init__()
        self.fuse = nn.Sequential(PointwiseConv(in_dims, out_dims), PointwiseNorm(out_dims), nn.GELU())
        self.residuals = nn.Sequential(*(_Residual(out_dims) for _ in range(residual_blocks)))

    def forward(self, fine: Tensor, coarse: Tensor, skip: Tensor, tokens: Tensor) -> Tensor:
        """Bring `tokens` (B, S, C) at `coarse` (B, S, 3) to `fine` (B, N, 3), which have `skip` (B, N, C')."""
        interpolated = interpolate_nearest(fine, coarse, tokens)
        result: Tensor = self.residuals(self.fuse(torch.cat([skip, interpolated], dim=-1)))
        return result


class _Residual(nn.Module):
    def __init__(self, dims: int) -> None:
        super().__init__()
        self.first = nn.Sequential(PointwiseConv(dims, dims), PointwiseNorm(dims), nn.GELU())
        self.second = nn.Sequential(PointwiseConv(dims, dims), PointwiseNorm(dims))

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.second(self.first(x)) + x)


class PointPropagation(nn.Module):
    """From the tokens of a scale to all points of a cloud."""

    def __init__(self, in_dims: int, dims: tuple[int, ...]) -> None:
        super().__init__()
        widths = (in_dims, *dims)
        self.convs = nn.ModuleList(PointwiseConv(widths[i], dims[i]) for i in range(len(dims)))
        self.norms = nn.ModuleList(PointwiseNorm(width) for width in dims)

    def forward(self, points: Tensor, centers: Tensor, tokens: Tensor) -> Tensor:
        """Bring `tokens` (B, S, C) at `centers` (B, S, 3) to `points` (B, N, 3), (B, N, C out)."""
        x = torch.cat([points, interpolate_nearest(points, centers, tokens)], dim=-1)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(x)))
        return x
