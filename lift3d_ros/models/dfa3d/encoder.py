"""One layer of the BEV encoder: temporal attention, depth-aware attention to the cameras, feed-forward."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.models.dfa3d.cross_attention import CameraFeatures, PillarPairs, SpatialCrossAttention
from lift3d_ros.models.dfa3d.history import History
from lift3d_ros.models.dfa3d.lift_splat import LiftSplat, RayCells
from lift3d_ros.models.dfa3d.temporal_attention import TemporalSelfAttention


class EncoderLayer(nn.Module):
    """Temporal attention, spatial attention and a feed-forward network, each followed by a norm."""

    def __init__(self, config: Dfa3dConfig) -> None:
        super().__init__()
        self.temporal = TemporalSelfAttention(config)
        self.spatial: SpatialCrossAttention | LiftSplat
        self.spatial = SpatialCrossAttention(config) if config.view_transform == "attention" else LiftSplat(config)
        self.ffn = feed_forward(config.embed_dims, config.ffn_dims, config.dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(config.embed_dims) for _ in range(3))

    def forward(
        self,
        query: Tensor,
        position: Tensor,
        history: History,
        cameras: CameraFeatures,
        places: PillarPairs | RayCells,
    ) -> Tensor:
        """Map the cells (B, Q, C) to (B, Q, C)."""
        maps = history.maps_for(query)
        query = self.norms[0](self.temporal(query, position, maps, history.references))
        query = self.norms[1](self.spatial(query, cameras, places))
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


def feed_forward(dims: int, hidden: int, dropout: float) -> nn.Sequential:
    """Return two linear layers with a rectifier between them."""
    return nn.Sequential(
        nn.Linear(dims, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(hidden, dims),
        nn.Dropout(dropout),
    )
