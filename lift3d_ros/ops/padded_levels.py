"""Multi-level maps with a border of zeros, and where a sample reads in them; not for anything but sampling.

Every level gets a border of zero pixels, and the bins of depth scores a zero at both ends. Then no neighbour of a
sample needs a test: all of them exist, at constant distances in memory, and count nothing where there is no pixel.

Letters as in :mod:`lift3d_ros.ops.deformable_attention_3d`; S' pixels of all levels with their borders.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

Levels = Sequence[tuple[int, int]]


class LevelTable(NamedTuple):
    """A batch of multi-level maps with a zero border around every level, flattened to rows.

    `flat` is (B * S' * heads, channels) for features and (B * S' * heads * (channels + 2),) for scores.
    """

    flat: Tensor
    heads: int
    channels: int

    def rows(self, tokens: Tensor) -> Tensor:
        """Return the row of each token (N, M, L * P) for the head that reads it."""
        if self.heads == 1:
            return tokens
        return tokens * self.heads + torch.arange(self.heads, device=tokens.device)[:, None]

    @classmethod
    def of(cls, value: Tensor, levels: Levels) -> LevelTable:
        """Lay out features (B, S, M, C)."""
        heads, channels = value.shape[2:]
        return cls(_with_border(value, levels, (0, 0)).reshape(-1, channels), heads, channels)

    @classmethod
    def of_scores(cls, depth_scores: Tensor | None, levels: Levels) -> LevelTable | None:
        """Lay out depth scores (B, S, K) or (B, S, M, K)."""
        if depth_scores is None:
            return None
        heads = depth_scores.shape[2] if depth_scores.dim() == 4 else 1
        return cls(_with_border(depth_scores, levels, (1, 1)).reshape(-1), heads, depth_scores.shape[-1])


def _with_border(maps: Tensor, levels: Levels, last: tuple[int, int]) -> Tensor:
    """Surround every level of (B, S, ...) with one zero pixel; `last` are the zeros added to the last axis."""
    border = (*last, *(0, 0) * (maps.dim() - 3), 1, 1, 1, 1)
    padded = []
    start = 0
    for height, width in levels:
        level = maps[:, start : start + height * width]
        level = level.reshape(level.shape[0], height, width, *level.shape[2:])
        padded.append(F.pad(level, border).flatten(1, 2))
        start += height * width
    return padded[0] if len(padded) == 1 else torch.cat(padded, dim=1)


class _Grid(NamedTuple):
    """Constants of the levels, for each of the L * P samples of a head, or (1,) where there is a single level."""

    sizes: tuple[Tensor, ...]  # width, height and bins
    row_steps: Tensor  # tokens from a pixel to the one below
    origins: Tensor  # token of pixel (0, 0)
    num_tokens: int  # tokens of one batch item


def _build_grid(
    levels: tuple[tuple[int, int], ...], points: int, bins: int | None, device: torch.device, dtype: torch.dtype
) -> _Grid:
    starts = [0]
    for height, width in levels:
        starts.append(starts[-1] + (height + 2) * (width + 2))

    def constants(values: list[int]) -> Tensor:
        # Runtimes are slow with operands of which the last axes differ: one number serves all samples of a level.
        return torch.tensor(values, device=device).repeat_interleave(1 if len(levels) == 1 else points)

    steps = [width + 2 for _, width in levels]
    sizes = [[width for _, width in levels], [height for height, _ in levels]]
    if bins is not None:
        sizes.append([bins] * len(levels))
    return _Grid(
        sizes=tuple(constants(size).to(dtype) for size in sizes),
        row_steps=constants(steps),
        origins=constants([start + step + 1 for start, step in zip(starts, steps, strict=False)]),
        num_tokens=starts[-1],
    )


@functools.cache
def _cached_grid(
    levels: tuple[tuple[int, int], ...], points: int, bins: int | None, device: torch.device, dtype: torch.dtype
) -> _Grid:
    """Keep constants: copying them to an accelerator at each call would wait for it and cannot be in a CUDA graph.

    They are never dropped, because a captured graph reads their memory; there is about 1 kB for each set of levels.
    """
    # Normal tensors even in inference mode: they may be saved for a later backward pass.
    with torch.inference_mode(False):
        return _build_grid(levels, points, bins, device, dtype)


def level_sizes(levels: Levels, like: Tensor) -> Tensor:
    """Return (width, height) of each level, (L, 2), on the device and with the type of `like`."""
    key = (tuple((int(height), int(width)) for height, width in levels), like.device, like.dtype)
    return (_cached_sizes if _is_plain(like) else _build_sizes)(*key)


def _build_sizes(levels: tuple[tuple[int, int], ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.tensor([[width, height] for height, width in levels], device=device, dtype=dtype)


@functools.cache
def _cached_sizes(levels: tuple[tuple[int, int], ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):
        return _build_sizes(levels, device, dtype)


def _is_plain(tensor: Tensor) -> bool:
    """Whether constants for it may be kept: those of a traced call belong to that call."""
    return type(tensor) is Tensor and not torch.compiler.is_compiling()


class Corners(NamedTuple):
    """The four pixels, and two bins, around each sample."""

    token: Tensor  # (N, M, L * P) left top pixel, in the padded maps
    steps: tuple[int | Tensor, ...]  # tokens from there to left top, right top, right bottom and left bottom
    fraction: tuple[Tensor, ...]  # each (N, M, L * P), distance from left, top and lower bin
    lower_bin: Tensor | None  # (N, M, L * P) in the padded bins


def find_corners(place: Tensor, item: Tensor, levels: Levels, bins: int | None) -> Corners:
    """Find the four pixels, and two bins, around each sample.

    Args:
        place: (N, M, L * P, 2 or 3) normalised.
        item: (N,) batch item.
        bins: number of depth bins; None ignores a third coordinate.
    """
    key = (tuple((int(height), int(width)) for height, width in levels), place.shape[2] // len(levels), bins)
    grid = (_cached_grid if _is_plain(place) else _build_grid)(*key, place.device, place.dtype)
    axes = 2 if bins is None else 3
    places = place[..., :axes].movedim(-1, 0).unbind(0)  # each (N, M, L * P)
    positions = [place * size - 0.5 for place, size in zip(places, grid.sizes, strict=True)]
    # Outside on one axis is outside; NaN compares as outside. At -1 the weight of every real pixel and bin is 0, and
    # a constant passes no gradient back.
    is_inside = functools.reduce(
        torch.logical_and,
        [(position > -1) & (position < size) for position, size in zip(positions, grid.sizes, strict=True)],
    )
    positions = [torch.where(is_inside, position, -1.0) for position in positions]
    corners = [position.floor() for position in positions]
    cells = [corner.long() for corner in corners]
    return Corners(
        token=cells[1] * grid.row_steps + cells[0] + (item[:, None] * grid.num_tokens + grid.origins)[:, None],
        steps=(0, 1, grid.row_steps + 1, grid.row_steps),
        fraction=tuple(position - corner for position, corner in zip(positions, corners, strict=True)),
        lower_bin=None if bins is None else cells[2] + 1,
    )
