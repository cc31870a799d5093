"""3D deformable attention in its depth-weighted 2D form, and plain 2D deformable attention as the case without depth.

A sample at (u, v, d) mixes the four pixels around it; each pixel counts with its bilinear weight times its own
depth score, interpolated between two bins. This equals trilinear sampling of the product volume
feature x depth score, which is never built. Multiplying an interpolated feature with an interpolated score instead
would be another operator: the scores belong inside the sum over the four pixels.

Letters: B batch, S pixels of all levels, M heads, C channels of a head, K depth bins, Q queries, L levels,
P points. Coordinates are normalised: 0 and 1 are the outer borders of picture and bin range, outside is zero.
Source: DFA3D (arXiv 2307.12972), equations 3 to 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Levels = Sequence[tuple[int, int]]
Implementation = Literal["auto", "embedding_bag", "gather"]

_CHUNK_QUERIES = 1024
_OUTSIDE = -10.0


def deformable_attention_3d(
    value: Tensor,
    depth_scores: Tensor | None,
    locations: Tensor,
    weights: Tensor,
    levels: Levels,
    implementation: Implementation = "auto",
) -> Tensor:
    """Attend to a few sampled points of multi-level feature maps; differentiable in every tensor.

    Args:
        value: (B, S, M, C), levels one after the other, each row by row.
        depth_scores: (B, S, K) shared by the heads, or (B, S, M, K), or None for 2D attention.
        locations: (B, Q, M, L, P, 3) as (u, v, d), or (..., 2) without depth; float32 or float64.
        weights: (B, Q, M, L, P) attention weights.
        levels: (height, width) of each level.
        implementation: ``embedding_bag`` is fastest in eager mode on a CPU; ``gather`` uses only operators
            that runtimes accept; ``auto`` takes ``gather`` on export and on accelerators.

    Returns:
        (B, Q, M * C). Samples outside, and NaN or infinite locations, contribute zero.
    """
    if implementation == "auto":
        use_gather = torch.compiler.is_exporting() or value.device.type != "cpu"
        implementation = "gather" if use_gather else "embedding_bag"
    size = locations.shape[1] if implementation == "gather" else _CHUNK_QUERIES
    chunks = []
    for start in range(0, locations.shape[1], max(size, 1)):
        stop = start + size
        place = locations[:, start:stop]
        scores = None if depth_scores is None else sample_depth_scores(depth_scores, place, levels)
        chunks.append(
            corner_weighted_attention(value, scores, place[..., :2], weights[:, start:stop], levels, implementation)
        )
    return torch.cat(chunks, dim=1) if chunks else value.new_zeros(value.shape[0], 0, value.shape[2] * value.shape[3])


def sample_depth_scores(depth_scores: Tensor, locations: Tensor, levels: Levels) -> Tensor:
    """Look up the depth score of the four pixels around each sample, linear between two bins.

    Args:
        depth_scores: (B, S, K) or (B, S, M, K).
        locations: (B, Q, M, L, P, 3).

    Returns:
        (B, Q, M, L, P, 4), pixels in the order left top, right top, right bottom, left bottom; 0 where the
        pixel or the bin lies outside.
    """
    bins = depth_scores.shape[-1]
    tokens, _, is_inside = _corners(locations[..., :2], levels)
    bin_position = _pixel_position(locations[..., 2:3], torch.tensor([bins], device=locations.device))
    lower = bin_position.floor()
    fraction = bin_position - lower
    row = _flat_rows(tokens, depth_scores)
    flat = depth_scores.reshape(-1)

    def score(position: Tensor) -> Tensor:
        is_known = is_inside & (position >= 0) & (position < bins)
        index = row * bins + position.clamp(0, bins - 1).long()
        found = flat.index_select(0, index.reshape(-1)).reshape(index.shape)
        return found * is_known.to(found.dtype)

    return (1 - fraction) * score(lower) + fraction * score(lower + 1)


def corner_weighted_attention(
    value: Tensor,
    corner_scores: Tensor | None,
    locations: Tensor,
    weights: Tensor,
    levels: Levels,
    implementation: Literal["embedding_bag", "gather"] = "embedding_bag",
) -> Tensor:
    """Attend in 2D, with an optional factor for each of the four pixels around a sample.

    Args:
        value: (B, S, M, C).
        corner_scores: (B, Q, M, L, P, 4) or None.
        locations: (B, Q, M, L, P, 2).
        weights: (B, Q, M, L, P).

    Returns:
        (B, Q, M * C).
    """
    batch, queries, heads = locations.shape[:3]
    channels = value.shape[-1]
    tokens, mix, is_inside = _corners(locations, levels)
    mix = mix * is_inside.to(mix.dtype) * weights[..., None]
    if corner_scores is not None:
        mix = mix * corner_scores
    table = value.reshape(-1, channels)
    index = _flat_rows(tokens, value).reshape(batch * queries * heads, -1)  # (B * Q * M, L * P * 4)
    mix = mix.reshape(index.shape).to(value.dtype)
    if implementation == "embedding_bag":
        attended = F.embedding_bag(index, table, mode="sum", per_sample_weights=mix)
    else:
        rows = table.index_select(0, index.reshape(-1)).reshape(*index.shape, channels)
        attended = torch.bmm(mix[:, None], rows)[:, 0]
    return attended.reshape(batch, queries, heads * channels)


def _pixel_position(normalised: Tensor, sizes: Tensor) -> Tensor:
    """Return cell positions; far-off and non-finite ones are moved to where they contribute zero."""
    finite = torch.nan_to_num(normalised, nan=_OUTSIDE, posinf=_OUTSIDE, neginf=_OUTSIDE)
    limits = sizes.to(normalised.dtype)
    return torch.minimum(torch.clamp(finite * limits - 0.5, min=-2.0), limits)


def _corners(locations: Tensor, levels: Levels) -> tuple[Tensor, Tensor, Tensor]:
    """Find the four pixels around each sample.

    Returns:
        Token numbers, bilinear weights and whether the pixel exists, each (B, Q, M, L, P, 4).
    """
    heights = [height for height, _ in levels]
    widths = [width for _, width in levels]
    starts = [sum(h * w for h, w in levels[:i]) for i in range(len(levels))]
    sizes = torch.tensor([widths, heights], device=locations.device).T[:, None]  # (L, 1, 2)
    position = _pixel_position(locations, sizes)
    corner = position.floor()
    fx, fy = (position - corner).unbind(-1)
    mix = torch.stack([(1 - fx) * (1 - fy), fx * (1 - fy), fx * fy, (1 - fx) * fy], dim=-1)
    step = torch.tensor([[0, 0], [1, 0], [1, 1], [0, 1]], device=locations.device)
    x, y = (corner.long()[..., None, :] + step).unbind(-1)  # (B, Q, M, L, P, 4)
    width, height = sizes[..., 0:1], sizes[..., 1:2]
    is_inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    start = torch.tensor(starts, device=locations.device)[:, None, None]
    zero = torch.zeros_like(x)
    tokens = start + torch.minimum(torch.maximum(y, zero), height - 1) * width
    return tokens + torch.minimum(torch.maximum(x, zero), width - 1), mix, is_inside


def _flat_rows(tokens: Tensor, table: Tensor) -> Tensor:
    """Return the row of each token in `table` (B, S, K) or (B, S, M, K) flattened up to its last axis."""
    batch, size = table.shape[:2]
    shape = (-1, *([1] * (tokens.dim() - 1)))
    rows = torch.arange(batch, device=tokens.device).reshape(shape) * size + tokens
    if table.dim() == 3:
        return rows
    heads = torch.arange(table.shape[2], device=tokens.device).reshape(1, 1, -1, 1, 1, 1)
    return rows * table.shape[2] + heads
