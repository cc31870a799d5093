"""Object queries that look into the BEV map and refine their boxes layer by layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lift3d_ros.models.dfa3d.attention import DeformableAttention
from lift3d_ros.models.dfa3d.config import CODE_SIZE, Dfa3dConfig
from lift3d_ros.models.dfa3d.encoder import feed_forward
from lift3d_ros.models.dfa3d.proposals import DenseProposals, Proposals
from lift3d_ros.ops.deformable_attention_3d import Levels


class DecoderLayer(nn.Module):
    """Self attention between queries, deformable attention into the BEV map, feed-forward; post-norm."""

    def __init__(self, config: Dfa3dConfig) -> None:
        super().__init__()
        dims, heads = config.embed_dims, config.num_heads
        self.self_attention = nn.MultiheadAttention(dims, heads, dropout=config.dropout, batch_first=True)
        self.cross_attention = BevAttention(config)
        self.ffn = feed_forward(dims, config.ffn_dims, config.dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(dims) for _ in range(3))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, query: Tensor, position: Tensor, bev: Tensor, reference: Tensor) -> Tensor:
        """Map queries (B, Q, C) with their place in the BEV map (B, Q, 2) to (B, Q, C)."""
        with_position = query + position
        mixed = self.self_attention(with_position, with_position, query, need_weights=False)[0]
        query = self.norms[0](query + self.dropout(mixed))
        query = self.norms[1](query + self.cross_attention(query + position, bev, reference))
        result: Tensor = self.norms[2](query + self.ffn(query))
        return result


class BevAttention(DeformableAttention):
    """Deformable attention of object queries into the one level of the BEV map."""

    def __init__(self, config: Dfa3dConfig) -> None:
        super().__init__(config.embed_dims, config.num_heads, 1, config.num_temporal_points, has_depth=False)
        self.output_proj = nn.Linear(config.embed_dims, config.embed_dims)
        self.dropout = nn.Dropout(config.dropout)
        self.levels: Levels = [(config.bev_height, config.bev_width)]

    def forward(self, query: Tensor, bev: Tensor, reference: Tensor) -> Tensor:  # type: ignore[override]
        """Attend from queries (B, Q, C) at `reference` (B, Q, 2) to the map (B, cells, C)."""
        attended = super().forward(query, bev, reference[:, :, None], self.levels)
        result: Tensor = self.dropout(self.output_proj(attended))
        return result


class Decoder(nn.Module):
    """Layers with shared queries; every layer has its own class and box branch."""

    range_min: Tensor
    range_size: Tensor

    def __init__(self, config: Dfa3dConfig) -> None:
        super().__init__()
        dims = config.embed_dims
        self.proposals = DenseProposals(config) if config.query_source == "heatmap" else None
        if self.proposals is None:
            self.query_embedding = nn.Embedding(config.num_queries, 2 * dims)
            self.reference_points = nn.Linear(dims, 3)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_decoder_layers))
        self.cls_branches = nn.ModuleList(_class_branch(dims, len(config.class_names)) for _ in self.layers)
        self.reg_branches = nn.ModuleList(_box_branch(dims) for _ in self.layers)
        self.register_buffer("range_min", torch.tensor(config.point_range[:3]), persistent=False)
        self.register_buffer("range_size", torch.tensor(config.point_range[3:]) - self.range_min, persistent=False)

    def forward(self, bev: Tensor, proposals: Proposals | None = None) -> list[tuple[Tensor, Tensor]]:
        """Map the BEV map (B, cells, C) to class logits (B, Q, classes) and box codes (B, Q, 10) of every layer.

        Args:
            proposals: of this map, where they are known already.
        """
        found: Proposals | None = None
        if self.proposals is None:
            position, query = self.query_embedding.weight[None].expand(bev.shape[0], -1, -1).chunk(2, dim=-1)
            reference = self.reference_points(position).sigmoid()
        else:
            found = self.proposals(bev) if proposals is None else proposals
            query, position, reference = found.query, found.position, found.reference
        outputs = []
        layers = self.refine(query, position, bev, reference)
        for classify, (refined_query, refined, code) in zip(self.cls_branches, layers, strict=True):
            logits = classify(refined_query)
            if found is not None:
                logits, code = logits + found.logits, code + found.code
            outputs.append((logits, self._metric(code, refined)))
        return outputs

    def refine(
        self, query: Tensor, position: Tensor, bev: Tensor, reference: Tensor
    ) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Run the layers.

        Args:
            query, position: (B, Q, C).
            reference: (B, Q, 3) normalised x, y, z.

        Returns:
            For each layer the queries (B, Q, C), the refined references (B, Q, 3) and the raw box codes (B, Q, 10).
        """
        results = []
        for layer, regress in zip(self.layers, self.reg_branches, strict=True):
            query = layer(query, position, bev, reference[..., :2])
            code = regress(query)
            step = torch.cat([code[..., :2], code[..., 4:5]], dim=-1)
            refined = (inverse_sigmoid(reference) + step).sigmoid()
            results.append((query, refined, code))
            reference = refined.detach()
        return results

    def _metric(self, code: Tensor, refined: Tensor) -> Tensor:
        center = refined * self.range_size + self.range_min
        return torch.cat([center[..., :2], code[..., 2:4], center[..., 2:], code[..., 5:]], dim=-1)


def inverse_sigmoid(value: Tensor) -> Tensor:
    """Return the logit of `value`, finite at 0 and 1."""
    value = value.clamp(0, 1)
    return torch.log(value.clamp(min=1e-5) / (1 - value).clamp(min=1e-5))


def _class_branch(dims: int, num_classes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(2):
        layers += [nn.Linear(dims, dims), nn.LayerNorm(dims), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(dims, num_classes))


def _box_branch(dims: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(2):
        layers += [nn.Linear(dims, dims), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(dims, CODE_SIZE))
