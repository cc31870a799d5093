"""Convolutions with a kernel of one as matrix products: channels last, weights in the shape of the published ones."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class PointwiseConv(nn.Conv1d):
    """Maps each point (..., C in) to (..., C out)."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C in) to (..., C out)."""
        return F.linear(x, self.weight[:, :, 0], self.bias)


class PointwiseNorm(nn.BatchNorm1d):
    """Batch norm over all axes but the last one."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (..., C)."""
        return super().forward(x.reshape(-1, x.shape[-1])).reshape(x.shape)
