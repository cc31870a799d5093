"""Object queries that look into the BEV map and refine their boxes layer by layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lift3d_ros.models.dfa3d.attention import DeformableAttention
from lift3d_ros.models.dfa3d.config import Dfa3dConfig


class DecoderLayer(nn.Module):
    """Self attention between queries, deformable attention into the BEV map, feed-forward; post-norm."""

    def __init__(self, config: Dfa3dConfig) -> None:
        super().__init__()
        dims, heads = config.embed_dims, config.num_heads
        self.self_attention = nn.MultiheadAttention(dims, heads, batch_first=True)
        self.cross_attention = DeformableAttention(dims, heads, 1, config.num_temporal_points, has_depth=False)
        self.output_proj = nn.Linear(dims, dims)
        self.ffn = nn.Sequential(nn.Linear(dims, 2 * dims), nn.ReLU(inplace=True), nn.Linear(2 * dims, dims))
        self.norms = nn.ModuleList(nn.LayerNorm(dims) for _ in range(3))
        self.levels = [(config.bev_height, config.bev_width)]

    def forward(self, query: Tensor, position: Tensor, bev: Tensor, reference: Tensor) -> Tensor:
        """Map queries (1, Q, C) with their BEV reference (1, Q, 1, 2) to (1, Q, C)."""
        with_position = query + position
        mixed = self.self_attention(with_position, with_position, query, need_weights=False)[0]
        query = self.norms[0](query + mixed)
        attended = self.cross_attention(query + position, bev, reference, self.levels)
        query = self.norms[1](query + self.output_proj(attended))
        result: Tensor = self.norms[2](query + self.ffn(query))
        return result


class Decoder(nn.Module):
    """Layers with shared queries; every layer has its own class and box branch."""

    range_min: Tensor
    range_size: Tensor

    def __init__(self, config: Dfa3dConfig) -> None:
        super().__init__()
        dims = config.embed_dims
        self.query_embedding = nn.Embedding(config.num_queries, 2 * dims)
        self.reference_points = nn.Linear(dims, 3)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_decoder_layers))
        self.cls_branches = nn.ModuleList(_branch(dims, len(config.class_names)) for _ in self.layers)
        self.reg_branches = nn.ModuleList(_branch(dims, 10) for _ in self.layers)
        self.register_buffer("range_min", torch.tensor(config.point_range[:3]), persistent=False)
        self.register_buffer("range_size", torch.tensor(config.point_range[3:]) - self.range_min, persistent=False)

    def forward(self, bev: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Map the BEV map (1, cells, C) to class logits (Q, classes) and box codes (Q, 10) of every layer."""
        position, query = self.query_embedding.weight[None].chunk(2, dim=-1)
        reference = self.reference_points(position).sigmoid()  # (1, Q, 3) normalised x, y, z
        results = []
        for layer, classify, regress in zip(self.layers, self.cls_branches, self.reg_branches, strict=True):
            query = layer(query, position, bev, reference[:, :, None, :2])
            code = regress(query)
            refined = (inverse_sigmoid(reference) + code[..., [0, 1, 4]]).sigmoid()
            center = refined * self.range_size + self.range_min
            metric = torch.cat([center[..., :2], code[..., 2:4], center[..., 2:], code[..., 5:]], dim=-1)
            results.append((classify(query)[0], metric[0]))
            reference = refined.detach()
        return results


def inverse_sigmoid(value: Tensor) -> Tensor:
    """Return the logit of `value`, finite at 0 and 1."""
    value = value.clamp(0, 1)
    return torch.log(value.clamp(min=1e-5) / (1 - value).clamp(min=1e-5))


def _branch(dims: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dims, dims), nn.LayerNorm(dims), nn.ReLU(inplace=True), nn.Linear(dims, outputs))
