"""Deformable convolution, version 1 (offsets) and 2 (offsets and a mask), from operators that every runtime has.

All taps are read by one ``grid_sample`` with a grid of taps * H rows, and mixed by one matrix product; runtimes
refuse the operator of that name, and accept these. Letters: B batch, C channels, (H, W) input, (H', W') output.
Source: Dai et al., Deformable Convolutional Networks (arXiv 1703.06211), equation 2; Zhu et al., Deformable ConvNets v2
(arXiv 1811.11168), equation 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# The values read by all taps are kept at once; batch items whose values exceed this are done one after the other.
_CHUNK_BYTES = 1 << 27


def deformable_conv2d(
    x: Tensor,
    weight: Tensor,
    offsets: Tensor,
    mask: Tensor | None = None,
    stride: int = 1,
    padding: int = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve with taps that are displaced at each output pixel; differentiable in every tensor.

    Args:
        x: (B, C in, H, W); any floating type.
        weight: (C out, C in / groups, kernel height, kernel width), of the type of `x`.
        offsets: (B, 2 * taps, H', W') in input pixels: (dy, dx) of each tap, taps row by row; shared by all channels.
        mask: (B, taps, H', W') factor of each tap, None for 1.
        stride, padding: input pixels, both axes.
        groups: channel groups of `weight`.

    Returns:
        (B, C out, H', W') of the type of `x`. Taps between pixels are bilinear; a pixel outside counts as zero.
        Positions are computed in float32 at least.

    Raises:
        ValueError: shapes that do not fit together.
    """
    batch, channels, height, width = x.shape
    out_channels, group_channels, *kernel = weight.shape
    taps = kernel[0] * kernel[1]
    out_size = [(size + 2 * padding - k) // stride + 1 for size, k in zip((height, width), kernel, strict=True)]
    expected = {"offsets": (offsets, (batch, 2 * taps, *out_size))}
    if mask is not None:
        expected["mask"] = (mask, (batch, taps, *out_size))
    for name, (tensor, shape) in expected.items():
        if tensor.shape != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; expected {shape}")
    if group_channels * groups != channels or out_channels % groups:
        raise ValueError(f"weight {tuple(weight.shape)} does not fit {channels} channels in {groups} groups")
    item_bytes = channels * taps * math.prod(out_size) * x.element_size()
    at_once = batch if torch.compiler.is_compiling() else max(1, _CHUNK_BYTES // max(item_bytes, 1))
    taps_weight = weight.reshape(groups, out_channels // groups, group_channels * taps)
    parts = []
    for start in range(0, batch, at_once):
        part = slice(start, start + at_once)
        grid = _sampling_grid(offsets[part], (height, width), kernel[1], stride, padding)
        sampled = F.grid_sample(x[part].to(grid.dtype), grid, "bilinear", "zeros", align_corners=False)
        values = sampled.to(x.dtype).reshape(-1, channels, taps, *out_size)
        if mask is not None:
            values = values * mask[part, None].to(x.dtype)
        columns = values.reshape(-1, groups, group_channels * taps, math.prod(out_size))
        parts.append(torch.matmul(taps_weight, columns))
    output = parts[0] if len(parts) == 1 else torch.cat(parts)
    return output.reshape(batch, out_channels, *out_size)


def _sampling_grid(offsets: Tensor, size: tuple[int, int], kernel_width: int, stride: int, padding: int) -> Tensor:
    """Return where each tap reads, (B, taps * H', W', 2) as (x, y) in -1..1 from border to border."""
    batch, _, height, width = offsets.shape
    offsets = offsets if offsets.dtype == torch.float64 else offsets.float()
    device, dtype = offsets.device, offsets.dtype
    taps = offsets.shape[1] // 2
    tap = torch.arange(taps, device=device)
    rows = torch.arange(height, device=device) * stride - padding
    columns = torch.arange(width, device=device) * stride - padding
    regular_y = (rows + (tap // kernel_width)[:, None])[..., None].to(dtype)  # (taps, H', 1)
    regular_x = (columns + (tap % kernel_width)[:, None])[:, None].to(dtype)  # (taps, 1, W')
    dy, dx = offsets.reshape(batch, taps, 2, height, width).unbind(2)
    y = (regular_y + dy) * (2 / size[0]) + (1 / size[0] - 1)
    x = (regular_x + dx) * (2 / size[1]) + (1 / size[1] - 1)
    return torch.stack([x, y], dim=-1).flatten(1, 2)


class DeformableConv2d(nn.Module):
    """A deformable convolution whose offsets, and mask, are predicted by a plain convolution of the same input.

    `conv_offset` has, for each tap, two outputs (dy, dx), then, where `is_modulated`, one more for each tap that
    becomes the mask through a sigmoid. It starts at zero: all taps in place. The main kernel has no bias.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int = 1,
        groups: int = 1,
        *,
        is_modulated: bool,
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.groups, self.is_modulated = stride, padding, groups, is_modulated
        self.taps = kernel_size * kernel_size
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, kernel_size, kernel_size))
        predicted = (3 if is_modulated else 2) * self.taps
        self.conv_offset = nn.Conv2d(in_channels, predicted, kernel_size, stride, padding)
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")
        nn.init.zeros_(self.conv_offset.weight)
        assert self.conv_offset.bias is not None
        nn.init.zeros_(self.conv_offset.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C in, H, W) to (B, C out, H', W')."""
        offsets = self.conv_offset(x)
        mask = None
        if self.is_modulated:
            offsets, mask = offsets.split([2 * self.taps, self.taps], dim=1)
            mask = mask.sigmoid()
        return deformable_conv2d(x, self.weight, offsets, mask, self.stride, self.padding, self.groups)
