"""The hierarchical encoder: groups of points become tokens, groups of tokens become fewer and wider ones.

Letters: B clouds, G groups, V visible tokens, C channels. Source: fact sheet I2P-MAE, sections 4, 5 and 9.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lift3d_ros.models.i2p_mae.config import EncoderConfig
from lift3d_ros.models.i2p_mae.embedding import GroupEmbedding
from lift3d_ros.models.i2p_mae.masking import unused_tokens
from lift3d_ros.models.i2p_mae.tokenizer import PointGroups
from lift3d_ros.models.i2p_mae.transformer import Position, Stack, excluded_by_radius
from lift3d_ros.ops.grouping import gather_points


class PointEncoder(nn.Module):
    """Encodes the groups of a cloud, all or only visible ones."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        rates = torch.linspace(0.0, config.drop_path, sum(config.depths), device="cpu").tolist()
        self.embeddings, self.positions = nn.ModuleList(), nn.ModuleList()
        self.stacks, self.norms = nn.ModuleList(), nn.ModuleList()
        for scale, (dims, depth) in enumerate(zip(config.dims, config.depths, strict=True)):
            before = config.dims[scale - 1]
            widths = config.embedding_dims if scale == 0 else (before, before, dims)
            self.embeddings.append(GroupEmbedding(before if scale else 3, widths, dims))
            self.positions.append(Position(dims))
            start = sum(config.depths[:scale])
            self.stacks.append(Stack(dims, config.num_heads, config.mlp_ratio, rates[start : start + depth]))
            self.norms.append(nn.LayerNorm(dims) if config.has_norms else nn.Identity())

    def forward(
        self, scales: Sequence[PointGroups], masks: Sequence[Tensor] | None = None, *, is_packed: bool = False
    ) -> list[Tensor]:
        """Return the tokens of each scale, finest first, (B, G, C); zero where they are hidden.

        Args:
            scales: groups of each scale.
            masks: (B, G) bool of each scale, true for tokens that are hidden from all others; None hides those that
                the configuration drops.
            is_packed: leave hidden tokens out of the computation, which is faster and has no static shapes; else they
                are only not attended to. The result is the same.
        """
        if masks is None and self.config.drops_unused_tokens:
            masks = unused_tokens(scales)
        outputs: list[Tensor] = []
        tokens: Tensor | None = None
        for scale, groups in enumerate(scales):
            members = groups.offsets if tokens is None else gather_points(tokens, groups.neighbours)
            tokens = self.embeddings[scale](members)
            if masks is None:
                tokens = self._attend(scale, tokens, groups.centers, None)
                outputs.append(self.norms[scale](tokens))
                continue
            hidden = masks[scale]
            attend = self._attend_packed if is_packed else self._attend
            # Hidden tokens keep their embedding, of which the next scale makes its own hidden ones.
            tokens = torch.where(hidden[..., None], tokens, attend(scale, tokens, groups.centers, hidden))
            outputs.append(self.norms[scale](tokens).masked_fill(hidden[..., None], 0.0))
        return outputs

    def _attend(self, scale: int, tokens: Tensor, centers: Tensor, hidden: Tensor | None) -> Tensor:
        radius = self.config.local_radii[scale]
        excluded = excluded_by_radius(centers, radius) if radius > 0 else None
        if hidden is not None:
            # Each token sees itself, so that the rows of hidden ones are numbers, too.
            others = ~torch.eye(hidden.shape[1], dtype=torch.bool, device=hidden.device)
            of_masks = hidden[:, None] & others
            excluded = of_masks if excluded is None else excluded | of_masks
        result: Tensor = self.stacks[scale](tokens, self.positions[scale](centers), excluded)
        return result

    def _attend_packed(self, scale: int, tokens: Tensor, centers: Tensor, hidden: Tensor) -> Tensor:
        longest = int((~hidden).sum(1).max())
        places = torch.argsort(hidden.to(torch.uint8), dim=1, stable=True)[:, :longest]  # visible ones, by index
        packed, at = gather_points(tokens, places), gather_points(centers, places)
        attended = self._attend(scale, packed, at, hidden.gather(1, places))
        return tokens.scatter(1, places[..., None].expand_as(attended), attended.to(tokens.dtype))
