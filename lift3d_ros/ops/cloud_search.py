"""Farthest points and nearest neighbours of one cloud as arrays, for a CPU; imports no torch.

What :mod:`lift3d_ros.ops.farthest_points` and :mod:`lift3d_ros.ops.neighbours` do for batches of tensors, which come
here on a CPU. numba and scipy make both several times faster, and change no result. Letters: N points, S samples,
Q queries, K neighbours.
"""

from __future__ import annotations

import importlib.util
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]

# Published sampling leaves out points nearer to the origin, by their squared norm.
SKIPPED_SQUARED_NORM = 1e-3
_CHUNK_PAIRS = 1 << 20
_BETWEEN_NEIGHBOURS = 6


def farthest_points(
    cloud: Floats,
    num_samples: int,
    usable: NDArray[np.bool_] | None = None,
    *,
    skips_near_origin: bool = False,
    implementation: Literal["auto", "numba", "numpy"] = "auto",
) -> Integers:
    """Choose points that cover a cloud (N, 3), see :func:`~lift3d_ros.ops.farthest_points.farthest_point_sampling`.

    Args:
        usable: (N,) false for points that are not taken, as those that are not finite.

    Returns:
        (num_samples,) int64.
    """
    wide = cloud if cloud.dtype == np.float64 else cloud.astype(np.float32)
    indices = _usable_indices(wide, usable)
    if not indices.size:
        return np.zeros(num_samples, np.int64)
    first = int(indices[0])
    chosen = np.full(num_samples, first)
    if skips_near_origin:
        x, y, z = wide[indices].T
        indices = indices[(x * x + y * y) + z * z > SKIPPED_SQUARED_NORM]
    if num_samples == 1 or not indices.size:
        return chosen
    if wide.dtype == np.float64:  # float32 cannot tell points of a map frame apart
        wide = (wide[np.append(first, indices)] - wide[first]).astype(np.float32)
    else:
        wide = wide[np.append(first, indices)]
    has_numba = implementation != "numpy" and importlib.util.find_spec("numba") is not None
    if has_numba:
        from lift3d_ros.ops.farthest_points_numba import sample_cloud
    else:
        sample_cloud = _sample_cloud
    chosen[1:] = indices[sample_cloud(wide[1:], wide[0], num_samples - 1)]
    return chosen


def nearest_points(
    query: Floats, points: Floats, k: int, usable: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float64], Integers]:
    """Find the `k` nearest points of each query, see :func:`~lift3d_ros.ops.neighbours.nearest_neighbours`.

    Args:
        query: (Q, 3).
        points: (N, 3), at least one.
        usable: (N,) false for points that are not found, as those that are not finite.

    Returns:
        Distances (Q, K) float64, infinite where there is no usable point or the query is not finite, and indices
        (Q, K) int64, 0 there. Where fewer than `k` points are usable, the nearest one is repeated.
    """
    distances = np.full((len(query), k), np.inf)
    indices = np.zeros((len(query), k), np.int64)
    originals = _usable_indices(points, usable)
    rows = np.flatnonzero(np.isfinite(query).all(axis=1))
    if originals.size and rows.size:
        found = min(k, originals.size)
        search = _search_tree if importlib.util.find_spec("scipy") is not None else _compare_all
        near = search(query[rows].astype(np.float64), points[originals].astype(np.float64), found)
        distances[rows, :found], indices[rows, :found] = near[0], originals[near[1]]
        distances[rows, found:], indices[rows, found:] = near[0][:, :1], originals[near[1][:, :1]]
    return distances, indices


