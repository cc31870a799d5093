"""The 2D teacher: an image encoder that tells what stands out in a picture, and what is there.

A teacher is held outside of the network that learns from it. Letters: M pictures, L tokens of a picture, C channels,
h w patches. Source: fact sheet I2P-MAE, section 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from lift3d_ros.models.i2p_mae.config import TeacherConfig
from lift3d_ros.models.i2p_mae.pointwise import PointwiseNorm
from lift3d_ros.models.i2p_mae.projection import IMAGE_MEAN, IMAGE_SIZE, IMAGE_STD

_PATCHES, _POSITIONS = "vision.conv1.weight", "vision.positional_embedding"


class TeacherMaps(NamedTuple):
    """What a teacher says of each patch of its pictures.

    Args:
        features: (M, C, h, w).
        saliency: (M, 1, h, w), larger where more stands out.
    """

    features: Tensor
    saliency: Tensor


class ImageTeacher(Protocol):
    """Any image encoder: pictures (M, 3, 224, 224), normalised with the ImageNet statistics, to maps of patches."""

    def __call__(self, images: Tensor) -> TeacherMaps:
        """Return the maps; whoever calls wants no gradients."""
        ...


class ClipVisionTransformer(nn.Module):
    """The visual half of CLIP; parameters have the names of its published checkpoints, without ``visual.``.

    Args:
        image_size, patch_size: of the pictures it was trained for, px.
        dims: width of the tokens.
        out_dims: width of the space that pictures and texts share.
        channels: of the pictures that are looked at, the first ones.
    """

    def __init__(
        self,
        image_size: int = 224,
        patch_size: int = 16,
        dims: int = 768,
        num_layers: int = 12,
        num_heads: int = 12,
        out_dims: int = 512,
        channels: int = 3,
    ) -> None:
        super().__init__()
        num_tokens = (image_size // patch_size) ** 2 + 1
        self.conv1 = nn.Conv2d(channels, dims, patch_size, patch_size, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(dims) * dims**-0.5)
        self.positional_embedding = nn.Parameter(torch.randn(num_tokens, dims) * dims**-0.5)
        self.ln_pre = nn.LayerNorm(dims)
        self.transformer = _Transformer(dims, num_layers, num_heads)
        self.ln_post = nn.LayerNorm(dims)
        self.proj = nn.Parameter(torch.randn(dims, out_dims) * dims**-0.5)

    def forward(self, images: Tensor) -> TeacherMaps:
        """Return features of all patches, and the attention that the class token pays them in the last layer."""
        tokens, attention = self.encode(images)
        height, width = (side // self.conv1.stride[0] for side in images.shape[2:])
        features = tokens[:, 1:].transpose(1, 2).reshape(len(images), -1, height, width)
        return TeacherMaps(features.float(), attention[:, 0, 1:].reshape(-1, 1, height, width).float())

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return projected tokens (M, L, out_dims), the class token first, and the last attention (M, L, L)."""
        seen = images[:, : self.conv1.in_channels].to(self.conv1.weight.dtype)
        patches = self.conv1(seen).flatten(2).transpose(1, 2)
        classes = self.class_embedding.to(patches.dtype).expand(len(images), 1, -1)
        x = torch.cat([classes, patches], dim=1) + self.positional_embedding.to(patches.dtype)
        x, attention = self.transformer(self.ln_pre(x))
        return self.ln_post(x) @ self.proj, attention


class SmallTeacher(nn.Module):
    """Our own teacher; the channels of its features have mean 0 and variance 1 over what it was trained on."""

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = ClipVisionTransformer(
            IMAGE_SIZE,
            config.patch_size,
            config.dims,
            config.num_layers,
            config.num_heads,
            config.out_dims,
            config.channels,
        )
        self.feature_norm = PointwiseNorm(config.out_dims, affine=False)

    def forward(self, images: Tensor) -> TeacherMaps:
        """Return features of all patches, and the attention that the class token pays them in the last layer."""
        return self.encode(images)[1]

    def encode(self, images: Tensor) -> tuple[Tensor, TeacherMaps]:
        """Return the class token (M, C) as well."""
        tokens, attention = self.vision.encode(images)
        side = images.shape[-1] // self.config.patch_size
        features = self.feature_norm(tokens[:, 1:].float()).transpose(1, 2).unflatten(2, (side, side))
        saliency = attention[:, 0, 1:].float().reshape(-1, 1, side, side)
        return tokens[:, 0].float(), TeacherMaps(features, saliency)


def one_channel_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a :class:`SmallTeacher` of three channels as those of one channel that answers the same.

    The channels of a depth map differ by what they were normalised with alone, so the others follow from the first:
    factors go into the weights of the patches, offsets into the positional embedding.
    """
    weight = state[_PATCHES]
    mean, std = weight.new_tensor(IMAGE_MEAN), weight.new_tensor(IMAGE_STD)
    factor, offset = std[0] / std, (mean[0] - mean) / std
    position = state[_POSITIONS].clone()
    position[1:] += torch.einsum("ocij,c->o", weight, offset)
    folded = torch.einsum("ocij,c->oij", weight, factor)[:, None]
    return {**state, _PATCHES: folded, _POSITIONS: position}


class _Transformer(nn.Module):
    def __init__(self, dims: int, num_layers: int, num_heads: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(_ResidualBlock(dims, num_heads) for _ in range(num_layers))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        last = len(self.resblocks) - 1
        attention = x
        for index, block in enumerate(self.resblocks):
            x, attention = block(x, needs_attention=index == last)
        return x, attention


class _ResidualBlock(nn.Module):
    def __init__(self, dims: int, num_heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(dims, num_heads, batch_first=True)
        self.ln_1 = nn.LayerNorm(dims)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(dims, 4 * dims))
        self.mlp.add_module("gelu", _QuickGelu())
        self.mlp.add_module("c_proj", nn.Linear(4 * dims, dims))
        self.ln_2 = nn.LayerNorm(dims)

    def forward(self, x: Tensor, *, needs_attention: bool) -> tuple[Tensor, Tensor | None]:
        normed = self.ln_1(x)
        mixed, attention = self.attn(normed, normed, normed, need_weights=needs_attention)
        x = x + mixed
        return x + self.mlp(self.ln_2(x)), attention


class _QuickGelu(nn.Module):
    """The form of the GELU that CLIP was trained with."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)
