"""The decoder of pre-training: from visible tokens to all tokens of a finer scale.

Letters: B clouds, G groups, C channels. Source: fact sheet I2P-MAE, section 10.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lift3d_ros.models.i2p_mae.config import I2pMaeConfig
from lift3d_ros.models.i2p_mae.propagation import TokenPropagation
from lift3d_ros.models.i2p_mae.transformer import Position, Stack


class PointDecoder(nn.Module):
    """Begins at the coarsest scale with a learned token in each hidden place, and goes down one scale per stage."""

    def __init__(self, config: I2pMaeConfig) -> None:
        super().__init__()
        decoder, encoder = config.reconstruction, config.encoder
        rates = torch.linspace(0.0, encoder.drop_path, sum(decoder.depths), device="cpu").tolist()
        self.mask_token = nn.Parameter(torch.zeros(1, decoder.dims[0]))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.positions = nn.ModuleList(Position(dims) for dims in decoder.dims)
        self.stacks, self.propagations = nn.ModuleList(), nn.ModuleList()
        for stage, (dims, depth) in enumerate(zip(decoder.dims, decoder.depths, strict=True)):
            start = sum(decoder.depths[:stage])
            self.stacks.append(Stack(dims, encoder.num_heads, encoder.mlp_ratio, rates[start : start + depth]))
            if stage:
                in_dims = decoder.dims[stage - 1] + encoder.dims[-1 - stage]
                self.propagations.append(TokenPropagation(in_dims, dims, decoder.residual_blocks))
        self.norm = nn.LayerNorm(decoder.dims[-1])

    def forward(self, tokens: Sequence[Tensor], masks: Sequence[Tensor], centers: Sequence[Tensor]) -> Tensor:
        """Return the tokens (B, G, C) of the scale that the last stage reaches.

        Args:
            tokens: of the encoder, finest scale first, zero where hidden.
            masks: (B, G) bool of each scale.
            centers: (B, G, 3) of each scale.
        """
        x = torch.where(masks[-1][..., None], self.mask_token.to(tokens[-1].dtype), tokens[-1])
        for stage, stack in enumerate(self.stacks):
            at = centers[-1 - stage]
            if stage:
                x = self.propagations[stage - 1](at, centers[-stage], tokens[-1 - stage], x)
            x = stack(x, self.positions[stage](at))
        result: Tensor = self.norm(x)
        return result
