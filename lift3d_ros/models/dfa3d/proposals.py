"""Object queries that start where a dense head sees object centres in the BEV map.

They take the place of learned query embeddings: a query then has a place, a class and features before the first
decoder layer, which needs far fewer training samples. Source: TransFusion (arXiv 2203.11496), section 3.2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lift3d_ros.models.dfa3d.config import CODE_SIZE, Dfa3dConfig

_RARE = 0.1  # probability of a centre before training


class Proposals(NamedTuple):
    """Queries and the dense maps that they were taken from.

    Args:
        heatmap: (B, classes, H, W) logits of object centres.
        codes: (B, 10, H, W) box codes; the centre is an offset from that of the cell, in metres.
        query, position: (B, Q, C).
        reference: (B, Q, 3) normalised x, y, z.
        logits, code: (B, Q, classes) and (B, Q, 10) of the maps in the cells of the queries, for decoder layers to
            add to; detached.
    """

    heatmap: Tensor
    codes: Tensor
    query: Tensor
    position: Tensor
    reference: Tensor
    logits: Tensor
    code: Tensor


class DenseProposals(nn.Module):
    """Finds the best local maxima of a class heatmap."""

    range_min: Tensor
    range_size: Tensor
    cell_centers: Tensor
    is_crowded: Tensor

    def __init__(self, config: Dfa3dConfig) -> None:
        super().__init__()
        dims, num_classes = config.embed_dims, len(config.class_names)
        self.num_queries, self.num_classes = config.num_queries, num_classes
        self.height, self.width = config.bev_height, config.bev_width
        self.shared = nn.Sequential(
            nn.Conv2d(dims, dims, 3, padding=1, bias=False), nn.BatchNorm2d(dims), nn.ReLU(inplace=True)
        )
        self.surroundings = _Surroundings(dims)
        self.heatmap = nn.Conv2d(dims, num_classes, 3, padding=1)
        self.codes = nn.Conv2d(dims, CODE_SIZE, 3, padding=1)
        self.class_embedding = nn.Embedding(num_classes, dims)
        self.position = nn.Sequential(nn.Linear(2, dims), nn.ReLU(inplace=True), nn.Linear(dims, dims))
        nn.init.constant_(self._bias(self.heatmap), math.log(_RARE / (1 - _RARE)))
        x_min, y_min, _, x_max, y_max, _ = config.point_range
        rows, columns = torch.meshgrid(torch.arange(self.height), torch.arange(self.width), indexing="ij")
        steps = torch.stack([(columns + 0.5) / self.width, (rows + 0.5) / self.height], dim=-1).reshape(-1, 2)
        centers = torch.tensor([x_min, y_min]) + steps * torch.tensor([x_max - x_min, y_max - y_min])
        is_crowded = torch.tensor([name in config.crowded_classes for name in config.class_names])
        self.register_buffer("cell_centers", centers, persistent=False)  # (cells, 2) metres
        self.register_buffer("is_crowded", is_crowded.reshape(1, -1, 1, 1), persistent=False)
        self.register_buffer("range_min", torch.tensor(config.point_range[:3]), persistent=False)
        self.register_buffer("range_size", torch.tensor(config.point_range[3:]) - self.range_min, persistent=False)

    @staticmethod
    def _bias(layer: nn.Conv2d) -> Tensor:
        assert layer.bias is not None
        return layer.bias

    def forward(self, bev: Tensor) -> Proposals:
        """Map the BEV map (B, cells, C) to proposals."""
        batch, cells, dims = bev.shape
        features = self.shared(bev.transpose(1, 2).reshape(batch, dims, self.height, self.width))
        features = features + self.surroundings(features)
        heatmap, codes = self.heatmap(features), self.codes(features)
        scores = heatmap.detach().float().sigmoid()
        is_peak = (F.max_pool2d(scores, 3, 1, 1) == scores) | self.is_crowded
        scores = torch.where(is_peak, scores, torch.zeros_like(scores)).reshape(batch, -1)
        place = scores.topk(self.num_queries, dim=1).indices  # class * cells + cell
        label, cell = place // cells, place % cells
        query = _take(features.flatten(2).transpose(1, 2), cell) + self.class_embedding(label)
        code = _take(codes.detach().flatten(2).transpose(1, 2), cell).float()
        logits = _take(heatmap.detach().flatten(2).transpose(1, 2), cell).float()
        center = torch.cat([self.cell_centers[cell] + code[..., :2], code[..., 4:5]], dim=-1)
        reference = ((center - self.range_min) / self.range_size).clamp(0.0, 1.0)
        return Proposals(heatmap, codes, query, self.position(reference[..., :2]), reference, logits, code)


class _Surroundings(nn.Module):
    """Looks at the map at half the resolution, so that a cell knows of all of a long vehicle."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(dims, dims, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(dims), nn.ReLU(inplace=True),
            nn.Conv2d(dims, dims, 3, padding=1, bias=False), nn.BatchNorm2d(dims), nn.ReLU(inplace=True),
        )  # fmt: skip

    def forward(self, features: Tensor) -> Tensor:
        coarse = self.convs(features)
        return F.interpolate(coarse, size=features.shape[-2:])


def _take(rows: Tensor, index: Tensor) -> Tensor:
    """Return the rows (B, Q, C) of a table (B, cells, C) at `index` (B, Q)."""
    return torch.gather(rows, 1, index[..., None].expand(-1, -1, rows.shape[-1]))
