"""The operator of :mod:`lift3d_ros.ops.deformable_attention_3d` as one loop, compiled by numba when it is first called.

For float32 on a CPU. The loops release Python's global lock and run on as many threads as torch is set to use. Nothing
but the inputs is kept for the backward pass. Without numba this module can be imported, and its loops are plain Python.

Letters as there; T tokens of all batch items, N queries of all batch rows, H heads of the scores (1 or M).
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# By name, so that types are checked alike with and without it.
numba: Any = importlib.import_module("numba") if importlib.util.find_spec("numba") else None

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_Function = TypeVar("_Function", bound=Callable[..., Any])

# Below this number of samples a second thread costs more than it saves.
_SAMPLES_PER_THREAD = 4096
# float32 constants: a Python number would turn the arithmetic into float64.
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)


def attend(
    value: Tensor,
    depth_scores: Tensor | None,
    locations: Tensor,
    weights: Tensor,
    items: Tensor,
    levels: Sequence[tuple[int, int]],
) -> Tensor:
    """Return the attended features (B', Q, M * C); arguments as in ``deformable_attention_3d``, all float32."""
    inputs = (value, depth_scores, locations, weights, items, tuple(levels))
    return cast("Tensor", _Attention.apply(*inputs))  # type: ignore[no-untyped-call]


class _Arrays(NamedTuple):
    """The inputs as the loops take them."""

    value: Floats  # (T * M, C)
    scores: Floats  # (T * H * K,), one zero without depth
    locations: Floats  # (N, M, L, P, 2 or 3)
    weights: Floats  # (N, M, L, P)
    items: Integers  # (N,)
    levels: Integers  # (L, 3) height, width, first token
    bins: int  # 0 without depth
    score_heads: int
    item_tokens: int

    @classmethod
    def of(
        cls,
        value: Tensor,
        scores: Tensor | None,
        locations: Tensor,
        weights: Tensor,
        items: Tensor,
        levels: Sequence[tuple[int, int]],
    ) -> _Arrays:
        sizes = [height * width for height, width in levels]
        table = [(height, width, sum(sizes[:level])) for level, (height, width) in enumerate(levels)]
        return cls(
            value=_array(value).reshape(-1, value.shape[3]),
            scores=np.zeros(1, np.float32) if scores is None else _array(scores).reshape(-1),
            locations=_array(locations).reshape(-1, *locations.shape[2:]),
            weights=_array(weights).reshape(-1, *weights.shape[2:]),
            items=_array(items).reshape(-1).astype(np.int64),
            levels=np.array(table, np.int64),
            bins=0 if scores is None else scores.shape[-1],
            score_heads=scores.shape[2] if scores is not None and scores.dim() == 4 else 1,
            item_tokens=value.shape[1],
        )


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
        arrays = _Arrays.of(value, scores, locations, weights, items, levels)
        output = torch.empty(rows * queries, heads, value.shape[3])
        found = output.numpy()
        parts = _num_threads(weights.numel())
        borders = [rows * queries * part // parts for part in range(parts + 1)]
        _in_parallel([functools.partial(_attend, *arrays, found, *borders[i : i + 2]) for i in range(parts)])
        return output.reshape(rows, queries, heads * value.shape[3])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.levels = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        value, scores, locations, weights, items = ctx.saved_tensors
        arrays = _Arrays.of(value, scores, locations, weights, items, ctx.levels)
        heads = locations.shape[2]
        of_output = _array(gradient).reshape(-1, heads, value.shape[3])
        of_value = torch.zeros(value.shape) if ctx.needs_input_grad[0] else None
        of_scores = torch.zeros(scores.shape) if ctx.needs_input_grad[1] else None
        of_locations, of_weights = torch.zeros(locations.shape), torch.zeros(weights.shape)
        value_sum = np.zeros((1, 1), np.float32) if of_value is None else of_value.numpy().reshape(arrays.value.shape)
        score_sum = np.zeros((1, 1), np.float32) if of_scores is None else of_scores.numpy().reshape(len(scores), -1)
        samples = of_locations.numpy().reshape(arrays.locations.shape), of_weights.numpy().reshape(arrays.weights.shape)
        # Items share no pixel, so their sums can be made at the same time. With fewer items than threads the heads of
        # an item are spread as well; where these share the scores, all but the first group sum them up on the side.
        order = np.argsort(arrays.items, kind="stable")
        found, starts = np.unique(arrays.items[order], return_index=True)
        groups = min(heads, math.ceil(_num_threads(weights.numel()) / max(len(found), 1)))
        jobs, aside = [], []
        for item, queries in zip(found, np.split(order, starts[1:]), strict=False):
            for group in range(groups):
                total = score_sum[item if of_scores is not None else 0]
                if group and of_scores is not None and arrays.score_heads == 1:
                    total = np.zeros_like(total)
                    aside.append((item, total))
                span = heads * group // groups, heads * (group + 1) // groups
                sums = (value_sum, of_value is not None, total, of_scores is not None, *samples)
                jobs.append(functools.partial(_propagate, *arrays, of_output, *sums, queries, *span))
        _in_parallel(jobs)
        for item, total in aside:
            score_sum[item] += total
        return of_value, of_scores, of_locations, of_weights, None, None


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().contiguous().numpy()


def _num_threads(samples: int) -> int:
    return max(1, min(torch.get_num_threads(), samples // _SAMPLES_PER_THREAD))


def _in_parallel(jobs: Sequence[Callable[[], None]]) -> None:
    """Run every job, in this thread and, where there is more than one, in others beside it."""
    remaining = iter(jobs)

    def work() -> None:
        for job in remaining:
            job()

    threads = torch.get_num_threads()
    others = [_pool(os.getpid(), threads).submit(work) for _ in range(min(threads, len(jobs)) - 1)]
    work()
    for other in others:
        other.result()


@functools.cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Keep one pool for each process, since the threads of a parent do not exist in a forked child."""
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="attention")


def _compiled(function: _Function) -> _Function:
    if numba is None:
        return function
    # All but the flags that assume numbers to be finite: NaN must compare as outside.
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
    return cast("_Function", numba.njit(**options)(function))


@_compiled
def _axis(normalised: np.float32, size: int) -> tuple[Any, ...]:
    """Place a coordinate between two cells.

    Returns:
        Whether it is inside; lower and upper cell; their weights, 0 where a cell does not exist; the derivatives of
        the weights by the position in cells.
    """
    position = normalised * np.float32(size) - _HALF
    is_inside = (position > -_ONE) & (position < np.float32(size))
    if not is_inside:
        position = _ZERO
    corner = np.floor(position)
    fraction = position - corner
    lower = np.int64(corner)
    has_lower = _ONE if lower >= 0 else _ZERO
    has_upper = _ONE if lower + 1 < size else _ZERO
    weight, upper_weight = (_ONE - fraction) * has_lower, fraction * has_upper
    return is_inside, max(lower, 0), min(lower + 1, size - 1), weight, upper_weight, -has_lower, has_upper


@_compiled
def _mix_bins(
    scores: Floats,
    row: int,
    near: int,
    far: int,
    w_near: np.float32,
    w_far: np.float32,
    dz_near: np.float32,
    dz_far: np.float32,
) -> tuple[np.float32, np.float32]:
    """Return the score of a pixel and its derivative by the position in bins."""
    at_near, at_far = scores[row + near], scores[row + far]
    return w_near * at_near + w_far * at_far, dz_near * at_near + dz_far * at_far


@_compiled
def _add_bins(
    scores: Floats, row: int, near: int, far: int, gradient: np.float32, w_near: np.float32, w_far: np.float32
) -> None:
    scores[row + near] += gradient * w_near
    scores[row + far] += gradient * w_far


@_compiled
def _attend(
    value: Floats,
    scores: Floats,
    locations: Floats,
    weights: Floats,
    items: Integers,
    levels: Integers,
    bins: int,
    score_heads: int,
    item_tokens: int,
    output: Floats,
    start: int,
    stop: int,
) -> None:
    """Fill ``output[start:stop]``, (N, M, C)."""
    _, heads, num_levels, points, _ = locations.shape
    num_samples = num_levels * points
    rows = np.empty((num_samples, 4), np.int64)
    mix = np.empty((num_samples, 4), np.float32)
    for n in range(start, stop):
        for m in range(heads):
            # First all weights, then all rows: so the processor has many rows under way at the same time.
            i = 0
            for level in range(num_levels):
                height, width = levels[level, 0], levels[level, 1]
                first = items[n] * item_tokens + levels[level, 2]
                for p in range(points):
                    in_x, left, right, w_left, w_right, _, _ = _axis(locations[n, m, level, p, 0], width)
                    in_y, top, bottom, w_top, w_bottom, _, _ = _axis(locations[n, m, level, p, 1], height)
                    weight = weights[n, m, level, p] if in_x & in_y else _ZERO
                    w_top, w_bottom = weight * w_top, weight * w_bottom
                    w_0, w_1, w_2, w_3 = w_top * w_left, w_top * w_right, w_bottom * w_right, w_bottom * w_left
                    top, bottom = first + top * width, first + bottom * width
                    token_0, token_1, token_2, token_3 = top + left, top + right, bottom + right, bottom + left
                    if bins > 0:
                        in_z, near, far, w_near, w_far, _, _ = _axis(locations[n, m, level, p, 2], bins)
                        w_near, w_far = w_near if in_z else _ZERO, w_far if in_z else _ZERO
                        head = m if score_heads > 1 else 0
                        row_0, row_1 = (token_0 * score_heads + head) * bins, (token_1 * score_heads + head) * bins
                        row_2, row_3 = (token_2 * score_heads + head) * bins, (token_3 * score_heads + head) * bins
                        w_0 *= w_near * scores[row_0 + near] + w_far * scores[row_0 + far]
                        w_1 *= w_near * scores[row_1 + near] + w_far * scores[row_1 + far]
                        w_2 *= w_near * scores[row_2 + near] + w_far * scores[row_2 + far]
                        w_3 *= w_near * scores[row_3 + near] + w_far * scores[row_3 + far]
                    rows[i, 0], rows[i, 1] = token_0 * heads + m, token_1 * heads + m
                    rows[i, 2], rows[i, 3] = token_2 * heads + m, token_3 * heads + m
                    mix[i, 0], mix[i, 1], mix[i, 2], mix[i, 3] = w_0, w_1, w_2, w_3
                    i += 1
            for c in range(value.shape[1]):
                output[n, m, c] = _ZERO
            for i in range(num_samples):
                row_0, row_1, row_2, row_3 = rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3]
                w_0, w_1, w_2, w_3 = mix[i, 0], mix[i, 1], mix[i, 2], mix[i, 3]
                for c in range(value.shape[1]):
                    output[n, m, c] += (
                        w_0 * value[row_0, c] + w_1 * value[row_1, c] + w_2 * value[row_2, c] + w_3 * value[row_3, c]
                    )


@_compiled
def _propagate(
    value: Floats,
    scores: Floats,
    locations: Floats,
    weights: Floats,
    items: Integers,
    levels: Integers,
    bins: int,
    score_heads: int,
    item_tokens: int,
    of_output: Floats,
    of_value: Floats,
    wants_value: bool,
    of_scores: Floats,
    wants_scores: bool,
    of_locations: Floats,
    of_weights: Floats,
    queries: Integers,
    first_head: int,
    last_head: int,
) -> None:
    """Add the gradients of the `queries` of one batch item, for some heads; `of_scores` (S * H * K,) is the item's."""
    _, heads, num_levels, points, _ = locations.shape
    for n in queries:
        of_item = items[n] * item_tokens * score_heads * bins
        for m in range(first_head, last_head):
            for level in range(num_levels):
                height, width = levels[level, 0], levels[level, 1]
                first = items[n] * item_tokens + levels[level, 2]
                for p in range(points):
                    in_x, left, right, w_left, w_right, dx_left, dx_right = _axis(locations[n, m, level, p, 0], width)
                    in_y, top, bottom, w_top, w_bottom, dy_top, dy_bottom = _axis(locations[n, m, level, p, 1], height)
                    if not (in_x & in_y):
                        continue
                    weight = weights[n, m, level, p]
                    top, bottom = first + top * width, first + bottom * width
                    token_0, token_1, token_2, token_3 = top + left, top + right, bottom + right, bottom + left
                    w_0, w_1, w_2, w_3 = w_top * w_left, w_top * w_right, w_bottom * w_right, w_bottom * w_left
                    score_0, score_1, score_2, score_3 = _ONE, _ONE, _ONE, _ONE
                    dz_0, dz_1, dz_2, dz_3 = _ZERO, _ZERO, _ZERO, _ZERO
                    if bins > 0:
                        in_z, near, far, w_near, w_far, dz_near, dz_far = _axis(locations[n, m, level, p, 2], bins)
                        if not in_z:
                            continue
                        head = m if score_heads > 1 else 0
                        bin_0, bin_1 = (token_0 * score_heads + head) * bins, (token_1 * score_heads + head) * bins
                        bin_2, bin_3 = (token_2 * score_heads + head) * bins, (token_3 * score_heads + head) * bins
                        score_0, dz_0 = _mix_bins(scores, bin_0, near, far, w_near, w_far, dz_near, dz_far)
                        score_1, dz_1 = _mix_bins(scores, bin_1, near, far, w_near, w_far, dz_near, dz_far)
                        score_2, dz_2 = _mix_bins(scores, bin_2, near, far, w_near, w_far, dz_near, dz_far)
                        score_3, dz_3 = _mix_bins(scores, bin_3, near, far, w_near, w_far, dz_near, dz_far)
                    row_0, row_1 = token_0 * heads + m, token_1 * heads + m
                    row_2, row_3 = token_2 * heads + m, token_3 * heads + m
                    # Products of the gradient with the four features.
                    g_0, g_1, g_2, g_3 = _ZERO, _ZERO, _ZERO, _ZERO
                    for c in range(value.shape[1]):
                        gradient = of_output[n, m, c]
                        g_0 += gradient * value[row_0, c]
                        g_1 += gradient * value[row_1, c]
                        g_2 += gradient * value[row_2, c]
                        g_3 += gradient * value[row_3, c]
                    if wants_value:
                        # One loop each: rows may be the same one.
                        f_0, f_1 = weight * w_0 * score_0, weight * w_1 * score_1
                        f_2, f_3 = weight * w_2 * score_2, weight * w_3 * score_3
                        for c in range(value.shape[1]):
                            of_value[row_0, c] += f_0 * of_output[n, m, c]
                        for c in range(value.shape[1]):
                            of_value[row_1, c] += f_1 * of_output[n, m, c]
                        for c in range(value.shape[1]):
                            of_value[row_2, c] += f_2 * of_output[n, m, c]
                        for c in range(value.shape[1]):
                            of_value[row_3, c] += f_3 * of_output[n, m, c]
                    if bins > 0:
                        of_locations[n, m, level, p, 2] = (
                            weight
                            * np.float32(bins)
                            * (w_0 * g_0 * dz_0 + w_1 * g_1 * dz_1 + w_2 * g_2 * dz_2 + w_3 * g_3 * dz_3)
                        )
                        if wants_scores:
                            _add_bins(of_scores, bin_0 - of_item, near, far, weight * w_0 * g_0, w_near, w_far)
                            _add_bins(of_scores, bin_1 - of_item, near, far, weight * w_1 * g_1, w_near, w_far)
                            _add_bins(of_scores, bin_2 - of_item, near, far, weight * w_2 * g_2, w_near, w_far)
                            _add_bins(of_scores, bin_3 - of_item, near, far, weight * w_3 * g_3, w_near, w_far)
                    g_0, g_1, g_2, g_3 = g_0 * score_0, g_1 * score_1, g_2 * score_2, g_3 * score_3
                    of_weights[n, m, level, p] = w_0 * g_0 + w_1 * g_1 + w_2 * g_2 + w_3 * g_3
                    dx = w_top * (dx_left * g_0 + dx_right * g_1) + w_bottom * (dx_right * g_2 + dx_left * g_3)
                    dy = w_left * (dy_top * g_0 + dy_bottom * g_3) + w_right * (dy_top * g_1 + dy_bottom * g_2)
                    of_locations[n, m, level, p, 0] = weight * np.float32(width) * dx
                    of_locations[n, m, level, p, 1] = weight * np.float32(height) * dy
