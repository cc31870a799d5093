"""Depth-aware attention of the BEV cells to the pictures that see them.

Only pairs of a camera and a cell that it sees are computed: a list of them comes from the calibration, see
:mod:`lift3d_ros.models.dfa3d.visibility`. Letters: N cameras of all samples, P pairs, Q cells, K cameras of a cell.
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
    """What the cameras see: features (N, S, C), depth scores (N, S, bins) or None, and the size of each level."""

    value: Tensor
    depth_scores: Tensor | None
    levels: Levels


@dataclass(frozen=True, eq=False)
class PillarPairs:
    """Which camera sees which cell, and where.

    Args:
        camera: (P,) int64 in 0..N-1.
        cell: (P,) int64 in 0..B*Q-1.
        pairs_of_cell: (B*Q, K) int64 rows of the pairs of each cell; P where there are fewer than K.
        points: (P, Z, 2 or 3) normalised (u, v[, d]) of the anchors of the cell in the camera.
    """

    camera: Tensor
    cell: Tensor
    pairs_of_cell: Tensor
    points: Tensor


class SpatialCrossAttention(nn.Module):
    """Attends from each cell to each camera that sees it, and averages over these cameras."""

    def __init__(self, config: Dfa3dConfig) -> None:
        super().__init__()
        dims = config.embed_dims
        self.deformable_attention = DeformableAttention(
            dims,
            config.num_heads,
            config.num_levels,
            config.num_points,
            has_depth=config.depth.source != "none",
            spread=config.point_spread,
        )
        self.output_proj = nn.Linear(dims, dims)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, query: Tensor, cameras: CameraFeatures, pairs: PillarPairs) -> Tensor:
        """Map the cells (B, Q, C) to updated cells (B, Q, C); cells that no camera sees get only the bias."""
        batch, cells, dims = query.shape
        rows = query.reshape(batch * cells, dims).index_select(0, pairs.cell)
        attended = self.deformable_attention(
            rows[None], cameras.value, pairs.points[None], cameras.levels, cameras.depth_scores, pairs.camera[None]
        )[0]  # (P, C)
        # A gather by the inverse table and not a scatter: deterministic, and every runtime has it.
        attended = torch.cat([attended, attended.new_zeros(1, dims)])
        table = pairs.pairs_of_cell
        total = attended.index_select(0, table.reshape(-1)).reshape(*table.shape, dims).sum(1)
        count = (table < pairs.camera.shape[0]).to(total.dtype).sum(1, keepdim=True).clamp(min=1.0)
        mean = (total / count).reshape(batch, cells, dims)
        result: Tensor = query + self.dropout(self.output_proj(mean))
        return result
