"""Deformable attention as a module: with depth scores it samples in 3D, without them in 2D."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lift3d_ros.ops.deformable_attention_3d import Levels, deformable_attention_3d


class DeformableAttention(nn.Module):
    """Samples a few points around each reference and mixes them with predicted weights."""

    def __init__(self, embed_dims: int, num_heads: int, num_levels: int, num_points: int, *, has_depth: bool) -> None:
        super().__init__()
        self.num_heads, self.num_levels, self.num_points = num_heads, num_levels, num_points
        samples = num_heads * num_levels * num_points
        self.sampling_offsets = nn.Linear(embed_dims, samples * 2)
        self.sampling_offsets_depth = nn.Linear(embed_dims, samples) if has_depth else None
        self.attention_weights = nn.Linear(embed_dims, samples)
        self.value_proj = nn.Linear(embed_dims, embed_dims)
        self._spread_offsets()

    def _spread_offsets(self) -> None:
        """Start with one direction for each head and a growing distance for each point."""
        angles = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=-1)
        directions = directions / directions.abs().max(dim=-1, keepdim=True).values
        steps = torch.arange(1, self.num_points + 1).float()
        offsets = directions[:, None, None] * steps[None, None, :, None]
        offsets = offsets.expand(-1, self.num_levels, -1, -1)
        with torch.no_grad():
            self.sampling_offsets.weight.zero_()
            self.sampling_offsets.bias.copy_(offsets.reshape(-1))
            self.attention_weights.weight.zero_()
            self.attention_weights.bias.zero_()
            if self.sampling_offsets_depth is not None:
                self.sampling_offsets_depth.weight.zero_()
                self.sampling_offsets_depth.bias.copy_((offsets.sum(-1) / 2).reshape(-1))

    def forward(
        self, query: Tensor, value: Tensor, reference: Tensor, levels: Levels, depth_scores: Tensor | None = None
    ) -> Tensor:
        """Attend from queries to feature maps.

        Args:
            query: (B or 1, Q, embed_dims); one row of queries serves every batch item.
            value: (B, S, embed_dims), levels one after the other.
            reference: (B, Q, Z, 2 or 3) normalised (u, v[, d]); point p uses anchor p mod Z.
            depth_scores: (B, S, K), shared by the heads.

        Returns:
            (B, Q, embed_dims), without output projection.
        """
        batch, tokens, dims = value.shape
        heads, points = self.num_heads, self.num_points
        shape = (query.shape[0], query.shape[1], heads, self.num_levels, points)
        weights = self.attention_weights(query).reshape(*shape[:3], -1).softmax(-1).reshape(shape)
        cells = torch.tensor([[width, height] for height, width in levels], device=value.device, dtype=value.dtype)
        offsets = self.sampling_offsets(query).reshape(*shape, 2) / cells[:, None]
        if self.sampling_offsets_depth is not None and depth_scores is not None:
            depth_offsets = self.sampling_offsets_depth(query).reshape(*shape, 1) / depth_scores.shape[-1]
            offsets = torch.cat([offsets, depth_offsets], dim=-1)
        anchors = reference.shape[2]
        around = reference.repeat(1, 1, points // anchors, 1)[:, :, None, None]  # (B, Q, 1, 1, P, 2 or 3)
        values = self.value_proj(value).reshape(batch, tokens, heads, dims // heads)
        weights = weights.expand(batch, -1, -1, -1, -1)
        return deformable_attention_3d(values, depth_scores, around + offsets, weights, levels)
