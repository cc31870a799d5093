"""Deformable attention as a module: with depth scores it samples in 3D, without them in 2D."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lift3d_ros.ops.deformable_attention_3d import Levels, deformable_attention_3d
from lift3d_ros.ops.padded_levels import level_sizes


class DeformableAttention(nn.Module):
    """Samples a few points around each reference and mixes them with predicted weights.

    It takes the place of the deformable attention of any decoder: `has_depth` and the argument `depth_scores` turn
    plain 2D attention into depth-aware 3D attention. There is no output projection inside.
    """

    def __init__(
        self, embed_dims: int, num_heads: int, num_levels: int, num_points: int, *, has_depth: bool, spread: float = 1.0
    ) -> None:
        """Make the layer.

        Args:
            spread: how far apart points lie before training, in feature cells; they move slowly.
        """
        super().__init__()
        self.num_heads, self.num_levels, self.num_points = num_heads, num_levels, num_points
        samples = num_heads * num_levels * num_points
        self.sampling_offsets = nn.Linear(embed_dims, samples * 2)
        self.sampling_offsets_depth = nn.Linear(embed_dims, samples) if has_depth else None
        self.attention_weights = nn.Linear(embed_dims, samples)
        self.value_proj = nn.Linear(embed_dims, embed_dims)
        self._initialise(spread)

    def _initialise(self, spread: float) -> None:
        offsets = spread * spread_offsets(self.num_heads, self.num_levels, self.num_points)
        with torch.no_grad():
            self.sampling_offsets.weight.zero_()
            self.sampling_offsets.bias.copy_(offsets.reshape(-1))
            self.attention_weights.weight.zero_()
            self.attention_weights.bias.zero_()
            if self.sampling_offsets_depth is not None:
                self.sampling_offsets_depth.weight.zero_()
                self.sampling_offsets_depth.bias.copy_((offsets.sum(-1) / 2).reshape(-1))

    def forward(
        self,
        query: Tensor,
        value: Tensor,
        reference: Tensor,
        levels: Levels,
        depth_scores: Tensor | None = None,
        items: Tensor | None = None,
    ) -> Tensor:
        """Attend from queries to feature maps.

        Args:
            query: (B', Q, C).
            value: (B, S, C), levels one after the other.
            reference: (B', Q, Z, 2 or 3) normalised (u, v[, d]); point p uses anchor p mod Z. Without depth scores
                the third coordinate is left out.
            depth_scores: (B, S, K), shared by the heads.
            items: (B', Q) which batch item of `value` each query reads; None where row b reads item b.

        Returns:
            (B', Q, C).
        """
        batch, tokens, dims = value.shape
        num_bins = None if depth_scores is None else depth_scores.shape[-1]
        locations, weights = self.locate(query, reference, levels, num_bins)
        values = self.value_proj(value).reshape(batch, tokens, self.num_heads, dims // self.num_heads)
        return deformable_attention_3d(values, depth_scores, locations, weights, levels, items)

    def locate(self, query: Tensor, reference: Tensor, levels: Levels, num_bins: int | None) -> tuple[Tensor, Tensor]:
        """Return where each query samples, (B', Q, heads, L, P, 2 or 3), and with which weights, (B', Q, heads, L, P).

        Args:
            num_bins: depth bins of a cell; None samples in 2D.
        """
        if num_bins is None:
            reference = reference[..., :2]
        shape = (*query.shape[:2], self.num_heads, self.num_levels, self.num_points)
        weights = self.attention_weights(query).reshape(*shape[:3], shape[3] * shape[4]).softmax(-1).reshape(shape)
        # Coordinates stay in float32: in 16 bit they are off by a good part of a cell.
        # One divisor for each column: runtimes are slow with operands of which the last axes differ.
        sizes = level_sizes(levels, reference)[:, None].expand(*shape[2:], 2).reshape(-1)
        offsets = (self.sampling_offsets(query).float() / sizes).reshape(*shape, 2)
        if self.sampling_offsets_depth is not None and num_bins is not None:
            depth_offsets = self.sampling_offsets_depth(query).float() / num_bins
            offsets = torch.cat([offsets, depth_offsets.reshape(*shape, 1)], dim=-1)
        around = reference.repeat(1, 1, self.num_points // reference.shape[2], 1)[:, :, None, None]
        return around + offsets, weights


def spread_offsets(num_heads: int, num_levels: int, num_points: int) -> Tensor:
    """Return first offsets (heads, levels, points, 2): one direction for each head, farther with each point."""
    angles = torch.arange(num_heads) * (2 * math.pi / num_heads)
    directions = torch.stack([angles.cos(), angles.sin()], dim=-1)
    directions = directions / directions.abs().max(dim=-1, keepdim=True).values
    steps = torch.arange(1, num_points + 1).float()
    return (directions[:, None, None] * steps[None, None, :, None]).repeat(1, num_levels, 1, 1)
