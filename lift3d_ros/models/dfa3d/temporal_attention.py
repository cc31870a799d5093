"""Attention of the BEV cells to the aligned map of the last frame and to the current one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lift3d_ros.models.dfa3d.attention import spread_offsets
from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.ops.deformable_attention_3d import deformable_attention_3d
from lift3d_ros.ops.padded_levels import level_sizes

_SLOTS = 2  # the map of the last frame, the current one


class TemporalSelfAttention(nn.Module):
    """Attends to two BEV maps with offsets and weights predicted from both, and averages the results."""

    def __init__(self, config: Dfa3dConfig) -> None:
        super().__init__()
        dims = config.embed_dims
        self.num_heads, self.num_points = config.num_heads, config.num_temporal_points
        samples = self.num_heads * _SLOTS * self.num_points
        self.levels = [(config.bev_height, config.bev_width)]
        self.sampling_offsets = nn.Linear(2 * dims, samples * 2)
        self.attention_weights = nn.Linear(2 * dims, samples)
        self.value_proj = nn.Linear(dims, dims)
        self.output_proj = nn.Linear(dims, dims)
        self.dropout = nn.Dropout(config.dropout)
        with torch.no_grad():
            self.sampling_offsets.weight.zero_()
            self.sampling_offsets.bias.copy_(spread_offsets(self.num_heads, _SLOTS, self.num_points).reshape(-1))
            self.attention_weights.weight.zero_()
            self.attention_weights.bias.zero_()

    def forward(self, query: Tensor, position: Tensor, maps: Tensor, references: Tensor) -> Tensor:
        """Update the cells.

        Args:
            query: (B, Q, C).
            position: (1, Q, C), added to the query where offsets and weights are predicted.
            maps: (B, 2, Q, C), the map of the last frame and the current one.
            references: (B, 2, Q, 2) normalised places of the cells in both maps.

        Returns:
            (B, Q, C), with the query added.
        """
        batch, cells, dims = query.shape
        heads, points = self.num_heads, self.num_points
        both = torch.cat([maps[:, 0], query + position], dim=-1)
        shape = (batch, cells, heads, _SLOTS, 1, points)
        weights = self.attention_weights(both).reshape(shape).softmax(-1)
        sizes = level_sizes(self.levels, references).expand(heads * _SLOTS * points, 2).reshape(-1)
        offsets = (self.sampling_offsets(both).float() / sizes).reshape(*shape, 2)
        # One batch item for each slot: (B, Q, M, slots, ...) to (B * slots, Q, M, ...).
        weights = weights.permute(0, 3, 1, 2, 4, 5).flatten(0, 1)
        offsets = offsets.permute(0, 3, 1, 2, 4, 5, 6).flatten(0, 1)
        places = references.flatten(0, 1)[:, :, None, None, None].expand_as(offsets) + offsets
        values = self.value_proj(maps).reshape(batch * _SLOTS, cells, heads, dims // heads)
        attended = deformable_attention_3d(values, None, places, weights, self.levels)
        mean = attended.reshape(batch, _SLOTS, cells, dims).mean(1)
        result: Tensor = query + self.dropout(self.output_proj(mean))
        return result
