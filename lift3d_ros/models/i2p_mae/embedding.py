"""Small PointNets that turn the points, or tokens, of a group into one token. Source: fact sheet I2P-MAE, section 4."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from lift3d_ros.models.i2p_mae.pointwise import PointwiseConv, PointwiseNorm


class GroupEmbedding(nn.Module):
    """Two pairs of layers; between them each point is told the maximum over its group.

    Args:
        dims: widths of the first two layers and of the third one.
    """

    def __init__(self, in_dims: int, dims: tuple[int, int, int], out_dims: int) -> None:
        super().__init__()
        first, local, merged = dims
        self.first_conv = nn.Sequential(
            PointwiseConv(in_dims, first), PointwiseNorm(first), nn.ReLU(inplace=True), PointwiseConv(first, local)
        )
        self.second_conv = nn.Sequential(
            PointwiseConv(2 * local, merged),
            PointwiseNorm(merged),
            nn.ReLU(inplace=True),
            PointwiseConv(merged, out_dims),
        )

    def forward(self, groups: Tensor) -> Tensor:
        """Map groups (B, G, K, C in) to tokens (B, G, C out)."""
        local = self.first_conv(groups)
        merge, norm, activation, last = self.second_conv
        assert isinstance(merge, PointwiseConv)
        # The layer reads [maximum, point]; its part for the maximum is the same for all points of a group.
        weight, dims = merge.weight[:, :, 0], local.shape[-1]
        of_points = F.linear(local, weight[:, dims:], merge.bias)
        merged = of_points + F.linear(local.amax(2, keepdim=True), weight[:, :dims])
        result: Tensor = last(activation(norm(merged))).amax(2)
        return result