def points_between(points: Floats, count: int) -> NDArray[np.float64]:
    """Return points (count, 3) that lie halfway between neighbours in a cloud (N, 3) of finite points.

    First each point and its nearest one, then each and its second nearest, and so on; where that is not enough, the
    same again with the points that were found. Of a cloud of one point it is that one.
    """
    cloud = np.asarray(points, np.float64)
    found = [np.zeros((0, 3))]
    while (missing := count - sum(map(len, found))) > 0:
        number = len(cloud)
        # A pair is found by both of its points at most, so k neighbours give at least k / 2 pairs for each point.
        neighbours = min(_BETWEEN_NEIGHBOURS, number - 1, -(-2 * missing // number))
        if not neighbours:
            found.append(np.repeat(cloud, missing, axis=0))
            break
        one = np.tile(np.arange(number), neighbours)
        other = nearest_points(cloud, cloud, neighbours + 1)[1][:, 1:].T.reshape(-1)
        pairs = np.minimum(one, other) * number + np.maximum(one, other)
        kept = np.sort(np.unique(pairs, return_index=True)[1])[:missing]
        found.append((cloud[one[kept]] + cloud[other[kept]]) / 2)
        cloud = np.concatenate([cloud, found[-1]])
    return np.concatenate(found)


def _usable_indices(points: Floats, usable: NDArray[np.bool_] | None) -> Integers:
    is_finite = np.isfinite(points).all(axis=1)
    return np.flatnonzero(is_finite if usable is None else is_finite & usable)


def _sample_cloud(cloud: NDArray[np.float32], start: NDArray[np.float32], num_samples: int) -> Integers:
    """Return the points of `cloud` (N, 3), in order, that are farthest from `start` (3,) and from each other."""
    x, y, z = np.ascontiguousarray(cloud.T)
    nearest = np.full(len(x), np.inf, np.float32)
    squared, part = np.empty_like(x), np.empty_like(x)
    chosen = np.empty(num_samples, np.int64)
    place = start
    for step in range(num_samples):
        np.subtract(x, place[0], out=squared)
        np.multiply(squared, squared, out=squared)
        for axis, value in ((y, place[1]), (z, place[2])):
            np.subtract(axis, value, out=part)
            np.multiply(part, part, out=part)
            np.add(squared, part, out=squared)
        np.minimum(nearest, squared, out=nearest)
        taken = int(nearest.argmax())  # the first of equal ones
        chosen[step] = taken
        place = cloud[taken]
    return chosen


def _compare_all(
    query: NDArray[np.float64], points: NDArray[np.float64], k: int
) -> tuple[NDArray[np.float64], Integers]:
    """Compare all pairs, some at a time."""
    distances, indices = np.empty((len(query), k)), np.empty((len(query), k), np.int64)
    at_once = max(1, _CHUNK_PAIRS // len(points))
    for start in range(0, len(query), at_once):
        part = slice(start, start + at_once)
        x, y, z = (query[part, None, axis] - points[None, :, axis] for axis in range(3))
        squared = (x * x + y * y) + z * z
        indices[part] = np.argsort(squared, axis=1, kind="stable")[:, :k]
        distances[part] = np.sqrt(np.take_along_axis(squared, indices[part], axis=1))
    return distances, indices


def _search_tree(
    query: NDArray[np.float64], points: NDArray[np.float64], k: int
) -> tuple[NDArray[np.float64], Integers]:
    from scipy.spatial import cKDTree  # type: ignore[import-untyped]

    wanted = min(k + 1, len(points))  # one more shows whether equal distances were cut apart
    distances, indices = cKDTree(points).query(query, np.arange(1, wanted + 1))
    is_tied = distances[:, 1:] == distances[:, :-1]
    distances, indices = _sort_ties(distances, indices, is_tied.any(axis=1))
    rows = np.flatnonzero(is_tied[:, k - 1]) if wanted > k else np.zeros(0, np.int64)
    distances, indices = np.ascontiguousarray(distances[:, :k]), np.ascontiguousarray(indices[:, :k])
    if not rows.size:
        return distances, indices
    # Of equal points only the first k can be among k neighbours: without the others ties stay few.
    kept = _first_copies(points, k)
    tree = cKDTree(points[kept])
    while rows.size:
        wanted = min(4 * wanted, len(kept))
        at_once = max(1, _CHUNK_PAIRS // wanted)
        cut_again = []
        for part in np.split(rows, range(at_once, len(rows), at_once)):
            far, near = tree.query(query[part], np.arange(1, wanted + 1))
            cut_again.append(part[far[:, k - 1] == far[:, -1]] if wanted < len(kept) else part[:0])
            far, near = _sort_ties(far, kept[near], np.ones(len(part), bool))
            distances[part], indices[part] = far[:, :k], near[:, :k]
        rows = np.concatenate(cut_again)
    return distances, indices


def _sort_ties(
    distances: NDArray[np.float64], indices: Integers, rows: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], Integers]:
    """Sort `rows` by distance, then by index."""
    if rows.any():
        order = np.lexsort((indices[rows], distances[rows]), axis=-1)
        indices[rows] = np.take_along_axis(indices[rows], order, axis=1)
        distances[rows] = np.take_along_axis(distances[rows], order, axis=1)
    return distances, indices


def _first_copies(points: NDArray[np.float64], count: int) -> Integers:
    """Return the indices, ascending, of the first `count` points at each position."""
    order = np.lexsort(points.T)  # stable: equal points stay in the order of their index
    is_new = np.append(True, (np.diff(points[order], axis=0) != 0).any(axis=1))
    first = np.maximum.accumulate(np.where(is_new, np.arange(len(order)), 0))
    return np.sort(order[np.arange(len(order)) - first < count])
