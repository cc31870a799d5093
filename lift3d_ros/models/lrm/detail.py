"""Convolutions beside the transformer: what the picture shows, finely and with its surroundings, for the front plane.

With few objects to learn from, convolutions learn outlines and how thick things are much sooner than attention does.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from lift3d_ros.models.lrm.config import LrmConfig

_LEVELS = 4
_GROUPS = 8


class ConvolutionBlock(nn.Sequential):
    """Convolution, group norm, SiLU."""

    def __init__(self, channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels, out_channels, 3, stride, padding=1, bias=False),
            nn.GroupNorm(min(_GROUPS, out_channels), out_channels),
            nn.SiLU(),
        )


class PictureDetail(nn.Module):
    """A pyramid of four levels, down and up again, from a picture to the plane that faces the camera."""

    def __init__(self, config: LrmConfig) -> None:
        """Prepare for pictures that are a multiple of the planes.

        Raises:
            ValueError: they are not.
        """
        super().__init__()
        decoder, side = config.decoder, config.image.side
        texels = decoder.plane_side * decoder.upsampling
        if side % texels:
            raise ValueError(f"planes of {texels} texels: expected a picture of a multiple of that, not of {side} px")
        step = side // texels
        widths = [decoder.detail_width * (level + 1) for level in range(_LEVELS)]
        pairs = list(pairwise(widths))
        self.first = nn.Conv2d(3, widths[0], step + 2, step, padding=1)
        self.down = nn.ModuleList(ConvolutionBlock(fine, coarse, stride=2) for fine, coarse in pairs)
        self.blocks = nn.ModuleList(ConvolutionBlock(width, width) for width in widths)
        self.narrow = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairs)
        self.joined = nn.ModuleList(ConvolutionBlock(width, width) for width in widths[:-1])
        self.last = nn.Conv2d(widths[0], decoder.channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised pictures (N, 3, S, S) to (N, C, R, R); rows go up, as those of the planes do."""
        plain = self.first(images.flip(2))
        levels = [self.blocks[0](plain)]
        for down, block in zip(self.down, self.blocks[1:], strict=True):
            levels.append(block(down(levels[-1])))
        found = levels.pop()
        for narrow, joined in zip(reversed(self.narrow), reversed(self.joined), strict=True):
            found = joined(levels.pop() + F.interpolate(narrow(found), scale_factor=2.0, mode="nearest"))
        # Norms take out how bright and of which colour a picture is as a whole.
        result: Tensor = self.last(found + plain)
        return result
