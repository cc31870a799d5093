"""Builds the BEV map: temporal attention to the last map, depth-aware attention to the cameras, feed-forward.

Letters: N cameras, Q cells, C channels, S feature pixels of a camera, Z pillar anchors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lift3d_ros.models.dfa3d.attention import DeformableAttention
from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.ops.deformable_attention_3d import Levels


@dataclass(frozen=True, eq=False)
class CameraFeatures:
    """What the cameras see: features (N, S, C), depth scores (N, S, bins) and the size of each level."""

    value: Tensor
    depth_scores: Tensor
    levels: Levels


@dataclass(frozen=True, eq=False)
class PillarReferences:
    """Where pillars appear: normalised (N, Q, Z, 3) and whether a camera sees any anchor of a cell, (N, Q) 0 or 1."""

    points: Tensor
    is_hit: Tensor


class TemporalSelfAttention(nn.Module):
    """Attends to the aligned map of the last frame and to the current one, and averages both."""

    def __init__(self, config: Dfa3dConfig) -> None:
        super().__init__()
        dims = config.embed_dims
        self.history_fusion = nn.Linear(2 * dims, dims)
        self.attention = DeformableAttention(dims, config.num_heads, 1, config.num_temporal_points, has_depth=False)
        self.output_proj = nn.Linear(dims, dims)
        self.levels = [(config.bev_height, config.bev_width)]

    def forward(self, query: Tensor, position: Tensor, history: Tensor, reference: Tensor) -> Tensor:
        """Map the cells (1, Q, C) with the aligned history (1, Q, C) to updated cells; reference is (1, Q, 1, 2)."""
        fused = self.history_fusion(torch.cat([history, query + position], dim=-1))
        maps = torch.cat([history, query])
        attended = self.attention(fused, maps, reference.expand(2, -1, -1, -1), self.levels)
        result: Tensor = query + self.output_proj(attended.mean(0, keepdim=True))
        return result


class SpatialCrossAttention(nn.Module):
    """Attends from each cell to the pictures that see it, weighted by depth, and averages over these cameras."""

    def __init__(self, config: Dfa3dConfig) -> None:
        super().__init__()
        dims = config.embed_dims
        self.deformable_attention = DeformableAttention(
            dims, config.num_heads, config.num_levels, config.num_points, has_depth=True
        )
        self.output_proj = nn.Linear(dims, dims)

    def forward(self, query: Tensor, cameras: CameraFeatures, pillars: PillarReferences) -> Tensor:
        """Map the cells (1, Q, C) to updated cells (1, Q, C); cells that no camera sees get only the bias."""
        attended = self.deformable_attention(
            query, cameras.value, pillars.points, cameras.levels, cameras.depth_scores
        )  # (N, Q, C)
        hits = pillars.is_hit[..., None]
        mean = (attended * hits).sum(0, keepdim=True) / hits.sum(0, keepdim=True).clamp(min=1.0)
        result: Tensor = query + self.output_proj(mean)
        return result


class EncoderLayer(nn.Module):
    """Temporal attention, spatial attention and a feed-forward network, each followed by a norm."""

    def __init__(self, config: Dfa3dConfig) -> None:
        super().__init__()
        dims = config.embed_dims
        self.temporal = TemporalSelfAttention(config)
        self.spatial = SpatialCrossAttention(config)
        self.ffn = nn.Sequential(nn.Linear(dims, 2 * dims), nn.ReLU(inplace=True), nn.Linear(2 * dims, dims))
        self.norms = nn.ModuleList(nn.LayerNorm(dims) for _ in range(3))

    def forward(
        self,
        query: Tensor,
        position: Tensor,
        history: Tensor,
        cell_reference: Tensor,
        cameras: CameraFeatures,
        pillars: PillarReferences,
    ) -> Tensor:
        """Map the cells (1, Q, C) to (1, Q, C)."""
        query = self.norms[0](self.temporal(query, position, history, cell_reference))
        query = self.norms[1](self.spatial(query, cameras, pillars))
        result: Tensor = self.norms[2](query + self.ffn(query))
        return result


class CellPosition(nn.Module):
    """Learned position of the cells: one table for columns, one for rows, side by side."""

    def __init__(self, config: Dfa3dConfig) -> None:
        super().__init__()
        self.row_embed = nn.Embedding(config.bev_height, config.embed_dims // 2)
        self.col_embed = nn.Embedding(config.bev_width, config.embed_dims // 2)

    def forward(self) -> Tensor:
        """Return the positions (1, Q, C)."""
        rows, columns = self.row_embed.weight, self.col_embed.weight
        shape = (rows.shape[0], columns.shape[0], -1)
        grid = torch.cat([columns[None].expand(shape), rows[:, None].expand(shape)], dim=-1)
        return grid.reshape(1, shape[0] * shape[1], -1)
