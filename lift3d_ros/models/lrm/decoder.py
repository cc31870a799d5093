"""The transformer that turns learned triplane tokens into planes while it looks at the tokens of a picture.

Letters: N pictures, L triplane tokens (plane, row, column), S picture tokens, D width, C channels of the planes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lift3d_ros.models.backbones.transformer import Attention, ConditionedNorm, FeedForward
from lift3d_ros.models.lrm.config import TokenDecoderConfig

FRONT_PLANE = 1
"""The plane that faces the camera where planes start from the picture: right and up."""


class DecoderBlock(nn.Module):
    """Attention to the picture, attention among the tokens, feed-forward network; each behind a norm, with a shortcut.

    Source: fact sheet LRM, sections 5.1 and 5.2.
    """

    def __init__(self, config: TokenDecoderConfig, picture_width: int | None) -> None:
        """Prepare for picture tokens of `picture_width`; None leaves attention to the picture out."""
        super().__init__()
        width = config.width
        self.is_picture_first = config.attends_first_to == "picture"
        self.picture_norm, self.picture_attention = None, None
        if picture_width is not None:
            self.picture_norm = ConditionedNorm(width, config.norm_eps, config.camera_width)
            self.picture_attention = Attention(
                width,
                config.num_heads,
                picture_width,
                is_fused=config.fuses_projections and picture_width == width,
                has_bias=False,
                has_output_bias=config.has_output_bias,
            )
        self.token_norm = ConditionedNorm(width, config.norm_eps, config.camera_width)
        self.token_attention = Attention(
            width,
            config.num_heads,
            is_fused=config.fuses_projections,
            has_bias=False,
            has_output_bias=config.has_output_bias,
        )
        self.feed_forward_norm = ConditionedNorm(width, config.norm_eps, config.camera_width)
        self.feed_forward = FeedForward(width, config.activation)

    def forward(self, x: Tensor, picture: Tensor | None = None, camera: Tensor | None = None) -> Tensor:
        """Map tokens (N, L, D), picture tokens (N, S, picture width) and embedded cameras to (N, L, D)."""
        if self.is_picture_first:
            x = self._attend_to_tokens(self._attend_to_picture(x, picture, camera), camera)
        else:
            x = self._attend_to_picture(self._attend_to_tokens(x, camera), picture, camera)
        changed: Tensor = self.feed_forward(self.feed_forward_norm(x, camera))
        return x + changed

    def _attend_to_picture(self, x: Tensor, picture: Tensor | None, camera: Tensor | None) -> Tensor:
        if self.picture_attention is None or self.picture_norm is None:
            return x
        seen: Tensor = self.picture_attention(self.picture_norm(x, camera), picture)
        return x + seen

    def _attend_to_tokens(self, x: Tensor, camera: Tensor | None) -> Tensor:
        heard: Tensor = self.token_attention(self.token_norm(x, camera))
        return x + heard


class TokenTransformer(nn.Module):
    """All blocks with what stands before and behind them."""

    def __init__(self, config: TokenDecoderConfig, picture_width: int) -> None:
        super().__init__()
        width, groups = config.width, config.group_norm_groups
        self.group_norm = nn.GroupNorm(groups, width, eps=1e-6) if groups else None
        self.first_projection = nn.Linear(width, width) if groups else None
        self.blocks = nn.ModuleList(DecoderBlock(config, picture_width) for _ in range(config.num_layers))
        self.last_projection = nn.Linear(width, width) if groups else None
        self.norm = None if groups else nn.LayerNorm(width, eps=config.norm_eps)

    def forward(self, tokens: Tensor, picture: Tensor, camera: Tensor | None = None) -> Tensor:
        """Map triplane tokens (N, L, D) to (N, L, D)."""
        x = tokens
        if self.group_norm is not None and self.first_projection is not None:
            x = self.first_projection(self.group_norm(x.transpose(1, 2)).transpose(1, 2))
        for block in self.blocks:
            x = block(x, picture, camera)
        if self.last_projection is not None:
            x = self.last_projection(x) + tokens
        if self.norm is not None:
            x = self.norm(x)
        return x


class PictureStart(nn.Module):
    """Adds the tokens of a picture to triplane tokens where they belong.

    The planes are (right, forward), (right, up) and (up, forward) along columns and rows, see ``FieldConfig.layout``.
    """

    def __init__(self, width: int, picture_width: int) -> None:
        super().__init__()
        self.top, self.front, self.side = (nn.Linear(picture_width, width) for _ in range(3))

    def forward(self, tokens: Tensor, picture: Tensor) -> Tensor:
        """Map triplane tokens (N, L, D) and picture tokens (N, 1 + S, picture width), class token first."""
        side = math.isqrt(picture.shape[1] - 1)
        # Rows of a picture go down, those of the front plane up.
        patches = picture[:, 1:].reshape(-1, side, side, picture.shape[-1]).flip(1)
        columns, rows = self.top(patches.mean(dim=1)), self.side(patches.mean(dim=2))
        parts = (
            columns[:, None].expand(-1, side, -1, -1),
            self.front(patches),
            rows[:, None].expand(-1, side, -1, -1),
        )
        return tokens + torch.stack(parts, dim=1).flatten(1, 3)


class TriplaneDecoder(nn.Module):
    """Learned tokens, transformer and upsampling to planes."""

    def __init__(self, config: TokenDecoderConfig, picture_width: int) -> None:
        super().__init__()
        self.config = config
        side, width = config.plane_side, config.width
        shape = (3, width, side, side) if config.stores_planes else (1, config.num_tokens, width)
        self.tokens = nn.Parameter(torch.empty(shape))
        nn.init.trunc_normal_(self.tokens, std=width**-0.5)
        self.picture_start = PictureStart(width, picture_width) if config.starts_from_picture else None
        self.transformer = TokenTransformer(config, picture_width)
        self.upsampler = nn.ConvTranspose2d(width, config.channels, config.upsampling, config.upsampling)

    def forward(self, picture: Tensor, camera: Tensor | None = None) -> Tensor:
        """Map picture tokens (N, S, picture width) to planes (N, 3, C, R, R), R = plane side * upsampling."""
        tokens = self.initial_tokens(picture.shape[0])
        if self.picture_start is not None:
            tokens = self.picture_start(tokens, picture)
        return self.to_planes(self.transformer(tokens, picture, camera))

    def initial_tokens(self, num_pictures: int) -> Tensor:
        """Return the learned tokens (N, L, D), the same for each picture."""
        tokens: Tensor = self.tokens
        if self.config.stores_planes:
            tokens = tokens.permute(0, 2, 3, 1).flatten(0, 2)[None]
        return tokens.expand(num_pictures, -1, -1)

    def to_planes(self, tokens: Tensor) -> Tensor:
        """Lay tokens (N, L, D) out as planes and enlarge them to (N, 3, C, R, R)."""
        side = self.config.plane_side
        planes = tokens.reshape(-1, side, side, tokens.shape[-1]).permute(0, 3, 1, 2)
        enlarged: Tensor = self.upsampler(planes)
        return enlarged.reshape(-1, 3, *enlarged.shape[1:])
