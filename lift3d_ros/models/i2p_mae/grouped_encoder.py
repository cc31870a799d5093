"""The frozen encoder with three tensors as input, the form that engines run: groups come ready, sizes are static.

Letters: B clouds, G groups and K points of a group of the finest scale, C channels, T coarsest tokens.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from lift3d_ros.models.i2p_mae.config import TokenConfig
from lift3d_ros.models.i2p_mae.heads import PointFeatureNetwork
from lift3d_ros.models.i2p_mae.pointwise import PointwiseConv, PointwiseNorm
from lift3d_ros.models.i2p_mae.tokenizer import PointGroups


class GroupedEncoder(nn.Module):
    """A frozen encoder behind the arrays of :func:`lift3d_ros.models.i2p_mae.cloud_groups.batch_groups`."""

    def __init__(self, network: PointFeatureNetwork, tokens: TokenConfig) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval()
        _fold_norms(self.network)
        self.tokens = tokens

    def forward(self, points: Tensor, centers: Tensor, neighbours: Tensor) -> tuple[Tensor, Tensor]:
        """Encode clouds.

        Args:
            points: (B, G, K, 3) of the finest groups.
            centers: (B, groups of all scales, 3), finest first.
            neighbours: (B, groups times neighbours of all scales but the finest) int64.

        Returns:
            Descriptors (B, C) and the coarsest tokens (B, T, C).
        """
        counts, sizes = self.tokens.num_groups, self.tokens.group_sizes
        centers_of = torch.split(centers, list(counts), dim=1)
        held = [count * size for count, size in zip(counts[1:], sizes[1:], strict=True)]
        # Which points the finest groups hold is known to nobody any more, and only their places are read.
        unknown = torch.zeros_like(points[..., 0], dtype=torch.int64)
        scales = [PointGroups(centers_of[0], unknown, points)]
        for scale, part in enumerate(torch.split(neighbours, held, dim=1) if held else (), start=1):
            members = part.reshape(-1, counts[scale], sizes[scale])
            # Of the coarser scales only the neighbours are read: their tokens are gathered, not their places.
            scales.append(PointGroups(centers_of[scale], members, points[:, :0]))
        descriptors, tokens = self.network(scales)
        return descriptors, tokens


@torch.no_grad()
def _fold_norms(network: nn.Module) -> None:
    """Bring each frozen batch norm into the layer before it: normalising the points of all groups costs a fifth."""
    for module in network.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for place in range(len(module) - 1):
            conv, norm = module[place], module[place + 1]
            if not (isinstance(conv, PointwiseConv) and isinstance(norm, PointwiseNorm)):
                continue
            assert conv.bias is not None
            assert norm.running_mean is not None
            assert norm.running_var is not None
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            conv.weight.mul_(scale[:, None, None])
            conv.bias.copy_((conv.bias - norm.running_mean) * scale + norm.bias)
            module[place + 1] = nn.Identity()
