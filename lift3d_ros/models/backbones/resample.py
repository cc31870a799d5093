"""Separable resizing as one matrix for each axis: position tables in a network, pictures before it; imports no torch.

A matrix that is a constant exports to every runtime, while cubic and antialiased resizing operators do not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kernel = Literal["linear", "cubic", "area"]

# Sharpness of the cubic kernel: as OpenCV and torch have it, and as antialiased resizing (PIL, torch) has it.
_CUBIC = -0.75
_ANTIALIASED_CUBIC = -0.5


@functools.lru_cache(maxsize=64)
def resampling_matrix(
    source: int,
    target: int,
    kernel: Kernel,
    *,
    scale: float | None = None,
    aligns_corners: bool = False,
    is_antialiased: bool = False,
) -> NDArray[np.float64]:
    """Return the (target, source) matrix that resamples one axis; do not write to it.

    Args:
        source, target: samples before and after.
        kernel: ``area`` averages what a target sample covers, and blends neighbours where it enlarges, as OpenCV does.
        scale: target samples per source sample where it is not target / source; moves the sampling positions.
        aligns_corners: first and last samples keep their places; otherwise the borders of the pictures do.
        is_antialiased: widens the kernel where samples get fewer.
    """
    step = 1.0 / scale if scale is not None else source / target
    if kernel == "area":
        return _frozen(_area(source, target))
    if aligns_corners:
        step = (source - 1) / (target - 1) if target > 1 else 0.0
        positions = np.arange(target) * step
    else:
        positions = (np.arange(target) + 0.5) * step - 0.5
    if is_antialiased:
        return _frozen(_antialiased(source, positions, max(step, 1.0), kernel))
    return _frozen(_interpolated(source, positions, kernel))


def _interpolated(source: int, positions: NDArray[np.float64], kernel: Kernel) -> NDArray[np.float64]:
    """Read between samples; the border is repeated outwards."""
    reach = 1 if kernel == "linear" else 2
    weight = _triangle if kernel == "linear" else functools.partial(_cubic, sharpness=_CUBIC)
    first = np.floor(positions).astype(int)
    matrix = np.zeros((len(positions), source))
    for offset in range(1 - reach, reach + 1):
        index = first + offset
        np.add.at(matrix, (np.arange(len(positions)), np.clip(index, 0, source - 1)), weight(np.abs(positions - index)))
    return matrix


def _antialiased(source: int, positions: NDArray[np.float64], width: float, kernel: Kernel) -> NDArray[np.float64]:
    """Weigh all samples under a kernel `width` times as wide; what lies outside of the picture does not count."""
    reach = (1 if kernel == "linear" else 2) * width
    shape: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    shape = _triangle if kernel == "linear" else functools.partial(_cubic, sharpness=_ANTIALIASED_CUBIC)
    index = np.arange(source)
    first = np.maximum(np.floor(positions - reach + 1.0), 0)
    last = np.minimum(np.floor(positions + reach + 1.0), source)
    weights = shape(np.abs(index - positions[:, None]) / width)
    weights = np.where((index >= first[:, None]) & (index < last[:, None]), weights, 0.0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _area(source: int, target: int) -> NDArray[np.float64]:
    step = source / target
    index = np.arange(source)
    start = np.arange(target)[:, None] * step
    if step >= 1.0:
        overlap = np.minimum(index + 1, start + step) - np.maximum(index, start)
        return np.asarray(np.maximum(overlap, 0.0) / step)
    first = np.floor(start[:, 0]).astype(int)
    share = np.arange(1, target + 1) - (first + 1) / step
    share = np.where(share <= 0.0, 0.0, share - np.floor(share))
    matrix = np.zeros((target, source))
    matrix[np.arange(target), first] = 1.0 - share
    matrix[np.arange(target), np.minimum(first + 1, source - 1)] += share
    return matrix


def _triangle(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(0.0, 1.0 - distance)


def _cubic(distance: NDArray[np.float64], sharpness: float) -> NDArray[np.float64]:
    near = ((sharpness + 2.0) * distance - (sharpness + 3.0)) * distance**2 + 1.0
    far = sharpness * (((distance - 5.0) * distance + 8.0) * distance - 4.0)
    return np.where(distance <= 1.0, near, np.where(distance < 2.0, far, 0.0))


def _frozen(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix.setflags(write=False)
    return matrix
