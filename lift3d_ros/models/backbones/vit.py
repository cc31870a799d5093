"""Vision transformers that turn a picture into tokens: DINO, and DINOv2 with and without registers.

Letters: N pictures, L tokens, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lift3d_ros.models.backbones.resample import resampling_matrix
from lift3d_ros.models.backbones.transformer import Attention, ConditionedNorm, FeedForward
from lift3d_ros.models.backbones.vit_config import VitConfig


class VitBlock(nn.Module):
    """Attention and feed-forward network, each behind a norm and beside a shortcut."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        width, eps = config.width, config.norm_eps
        self.norm1 = ConditionedNorm(width, eps, config.modulation_width)
        self.attention = Attention(
            width, config.num_heads, is_fused=config.fuses_projections, has_bias=True, has_output_bias=True
        )
        self.scale1 = nn.Parameter(torch.ones(width)) if config.has_layer_scale else None
        self.norm2 = ConditionedNorm(width, eps, config.modulation_width)
        self.feed_forward = FeedForward(width)
        self.scale2 = nn.Parameter(torch.ones(width)) if config.has_layer_scale else None

    def forward(self, x: Tensor, modulation: Tensor | None = None) -> Tensor:
        """Map tokens (N, L, D) to (N, L, D)."""
        attended = self.attention(self.norm1(x, modulation))
        x = x + (attended if self.scale1 is None else attended * self.scale1)
        changed = self.feed_forward(self.norm2(x, modulation))
        result: Tensor = x + (changed if self.scale2 is None else changed * self.scale2)
        return result


class VisionTransformer(nn.Module):
    """Encodes pictures of any size that is a multiple of the patch."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.patch_embedding = nn.Conv2d(3, width, config.patch_size, config.patch_size)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_table = nn.Parameter(torch.empty(1, 1 + config.table_side**2, width))
        registers = nn.Parameter(torch.zeros(1, config.num_registers, width)) if config.num_registers else None
        self.register_tokens = registers
        self.blocks = nn.ModuleList(VitBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width, eps=config.norm_eps)
        nn.init.trunc_normal_(self.position_table, std=0.02)

    def forward(self, images: Tensor, modulation: Tensor | None = None) -> Tensor:
        """Encode normalised pictures (N, 3, H, W) as the class token and one token for each patch, row by row.

        Args:
            modulation: (N, modulation width), where the configuration has one.

        Returns:
            (N, 1 + H/patch * W/patch, D).
        """
        tokens = self.embed(images)
        for block in self.blocks:
            tokens = block(tokens, modulation)
        return self.without_registers(self.norm(tokens))

    def embed(self, images: Tensor) -> Tensor:
        """Return what enters the first block: class token, registers and patches, (N, L, D)."""
        size = self.config.patch_size
        if images.shape[-2] % size or images.shape[-1] % size:
            raise ValueError(f"picture of {tuple(images.shape[-2:])} px: expected multiples of the patch, {size} px")
        patches = self.patch_embedding(images)
        rows, columns = int(patches.shape[-2]), int(patches.shape[-1])
        tokens = patches.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        tokens = tokens + self.positions(rows, columns)
        if self.register_tokens is not None:
            registers = self.register_tokens.expand(tokens.shape[0], -1, -1)
            tokens = torch.cat([tokens[:, :1], registers, tokens[:, 1:]], dim=1)
        return tokens

    def class_attention(self, tokens: Tensor) -> Tensor:
        """Return what the class token attends to in the last block, whose input is given: (N, patches), mean of heads.

        Registers are left out.
        """
        last = self.blocks[-1]
        assert isinstance(last, VitBlock)
        weights = last.attention.weights(last.norm1(tokens)).mean(1)
        return weights[:, 0, 1 + self.config.num_registers :]

    def without_registers(self, tokens: Tensor) -> Tensor:
        """Return the class token and the patches of all tokens (N, L, D)."""
        if self.register_tokens is None:
            return tokens
        return torch.cat([tokens[:, :1], tokens[:, 1 + self.config.num_registers :]], dim=1)

    def positions(self, rows: int, columns: int) -> Tensor:
        """Return the position table for a grid of patches, (1, 1 + rows * columns, D)."""
        side = self.config.table_side
        if rows == columns == side:
            return self.position_table
        table = self.position_table[:, 1:].reshape(1, side, side, -1)
        down, across = self._table_matrix(rows), self._table_matrix(columns)
        resized = torch.einsum("ri,nijd,cj->nrcd", down, table, across)
        return torch.cat([self.position_table[:, :1], resized.flatten(1, 2)], dim=1)

    def _table_matrix(self, target: int) -> Tensor:
        side, offset = self.config.table_side, self.config.table_offset
        matrix = resampling_matrix(
            side, target, "cubic", scale=(target + offset) / side, is_antialiased=self.config.antialiases_table
        )
        return torch.tensor(matrix, dtype=self.position_table.dtype, device=self.position_table.device)
