"""The operator of :mod:`lift3d_ros.ops.deformable_attention_3d` as one GPU kernel for each direction, in Triton.

Rows are mixed in registers and never written out; nothing but the inputs is kept for the backward pass. Gradients of
features and scores are summed with atomic additions, so their last digits may differ from run to run.

Letters as there; N queries of all batch rows, H heads of the scores (1 or M).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, cast

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK_QUERIES = 32


def attend(
    value: Tensor,
    depth_scores: Tensor | None,
    locations: Tensor,
    weights: Tensor,
    items: Tensor,
    levels: Sequence[tuple[int, int]],
) -> Tensor:
    """Return the attended features (B', Q, M * C); arguments as in ``deformable_attention_3d``, locations float32."""
    inputs = (value, depth_scores, locations, weights, items, tuple(levels))
    return cast("Tensor", _Attention.apply(*inputs))  # type: ignore[no-untyped-call]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        value: Tensor,
        scores: Tensor | None,
        locations: Tensor,
        weights: Tensor,
        items: Tensor,
        levels: tuple[tuple[int, int], ...],
    ) -> Tensor:
        rows, queries, heads = locations.shape[:3]
        output = value.new_empty(rows, queries, heads * value.shape[3])
        call = _Call(value, scores, locations, weights, items, levels)
        if output.numel():
            _attend[call.grid](*call.tensors, output, **call.constants)
        return output

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        value, scores, locations, weights, items, levels = inputs
        ctx.save_for_backward(value, scores, locations, weights, items)
        ctx.levels = levels

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        value, scores, locations, weights, items = ctx.saved_tensors
        call = _Call(value, scores, locations, weights, items, ctx.levels)
        d_value = torch.zeros(value.shape, device=value.device)
        d_scores = torch.zeros(1 if scores is None else scores.shape, device=value.device)
        d_locations, d_weights = torch.empty_like(locations), torch.empty(weights.shape, device=value.device)
        if gradient.numel():
            outputs = (d_value, d_scores, d_locations, d_weights)
            _attend_backward[call.grid](*call.tensors, gradient.contiguous(), *outputs, **call.constants)
        return (
            d_value.to(value.dtype),
            None if scores is None else d_scores.to(scores.dtype),
            d_locations,
            d_weights.to(weights.dtype),
            None,
            None,
        )


class _Call:
    """Arguments of both kernels."""

    def __init__(
        self,
        value: Tensor,
        scores: Tensor | None,
        locations: Tensor,
        weights: Tensor,
        items: Tensor,
        levels: tuple[tuple[int, int], ...],
    ) -> None:
        rows, queries, heads, num_levels, points, axes = locations.shape
        num_queries, channels = rows * queries, value.shape[3]
        sizes = [height * width for height, width in levels]
        table = tuple((height, width, sum(sizes[:level])) for level, (height, width) in enumerate(levels))
        self.tensors = (
            value.contiguous(),
            value if scores is None else scores.contiguous(),
            locations.contiguous(),
            weights.contiguous(),
            items.reshape(-1).contiguous(),
            _level_table(table, value.device),
            num_queries,
        )
        self.constants = {
            "TOKENS": value.shape[1],
            "HEADS": heads,
            "CHANNELS": channels,
            "BLOCK_CHANNELS": triton.next_power_of_2(channels),
            "LEVELS": num_levels,
            "POINTS": points,
            "AXES": axes,
            "BINS": 0 if scores is None else scores.shape[-1],
            "SCORE_HEADS": scores.shape[2] if scores is not None and scores.dim() == 4 else 1,
            "BLOCK": _BLOCK_QUERIES,
        }
        self.grid = (triton.cdiv(num_queries, _BLOCK_QUERIES), heads)


@functools.lru_cache(maxsize=64)
def _level_table(table: tuple[tuple[int, int, int], ...], device: torch.device) -> Tensor:
    """Return height, width and first token of each level, (L, 3) int32."""
    return torch.tensor(table, dtype=torch.int32, device=device)


