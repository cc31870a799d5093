"""Cells of a cubic grid and their nodes: which of them a surface passes or may pass; not for asking a density.

Values of nodes are relative to the level of the surface, above 0 inside.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

# Planes of cells that are searched at once.
_PLANES_AT_ONCE = 8
# Half of the way between two nodes: farther from both, a surface between them would show at one.
_CLOSE = 0.5
# Densities below this share of the level are all the same.
_FAINTEST = 1e-3


def crossed(values: Float32Array) -> BoolArray:
    """Return the cells that have nodes on both sides of the surface."""
    is_inside = values > 0.0
    corners = _corners(is_inside)
    all_inside = next(corners).copy()
    any_inside = all_inside.copy()
    for corner in corners:
        all_inside &= corner
        any_inside |= corner
    return np.asarray(any_inside & ~all_inside)


def _corners(nodes: BoolArray) -> Any:
    ends = (slice(None, -1), slice(1, None))
    return (nodes[place] for place in itertools.product(ends, repeat=3))


def nodes_of(is_cell: BoolArray) -> BoolArray:
    """Return the nodes at the corners of cells."""
    nodes = np.zeros([side + 1 for side in is_cell.shape], dtype=bool)
    for corner in _corners(nodes):
        corner |= is_cell
    return nodes


def widened(is_cell: BoolArray) -> BoolArray:
    """Return cells and all their neighbours."""
    wide = is_cell
    for axis in range(3):
        inner = np.moveaxis(wide, axis, 0)
        wider = inner.copy()
        wider[1:] |= inner[:-1]
        wider[:-1] |= inner[1:]
        wide = np.moveaxis(wider, 0, axis)
    return wide


def may_hold_surface(values: Float32Array, level: float) -> BoolArray:
    """Return the cells that the surface passes, or may pass between the nodes.

    It may where the value that is nearest to the level is as close to it as half of what values change by from node to
    node around the cell.
    """
    num_cells = len(values) - 1
    found = np.empty((num_cells,) * 3, dtype=bool)
    for start in range(0, num_cells, _PLANES_AT_ONCE):
        stop = min(start + _PLANES_AT_ONCE, num_cells)
        first, last = max(start - 1, 0), min(stop + 1, num_cells)
        low = high = _evened(values[first : last + 1], level)
        for axis in range(3):
            low, high = _pairs(low, axis, np.minimum), _pairs(high, axis, np.maximum)
        is_crossed = (low < 0.0) & (high > 0.0)
        nearest = np.minimum(np.abs(low), np.abs(high))
        change = _largest_around(high - low)
        found[start:stop] = (is_crossed | (nearest < _CLOSE * change))[start - first : stop - first]
    return found


def _evened(values: Float32Array, level: float) -> Float32Array:
    """Return values whose changes compare: densities, which vary by orders of magnitude, as logarithms."""
    if level <= 0.0:
        return values
    evened: Float32Array = np.log(np.maximum(values / level + 1.0, _FAINTEST)).astype(np.float32)
    return evened


def _pairs(values: Float32Array, axis: int, choose: Callable[..., Any]) -> Float32Array:
    """Combine neighbours along an axis."""
    moved = np.moveaxis(values, axis, 0)
    return np.moveaxis(choose(moved[1:], moved[:-1]), 0, axis)


def _largest_around(values: Float32Array) -> Float32Array:
    """Return the largest of each cell and its neighbours."""
    for axis in range(3):
        wide = np.moveaxis(values.copy(), axis, 0)
        inner = np.moveaxis(values, axis, 0)
        np.maximum(wide[1:], inner[:-1], out=wide[1:])
        np.maximum(wide[:-1], inner[1:], out=wide[:-1])
        values = np.moveaxis(wide, 0, axis)
    return values


def split(is_cell: BoolArray) -> BoolArray:
    """Return the eight cells of half the size for each cell."""
    for axis in range(3):
        is_cell = is_cell.repeat(2, axis=axis)
    return is_cell


def spread(values: Float32Array) -> Float32Array:
    """Return the grid of half the spacing; new nodes have the value of the node before them."""
    for axis in range(3):
        values = values.repeat(2, axis=axis)
    return np.ascontiguousarray(values[:-1, :-1, :-1])
