"""Finds what stands on a table, or another plane, in one scan; enough for a demo, and no more."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lift3d_ros.errors import Lift3dError
from lift3d_ros.geometry.rotations import rotation_between
from lift3d_ros.geometry.triangles import connected
from lift3d_ros.types import Float32Array, Float64Array

SEED = 0
_PLANE_TRIES, _PLANE_POINTS = 300, 4000
_ON_PLANE_M = 0.01
_LOWEST_M, _HIGHEST_M = 0.015, 0.5  # of an object, above the plane
_CELL_M, _GAP_M = 0.005, 0.02
_FEWEST_POINTS, _LEAST_HEIGHT_M = 400, 0.05
_MOST_OBJECTS = 8


def standing_objects(points: Float32Array) -> tuple[Float64Array, list[NDArray[np.int64]]]:
    """Return the transform to a frame with the plane as z = 0 and z up, and the points of each object, largest first.

    Args:
        points: (N, 3) metres in the frame of a sensor that looks at the plane from above.

    Returns:
        (4, 4) T_plane_sensor, and indices of the points of each object.

    Raises:
        Lift3dError: nothing stands on a plane.
    """
    nothing = Lift3dError("nothing stands on the largest plane of the scan; give another one with --scan")
    if len(points) < _FEWEST_POINTS:
        raise nothing
    T_plane_sensor = _find_plane(points)
    local = points @ T_plane_sensor[:3, :3].T + T_plane_sensor[:3, 3]
    above = np.flatnonzero((local[:, 2] > _LOWEST_M) & (local[:, 2] < _HIGHEST_M))
    _, first, cell_of = np.unique(
        np.floor(local[above] / _CELL_M).astype(np.int64), axis=0, return_index=True, return_inverse=True
    )
    pairs = cKDTree(local[above[first]]).query_pairs(_GAP_M, output_type="ndarray")
    part = connected(len(first), pairs)[cell_of.reshape(-1)]
    counts = np.bincount(part)
    largest = np.argsort(-counts, kind="stable")[:_MOST_OBJECTS]
    found = [above[part == number] for number in largest if counts[number] >= _FEWEST_POINTS]
    objects = [indices for indices in found if np.ptp(local[indices, 2]) >= _LEAST_HEIGHT_M]
    if not objects:
        raise nothing
    return T_plane_sensor, objects


def _find_plane(points: Float32Array) -> Float64Array:
    """Return (4, 4) to a frame in which the plane with the most points is z = 0, by RANSAC."""
    rng = np.random.default_rng(SEED)
    some = points[rng.choice(len(points), min(_PLANE_POINTS, len(points)), replace=False)].astype(np.float64)
    best, best_count = some, -1
    for _ in range(_PLANE_TRIES):
        corner, first, second = some[rng.choice(len(some), 3, replace=False)]
        normal = np.cross(first - corner, second - corner)
        length = np.linalg.norm(normal)
        if length < 1e-9:
            continue
        on_plane = np.abs((some - corner) @ normal) < _ON_PLANE_M * length
        if on_plane.sum() > best_count:
            best, best_count = some[on_plane], int(on_plane.sum())
    middle = best.mean(axis=0)
    normal = np.linalg.svd(best - middle, full_matrices=False)[2][2]
    if normal @ middle > 0:  # the sensor, at the origin, is above
        normal = -normal
    result = np.eye(4)
    result[:3, :3] = rotation_between(normal[None], np.array([[0.0, 0.0, 1.0]]))[0]
    result[:3, 3] = -result[:3, :3] @ middle
    return result
