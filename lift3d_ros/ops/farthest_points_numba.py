"""Farthest-point sampling of one cloud in buckets of neighbouring points, compiled by numba when it is first called.

A bucket whose box is farther from the new point than its points are from the old ones cannot change and is passed
over. Rounding never reverses an order, and box and points are measured by the same formula, so the result is that of
the plain loop to the last bit. Letters: N points, P buckets.
Source: the idea of Han et al., QuickFPS (IEEE TCAD 2023), with equal runs of a space-filling curve as buckets.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

# By name, so that types are checked alike with and without it.
numba: Any = importlib.import_module("numba") if importlib.util.find_spec("numba") else None

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_Function = TypeVar("_Function", bound=Callable[..., Any])

_BUCKET = 128
_CURVE_BITS = 10
_ZERO, _NONE = np.float32(0), np.float32(-1)


def sample_cloud(cloud: Floats, start: Floats, num_samples: int) -> Integers:
    """Return the points of `cloud` (N, 3), in order, that are farthest from `start` (3,) and from each other."""
    count = len(cloud)
    borders = np.append(np.arange(0, count, _BUCKET), count)
    order = np.argsort(_place_on_curve(cloud), kind="stable")
    # By index within a bucket, so that the first of equal ones has the lowest index.
    for_sorting = np.arange(count) // _BUCKET
    order = order[np.lexsort((order, for_sorting))]
    sorted_cloud = cloud[order]
    lower = np.minimum.reduceat(sorted_cloud, borders[:-1], axis=0)
    upper = np.maximum.reduceat(sorted_cloud, borders[:-1], axis=0)
    chosen = np.empty(num_samples, np.int64)
    axes = np.ascontiguousarray(sorted_cloud.T)
    _sample(axes, order.astype(np.int64), borders.astype(np.int64), lower, upper, start.astype(np.float32), chosen)
    return chosen


def _place_on_curve(cloud: Floats) -> Integers:
    """Return the place of each point on a Morton curve through the cloud's bounding cube."""
    lower = cloud.min(axis=0)
    extent = max(float((cloud.max(axis=0) - lower).max()), float(np.finfo(np.float32).tiny))
    cells = ((cloud - lower) * (((1 << _CURVE_BITS) - 1) / extent)).astype(np.int64)
    place = np.zeros(len(cloud), np.int64)
    for bit in range(_CURVE_BITS):
        for axis in range(3):
            place |= ((cells[:, axis] >> bit) & 1) << (3 * bit + axis)
    return place


def _compiled(function: _Function) -> _Function:
    if numba is None:
        return function
    # Without fastmath: fused or reordered sums would break the equality with the other implementations.
    return cast("_Function", numba.njit(nogil=True, error_model="numpy")(function))


@_compiled
def _sample(
    axes: Floats, order: Integers, borders: Integers, lower: Floats, upper: Floats, start: Floats, chosen: Integers
) -> None:
    """Fill `chosen`; `axes` (3, N) in the order of buckets, `order` (N,) their indices, `lower`, `upper` (P, 3)."""
    x, y, z = axes[0], axes[1], axes[2]
    num_buckets = len(borders) - 1
    nearest = np.full(len(x), np.inf, np.float32)
    farthest = np.full(num_buckets, np.inf, np.float32)  # of each bucket
    position = np.zeros(num_buckets, np.int64)
    px, py, pz = start[0], start[1], start[2]
    for step in range(len(chosen)):
        best, taken = _NONE, 0
        for bucket in range(num_buckets):
            dx = max(max(lower[bucket, 0] - px, px - upper[bucket, 0]), _ZERO)
            dy = max(max(lower[bucket, 1] - py, py - upper[bucket, 1]), _ZERO)
            dz = max(max(lower[bucket, 2] - pz, pz - upper[bucket, 2]), _ZERO)
            if (dx * dx + dy * dy) + dz * dz < farthest[bucket]:
                most, place = _NONE, borders[bucket]
                for i in range(borders[bucket], borders[bucket + 1]):
                    dx, dy, dz = x[i] - px, y[i] - py, z[i] - pz
                    squared = min((dx * dx + dy * dy) + dz * dz, nearest[i])
                    nearest[i] = squared
                    if squared > most:
                        most, place = squared, i
                farthest[bucket], position[bucket] = most, place
            if farthest[bucket] > best or (farthest[bucket] == best and order[position[bucket]] < order[taken]):
                best, taken = farthest[bucket], position[bucket]
        chosen[step] = order[taken]
        px, py, pz = x[taken], y[taken], z[taken]
