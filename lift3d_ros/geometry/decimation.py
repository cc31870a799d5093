"""Fewer triangles for a mesh: vertices of a cell become one, at the place that fits the faces around them best.

Only vertices that edges within the cell connect are joined, so the two sides of a thin wall stay apart. Where joining
would still let more than two faces meet at an edge, the vertices stay as they are: a watertight mesh stays watertight,
unless it has so many holes and parts that it cannot with so few faces.

Source: clustering by Rossignac and Borrel, the placing by quadrics by Lindstrom, "Out-of-core simplification of large
polygonal models", 2000. Letters: V vertices, F faces, K clusters.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.geometry.triangles import (
    Faces,
    connected,
    drop_unused,
    edge_uses,
    face_normals,
    is_watertight,
)
from lift3d_ros.types import Float64Array

# Bisections of the size of a cell; each halves the uncertainty of its logarithm.
_NUM_TRIES = 9
# A cluster on a plane or an edge leaves its place along it open: a little of the mean settles that.
_PULL_TO_MEAN = 1e-2
_MAX_RELEASES = 50
# Of the extent: two cells along each axis.
_LARGEST_CELL = 0.6


def decimate(
    vertices: Float64Array, faces: Faces, max_faces: int, on_step: Callable[[float], object] = lambda fraction: None
) -> tuple[Float64Array, Faces]:
    """Return a mesh of at most `max_faces` faces; one that has no more already stays as it is.

    Args:
        vertices: (V, 3).
        faces: (F, 3).
        on_step: called with the share that is done; may raise to stop.

    Returns:
        Vertices and faces. Parts of the mesh that are smaller than a cell are gone. A mesh that would collapse before
        it has so few faces has as few as it can.

    Raises:
        ValueError: `max_faces` is below 4, of which the smallest closed surface consists.
        Lift3dError: scipy is not installed.
    """
    if max_faces < 4:
        raise ValueError(f"max_faces is {max_faces}; expected at least 4")
    if len(faces) <= max_faces:
        return vertices, faces
    extent = float(np.ptp(vertices, axis=0).max())
    must_stay_closed = is_watertight(faces)
    edges = edge_uses(faces)[0]
    tries = [True, False] if must_stay_closed else [False]
    for stays_closed in tries:
        small, large = np.log(extent * 1e-4), np.log(extent * _LARGEST_CELL)
        best: tuple[NDArray[np.int64], Faces] | None = None
        for attempt in range(_NUM_TRIES):
            middle = 0.5 * (small + large)
            on_round = partial(on_step, 0.99 if len(tries) > 1 and not stays_closed else attempt / _NUM_TRIES)
            tried = _cluster(vertices, faces, edges, np.exp(middle), max_faces, stays_closed, on_round)
            if tried is None:
                small = middle
                continue
            large = middle
            if len(tried[1]) and (best is None or len(tried[1]) > len(best[1])):
                best = tried
        if best is not None:
            break
    if best is None:
        best = _cluster(vertices, faces, edges, extent * _LARGEST_CELL, len(faces), False, partial(on_step, 1.0))
    if best is None or not len(best[1]):
        return vertices, faces
    labels, joined = best
    return drop_unused(_places(vertices, faces, labels), joined)


def _cluster(
    vertices: Float64Array,
    faces: Faces,
    edges: Faces,
    cell: float,
    max_faces: int,
    must_stay_closed: bool,
    on_round: Callable[[], object],
) -> tuple[NDArray[np.int64], Faces] | None:
    """Return the cluster of each vertex, and the faces between different clusters; None where they are too many."""
    cells = np.floor((vertices - vertices.min(axis=0)) / cell).astype(np.int64)
    is_within = (cells[edges[:, 0]] == cells[edges[:, 1]]).all(axis=1)
    for _ in range(_MAX_RELEASES):
        on_round()
        labels = connected(len(vertices), edges[is_within])
        joined = _without_folds(labels[faces])
        if len(joined) > max_faces:  # releasing clusters only adds to them
            return None
        if not must_stay_closed:
            break
        found, uses = edge_uses(joined)
        crowded = np.unique(found[uses > 2])
        if not len(crowded):
            break
        # Release the clusters where more than two faces meet.
        is_released = np.isin(labels, crowded)
        is_within &= ~(is_released[edges[:, 0]] | is_released[edges[:, 1]])
    return labels, joined


def _without_folds(faces: Faces) -> Faces:
    """Return faces with three different corners, and without pairs that lie back to back."""
    is_flat = (faces == np.roll(faces, 1, axis=1)).any(axis=1)
    faces = faces[~is_flat]
    if not len(faces):
        return faces
    corners = np.sort(faces, axis=1)
    # An even permutation of the sorted corners looks to one side, an odd one to the other.
    first = np.argmin(faces, axis=1)
    following = faces[np.arange(len(faces)), (first + 1) % 3]
    side = np.where(following == corners[:, 1], 1, -1)
    span = int(corners.max()) + 1
    _, pair = np.unique(corners[:, 0] * span + corners[:, 1], return_inverse=True)
    _, group = np.unique(pair.reshape(-1) * span + corners[:, 2], return_inverse=True)
    group = group.reshape(-1)
    balance = np.bincount(group, side)
    # Of each group as many stay as one side has more than the other.
    surplus = side * balance[group] > 0
    order = np.argsort(group[surplus], kind="stable")
    kept = np.flatnonzero(surplus)[order]
    sorted_groups = group[kept]
    starts = np.flatnonzero(np.r_[True, sorted_groups[1:] != sorted_groups[:-1]]) if len(kept) else np.zeros(0, int)
    rank = np.arange(len(kept)) - np.repeat(starts, np.diff(np.r_[starts, len(kept)]))
    return np.asarray(faces[np.sort(kept[rank < np.abs(balance[sorted_groups])])])


def _places(vertices: Float64Array, faces: Faces, labels: NDArray[np.int64]) -> Float64Array:
    """Return where clusters (K, 3) lie best: nearest to the planes of all faces around their vertices."""
    count = int(labels.max()) + 1
    size = np.bincount(labels, minlength=count)
    means = np.stack([np.bincount(labels, vertices[:, axis], count) for axis in range(3)], axis=1) / size[:, None]
    scaled = face_normals(vertices, faces)
    area = np.linalg.norm(scaled, axis=1)
    normals = scaled / np.maximum(area, 1e-300)[:, None]
    corner = vertices[faces[:, 0]]
    matrices, right = np.zeros((count, 3, 3)), np.zeros((count, 3))
    for position in range(3):
        cluster = labels[faces[:, position]]
        # Relative to the mean, so that no digits are lost.
        offset = np.einsum("fi,fi->f", normals, corner - means[cluster]) * area
        for row in range(3):
            right[:, row] += np.bincount(cluster, normals[:, row] * offset, count)
            for column in range(3):
                product = area * normals[:, row] * normals[:, column]
                matrices[:, row, column] += np.bincount(cluster, product, count)
    pull = _PULL_TO_MEAN * np.trace(matrices, axis1=1, axis2=2) + 1e-300
    moves = np.linalg.solve(matrices + pull[:, None, None] * np.eye(3), right[..., None])[..., 0]
    places = means + moves
    lowest, highest = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    np.minimum.at(lowest, labels, vertices)
    np.maximum.at(highest, labels, vertices)
    single = size == 1
    places[single] = means[single]
    return np.asarray(np.clip(places, lowest, highest))
