"""3D deformable attention in its depth-weighted 2D form, and plain 2D deformable attention as the case without depth.

A sample at (u, v, d) mixes the four pixels around it; each pixel counts with its bilinear weight times its own
depth score, interpolated between two bins. This equals trilinear sampling of the product volume
feature x depth score, which is never built. Multiplying an interpolated feature with an interpolated score instead
would be another operator: the scores belong inside the sum over the four pixels.

Letters: B batch, S pixels of all levels, M heads, C channels of a head, K depth bins, Q queries, L levels,
P points; N queries of all batch rows together. Coordinates are normalised: 0 and 1 are the outer borders of picture
and bin range, outside is zero.
Source: DFA3D (arXiv 2307.12972), equations 3 to 5.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from lift3d_ros.errors import EngineError
from lift3d_ros.ops.padded_levels import Corners, LevelTable, find_corners
from lift3d_ros.ops.padded_levels import Levels as Levels

Implementation = Literal["auto", "numba", "triton", "embedding_bag", "gather"]

# Measured: on a CPU the temporaries of so many samples stay in the second-level cache of a core.
_CHUNK_SAMPLES_CPU = 1 << 14
_CHUNK_SAMPLES = 1 << 21
# `gather` copies a row of the table for each neighbour of each sample; more than this is done in several passes, in a
# traced graph with larger ones, because each pass is written out there.
_CHUNK_BYTES = 1 << 28
_CHUNK_BYTES_TRACED = 1 << 30


def deformable_attention_3d(
    value: Tensor,
    depth_scores: Tensor | None,
    locations: Tensor,
    weights: Tensor,
    levels: Levels,
    items: Tensor | None = None,
    implementation: Implementation = "auto",
) -> Tensor:
    """Attend to a few sampled points of multi-level feature maps; differentiable in every floating tensor.

    Args:
        value: (B, S, M, C), levels one after the other, each row by row; any floating type.
        depth_scores: (B, S, K) shared by the heads, or (B, S, M, K), or None for 2D attention; any floating type.
        locations: (B', Q, M, L, P, 3) as (u, v, d), or (..., 2) without depth; float32 or float64.
        weights: (B', Q, M, L, P) attention weights; any floating type.
        levels: (height, width) of each level.
        items: (B', Q) int64, which batch item of `value` and `depth_scores` each query reads, in any order; None lets
            the queries of row b read item b. With B' = 1 the queries are a ragged list over all items.
        implementation: ``numba`` (optional dependency, for float32 on a CPU), ``triton`` (comes with torch for CUDA)
            and ``embedding_bag`` are for eager mode, ``gather`` uses only operators that runtimes accept; ``auto``
            takes ``gather`` on export and under a compiler, else the fastest that there is for device and type.

    Returns:
        (B', Q, M * C) of the type of `value`. Samples outside, and NaN or infinite locations, contribute zero. The
        mixing weights are computed in the type of `locations` and rounded once to that of `value`.

    Raises:
        ValueError: shapes, types or items that do not fit together.
        EngineError: ``numba`` or ``triton`` was asked for and is not installed.
    """
    if not torch.compiler.is_compiling():
        _check(value, depth_scores, locations, weights, levels, items)
    rows, queries, heads = locations.shape[:3]
    channels = value.shape[3]
    if items is None:
        items = torch.arange(rows, device=locations.device)[:, None].expand(rows, queries)
    tensors = (value, depth_scores, locations, weights, items)
    if implementation == "auto":
        implementation = choose_implementation(*tensors)
    if implementation == "numba":
        if not _has_numba():
            raise EngineError("implementation 'numba': not installed; 'pip install numba', or use 'auto'")
        if not _fits_numba(tensors):
            raise ValueError("implementation 'numba' takes only float32 tensors on a CPU; use 'auto'")
        from lift3d_ros.ops.deformable_attention_3d_numba import attend

        return attend(*tensors, levels)
    if implementation == "triton":
        if not _has_triton():
            raise EngineError("implementation 'triton': not installed; 'pip install triton', or use 'auto'")
        from lift3d_ros.ops.deformable_attention_3d_triton import attend as attend_on_gpu

        return attend_on_gpu(*tensors, levels)
    values, scores = LevelTable.of(value, levels), LevelTable.of_scores(depth_scores, levels)
    chunks = []
    for place, weight, item in _chunks(values, locations, weights, items, implementation):
        corners = find_corners(place, item, levels, None if scores is None else scores.channels)
        mix = _bilinear_weights(corners, weight)
        if scores is not None:
            found = _interpolate_scores(scores, corners)
            mix = [share * score for share, score in zip(mix, found, strict=True)]
        chunks.append(_mix_rows(values, corners, torch.stack(mix, dim=-1), implementation))
    if not chunks:
        return value.new_zeros(rows, 0, heads * channels)
    attended = chunks[0] if len(chunks) == 1 else torch.cat(chunks)
    return attended.reshape(rows, queries, heads * channels)


def choose_implementation(
    value: Tensor, depth_scores: Tensor | None, locations: Tensor, weights: Tensor, items: Tensor | None = None
) -> Implementation:
    """Return what ``auto`` stands for with these arguments of :func:`deformable_attention_3d`."""
    if torch.compiler.is_compiling():
        return "gather"
    if value.device.type == "cpu":
        fits = _fits_numba((value, depth_scores, locations, weights, items))
        return "numba" if fits and _has_numba() else "embedding_bag"
    if value.device.type == "cuda" and _has_triton() and locations.dtype == torch.float32:
        return "triton"
    # Measured on an H200: `embedding_bag` takes 0.3 to 0.7 of the time of `gather`. It has no bfloat16 backward pass.
    needs_backward = torch.is_grad_enabled() and value.dtype == torch.bfloat16
    return "embedding_bag" if value.device.type == "cuda" and not needs_backward else "gather"


def sample_depth_scores(depth_scores: Tensor, locations: Tensor, levels: Levels) -> Tensor:
    """Look up the depth score of the four pixels around each sample, linear between two bins.

    Args:
        depth_scores: (B, S, K) or (B, S, M, K).
        locations: (B, Q, M, L, P, 3).

    Returns:
        (B, Q, M, L, P, 4), pixels in the order left top, right top, right bottom, left bottom; 0 where the
        pixel or the bin lies outside.
    """
    batch, queries, heads, _, points = locations.shape[:5]
    scores = LevelTable.of_scores(depth_scores, levels)
    assert scores is not None
    place = locations.reshape(batch * queries, heads, -1, 3)
    item = torch.arange(batch, device=locations.device).repeat_interleave(queries)
    found = torch.stack(_interpolate_scores(scores, find_corners(place, item, levels, scores.channels)), dim=-1)
    return found.reshape(batch, queries, heads, len(levels), points, 4)


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
    item = torch.arange(batch, device=locations.device).repeat_interleave(queries)
    corners = find_corners(locations.reshape(batch * queries, heads, -1, 2), item, levels, None)
    mix = torch.stack(_bilinear_weights(corners, weights.reshape(batch * queries, heads, -1)), dim=-1)
    if corner_scores is not None:
        mix = mix * corner_scores.reshape(mix.shape)
    attended = _mix_rows(LevelTable.of(value, levels), corners, mix, implementation)
    return attended.reshape(batch, queries, heads * value.shape[3])


def _bilinear_weights(corners: Corners, weight: Tensor) -> list[Tensor]:
    """Spread the weight of each sample (N, M, L * P) over its four pixels."""
    fx, fy = corners.fraction[:2]
    bottom = weight * fy
    top = weight - bottom
    right_top, right_bottom = top * fx, bottom * fx
    return [top - right_top, right_top, right_bottom, bottom - right_bottom]


def _interpolate_scores(scores: LevelTable, corners: Corners) -> list[Tensor]:
    """Return the scores (N, M, L * P) of the four pixels."""
    assert corners.lower_bin is not None
    fraction = corners.fraction[2]
    row = scores.channels + 2
    first = scores.rows(corners.token) * row + corners.lower_bin
    above = scores.flat[1:]
    found = []
    for step in corners.steps:
        index = (first + step * (scores.heads * row)).reshape(-1)
        lower = scores.flat.index_select(0, index).reshape(fraction.shape).to(fraction.dtype)
        upper = above.index_select(0, index).reshape(fraction.shape).to(fraction.dtype)
        found.append(lower + (upper - lower) * fraction)
    return found


def _mix_rows(values: LevelTable, corners: Corners, mix: Tensor, implementation: Implementation) -> Tensor:
    """Return the weighted sum of the rows of each query and head, (N * M, C), with weights (N, M, L * P, 4)."""
    row = values.rows(corners.token)
    num_sums = row.shape[0] * row.shape[1]
    index = torch.stack([row + step * values.heads for step in corners.steps], dim=-1).reshape(num_sums, -1)
    mix = mix.reshape(num_sums, -1).to(values.flat.dtype)
    if implementation == "embedding_bag":
        return F.embedding_bag(index, values.flat, mode="sum", per_sample_weights=mix)
    found = values.flat.index_select(0, index.reshape(-1)).reshape(num_sums, -1, values.channels)
    return torch.bmm(mix[:, None], found)[:, 0].to(values.flat.dtype)


def _chunks(
    values: LevelTable, locations: Tensor, weights: Tensor, items: Tensor, implementation: Implementation
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield locations (n, M, L * P, 2 or 3), weights (n, M, L * P) and items (n,) of a few queries at a time."""
    _, _, heads, levels, points, axes = locations.shape
    place = locations.reshape(-1, heads, levels * points, axes)
    weight = weights.reshape(-1, heads, levels * points)
    item = items.reshape(-1)
    is_traced = torch.compiler.is_compiling()
    if is_traced and _is_symbolic(place.shape[0]):
        yield place, weight, item
        return
    samples = heads * levels * points
    if implementation == "gather":
        budget = _CHUNK_BYTES_TRACED if is_traced else _CHUNK_BYTES
        size = budget // (samples * 4 * values.channels * values.flat.element_size())
    else:
        # Each chunk's backward pass fills a gradient of the whole table, so it has to be worth that.
        rows = values.flat.shape[0] if values.flat.requires_grad else 0
        size = max(_CHUNK_SAMPLES_CPU if place.device.type == "cpu" else _CHUNK_SAMPLES, rows) // samples
    for start in range(0, place.shape[0], max(size, 1)):
        part = slice(start, start + max(size, 1))
        yield place[part], weight[part], item[part]


def _is_symbolic(size: object) -> bool:
    """Whether a size of a traced call is not fixed."""
    return isinstance(size, torch.SymInt)


def _fits_numba(tensors: Sequence[Tensor | None]) -> bool:
    *floats, _ = tensors
    # A subclass of Tensor may stand for something without memory of its own.
    return all(
        tensor is None or (type(tensor) in (Tensor, torch.nn.Parameter) and tensor.device.type == "cpu")
        for tensor in tensors
    ) and all(tensor is None or tensor.dtype == torch.float32 for tensor in floats)


@functools.cache
def _has_numba() -> bool:
    return importlib.util.find_spec("numba") is not None


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def _check(
    value: Tensor, depth_scores: Tensor | None, locations: Tensor, weights: Tensor, levels: Levels, items: Tensor | None
) -> None:
    """Refuse what would be read wrongly or outside of memory."""
    axes = 2 if depth_scores is None else 3
    batch, tokens, heads = value.shape[:3]
    rows, queries, _, _, points, _ = locations.shape
    expected = {
        "locations": (locations, (rows, queries, heads, len(levels), points, axes)),
        "weights": (weights, (rows, queries, heads, len(levels), points)),
        "value": (value, (batch, sum(height * width for height, width in levels), heads, value.shape[3])),
    }
    if depth_scores is not None:
        shared = (heads,) if depth_scores.dim() == 4 else ()
        expected["depth_scores"] = (depth_scores, (batch, tokens, *shared, depth_scores.shape[-1]))
    if items is not None:
        expected["items"] = (items, (rows, queries))
    for name, (tensor, shape) in expected.items():
        if tensor.shape != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; expected {shape} for levels {list(levels)}")
    if locations.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"locations are {locations.dtype}; expected float32 or float64, since 16 bits move samples by whole pixels"
        )
    if items is None and rows != batch:
        raise ValueError(f"locations have {rows} batch rows, value has {batch}; give items, or as many rows")
    # On an accelerator the look would wait for it.
    if items is not None and items.device.type == "cpu" and items.numel() and type(items) is Tensor:
        lowest, highest = (int(extreme) for extreme in items.aminmax())
        if lowest < 0 or highest >= batch:
            raise ValueError(f"items reach from {lowest} to {highest}; expected 0 to {batch - 1}")