@triton.jit(do_not_specialize=["num_queries"])
def _attend(
    value, scores, locations, weights, items, levels, num_queries, output,
    TOKENS: tl.constexpr, HEADS: tl.constexpr, CHANNELS: tl.constexpr, BLOCK_CHANNELS: tl.constexpr,
    LEVELS: tl.constexpr, POINTS: tl.constexpr, AXES: tl.constexpr, BINS: tl.constexpr, SCORE_HEADS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(1)
    query = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.arange(0, BLOCK_CHANNELS)
    is_query, is_channel = query < num_queries, channel < CHANNELS
    item = tl.load(items + query, mask=is_query, other=0)
    mixed = tl.zeros((BLOCK, BLOCK_CHANNELS), dtype=tl.float32)
    for level in range(LEVELS):
        height, width = tl.load(levels + level * 3), tl.load(levels + level * 3 + 1)
        first = tl.load(levels + level * 3 + 2)
        for point in range(POINTS):
            sample = ((query.to(tl.int64) * HEADS + head) * LEVELS + level) * POINTS + point
            weight = tl.load(weights + sample, mask=is_query, other=0.0).to(tl.float32)
            x = tl.load(locations + sample * AXES, mask=is_query, other=-9.0) * width - 0.5
            y = tl.load(locations + sample * AXES + 1, mask=is_query, other=-9.0) * height - 0.5
            is_near = (x > -1) & (x < width) & (y > -1) & (y < height)
            if BINS > 0:
                z = tl.load(locations + sample * AXES + 2, mask=is_query, other=-9.0) * BINS - 0.5
                is_near = is_near & (z > -1) & (z < BINS)
                z = tl.where(is_near, z, 0.0)
                lower = tl.floor(z)
                fz = z - lower
                bin_ = lower.to(tl.int32)
            x, y = tl.where(is_near, x, 0.0), tl.where(is_near, y, 0.0)
            left, top = tl.floor(x), tl.floor(y)
            fx, fy = x - left, y - top
            for corner in tl.static_range(4):
                right, below = corner % 2, corner // 2
                column, row = left.to(tl.int32) + right, top.to(tl.int32) + below
                is_inside = is_near & (column >= 0) & (column < width) & (row >= 0) & (row < height)
                share = (fx if right else 1 - fx) * (fy if below else 1 - fy)
                token = item * TOKENS + first + row * width + column
                if BINS > 0:
                    place = (token * SCORE_HEADS + (head if SCORE_HEADS > 1 else 0)) * BINS + bin_
                    near = tl.load(scores + place, mask=is_inside & (bin_ >= 0), other=0.0).to(tl.float32)
                    far = tl.load(scores + place + 1, mask=is_inside & (bin_ + 1 < BINS), other=0.0).to(tl.float32)
                    share = share * (near + fz * (far - near))
                place = (token * HEADS + head)[:, None] * CHANNELS + channel[None]
                rows = tl.load(value + place, mask=is_inside[:, None] & is_channel[None], other=0.0).to(tl.float32)
                mixed += (weight * share)[:, None] * rows
    place = (query.to(tl.int64) * HEADS + head)[:, None] * CHANNELS + channel[None]
    tl.store(output + place, mixed.to(output.dtype.element_ty), mask=is_query[:, None] & is_channel[None])


@triton.jit(do_not_specialize=["num_queries"])
def _attend_backward(
    value, scores, locations, weights, items, levels, num_queries, gradient,
    d_value, d_scores, d_locations, d_weights,
    TOKENS: tl.constexpr, HEADS: tl.constexpr, CHANNELS: tl.constexpr, BLOCK_CHANNELS: tl.constexpr,
    LEVELS: tl.constexpr, POINTS: tl.constexpr, AXES: tl.constexpr, BINS: tl.constexpr, SCORE_HEADS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(1)
    query = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.arange(0, BLOCK_CHANNELS)
    is_query, is_channel = query < num_queries, channel < CHANNELS
    item = tl.load(items + query, mask=is_query, other=0)
    place = (query.to(tl.int64) * HEADS + head)[:, None] * CHANNELS + channel[None]
    wanted = tl.load(gradient + place, mask=is_query[:, None] & is_channel[None], other=0.0).to(tl.float32)
    for level in range(LEVELS):
        height, width = tl.load(levels + level * 3), tl.load(levels + level * 3 + 1)
        first = tl.load(levels + level * 3 + 2)
        for point in range(POINTS):
            sample = ((query.to(tl.int64) * HEADS + head) * LEVELS + level) * POINTS + point
            weight = tl.load(weights + sample, mask=is_query, other=0.0).to(tl.float32)
            x = tl.load(locations + sample * AXES, mask=is_query, other=-9.0) * width - 0.5
            y = tl.load(locations + sample * AXES + 1, mask=is_query, other=-9.0) * height - 0.5
            is_near = (x > -1) & (x < width) & (y > -1) & (y < height)
            if BINS > 0:
                z = tl.load(locations + sample * AXES + 2, mask=is_query, other=-9.0) * BINS - 0.5
                is_near = is_near & (z > -1) & (z < BINS)
                z = tl.where(is_near, z, 0.0)
                lower = tl.floor(z)
                fz = z - lower
                bin_ = lower.to(tl.int32)
            x, y = tl.where(is_near, x, 0.0), tl.where(is_near, y, 0.0)
            left, top = tl.floor(x), tl.floor(y)
            fx, fy = x - left, y - top
            dx = tl.zeros((BLOCK,), dtype=tl.float32)
            dy = tl.zeros((BLOCK,), dtype=tl.float32)
            dz = tl.zeros((BLOCK,), dtype=tl.float32)
            d_weight = tl.zeros((BLOCK,), dtype=tl.float32)
            for corner in tl.static_range(4):
                right, below = corner % 2, corner // 2
                column, row = left.to(tl.int32) + right, top.to(tl.int32) + below
                is_inside = is_near & (column >= 0) & (column < width) & (row >= 0) & (row < height)
                across, down = (fx if right else 1 - fx), (fy if below else 1 - fy)
                token = item * TOKENS + first + row * width + column
                place = (token * HEADS + head)[:, None] * CHANNELS + channel[None]
                is_read = is_inside[:, None] & is_channel[None]
                rows = tl.load(value + place, mask=is_read, other=0.0).to(tl.float32)
                along = tl.sum(rows * wanted, axis=1)
                score = tl.full((BLOCK,), 1.0, dtype=tl.float32)
                if BINS > 0:
                    depth_place = (token * SCORE_HEADS + (head if SCORE_HEADS > 1 else 0)) * BINS + bin_
                    has_near, has_far = is_inside & (bin_ >= 0), is_inside & (bin_ + 1 < BINS)
                    near = tl.load(scores + depth_place, mask=has_near, other=0.0).to(tl.float32)
                    far = tl.load(scores + depth_place + 1, mask=has_far, other=0.0).to(tl.float32)
                    score = near + fz * (far - near)
                    part = weight * across * down * along
                    tl.atomic_add(d_scores + depth_place, part * (1 - fz), mask=has_near)
                    tl.atomic_add(d_scores + depth_place + 1, part * fz, mask=has_far)
                    dz += part * (far - near)
                share = across * down * score
                tl.atomic_add(d_value + place, (weight * share)[:, None] * wanted, mask=is_read)
                d_weight += share * along
                mixed = weight * score * along
                dx += mixed * down * (1 if right else -1)
                dy += mixed * across * (1 if below else -1)
            tl.store(d_weights + sample, d_weight, mask=is_query)
            tl.store(d_locations + sample * AXES, dx * width, mask=is_query)
            tl.store(d_locations + sample * AXES + 1, dy * height, mask=is_query)
            if BINS > 0:
                tl.store(d_locations + sample * AXES + 2, dz * BINS, mask=is_query)
