"""Crops of a cloud, brought to what a point encoder takes: finite, few enough, in the unit sphere.

Letters: N points of a cloud, P points that an encoder takes, M boxes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.geometry.boxes import points_in_boxes
from lift3d_ros.ops.cloud_search import farthest_points, points_between
from lift3d_ros.types import Boxes3D, Float32Array, Float64Array, PointCrop

LARGEST_CROP = 32_768
"""Of a crop with more points so many are drawn before farthest points are looked for, which bounds the time."""

_LARGEST_EXPONENT = 40


class UnitCloud(NamedTuple):
    """A crop as an encoder takes it.

    Args:
        points: (P, 3) float32, mean 0 and largest norm 1; all 0 where the crop is a single place.
        center, radius: `points` times `radius` plus `center` (3,) are points of the crop, metres.
    """

    points: Float32Array
    center: Float64Array
    radius: float


def finite_points(points: NDArray[np.floating[Any]]) -> Float32Array:
    """Return the points (N, 3) that are finite, in their order, float32."""
    is_finite = np.isfinite(points).all(axis=1)
    kept = points if is_finite.all() else points[is_finite]
    return np.asarray(kept, dtype=np.float32)


def cut_crops(points: Float32Array, boxes: Boxes3D, ids: NDArray[np.int64]) -> list[PointCrop]:
    """Return the points inside of each box, borders included; a crop may be empty.

    Args:
        points: (N, 3), finite, in the frame of the boxes.
        ids: (M,) numbers of the crops.
    """
    # Comparing all points with all boxes exactly takes seconds for large clouds; few points are near any box.
    with np.errstate(over="ignore"):  # of a box that is larger than any number everything is near
        reach = 1.001 * np.linalg.norm(boxes.sizes, axis=1) / 2
    crops = []
    for number, instance_id in enumerate(ids):
        near = points
        for axis in range(2):
            near = near[np.abs(near[:, axis] - boxes.centers[number, axis]) <= reach[number]]
        is_inside = points_in_boxes(near, boxes.select(np.array([number])))[:, 0]
        crops.append(PointCrop(near[is_inside], int(instance_id)))
    return crops


def unit_cloud(points: Float32Array, count: int, *, fills_gaps: bool = False) -> UnitCloud:
    """Reduce a crop to `count` points that cover it evenly, and bring them to the unit sphere.

    A crop of more than `LARGEST_CROP` points is thinned by a draw with a fixed seed. Then farthest points are taken,
    beginning with the one that is farthest from the mean, so that neither the order of the points nor an uneven
    density matters.

    Args:
        points: (N, 3), finite, at least one.
        fills_gaps: where there are fewer different points than `count`, add points halfway between neighbours; else all
            of them come again in turns.

    Returns:
        (count, 3) points. Source of the normalisation: fact sheet I2P-MAE, section 11.1.
    """
    if len(points) > LARGEST_CROP:
        drawn = np.random.default_rng(0).choice(len(points), LARGEST_CROP, replace=False, shuffle=False)
        points = points[np.sort(drawn)]
    # Near 0 float32 tells points apart that far away it does not.
    middle = points.mean(axis=0, dtype=np.float64)
    exact = points - middle
    # Squares of what some drivers write where nothing was measured, 1e30 or more, are beyond float32. A power of two
    # changes no digit.
    exponent = max(0, int(np.frexp(np.abs(exact).max())[1]) - _LARGEST_EXPONENT)
    local = np.ldexp(exact, -exponent).astype(np.float32)
    first = int(np.einsum("nc,nc->n", local, local).argmax())
    local[[0, first]] = local[[first, 0]]
    chosen = farthest_points(local, min(count, len(local)))
    is_again = chosen[1:] == chosen[0]  # once all different points are taken
    different = 1 + int(is_again.argmax()) if is_again.any() else len(chosen)
    reduced = local[chosen[:different]].astype(np.float64)
    if fills_gaps:
        reduced = np.concatenate([reduced, points_between(reduced, count - different)])
    else:
        reduced = reduced[np.resize(np.arange(different), count)]
    mean = reduced.mean(axis=0)
    reduced -= mean
    radius = float(np.sqrt((reduced**2).sum(axis=1).max()))
    scale = radius if radius > 1e-9 else 1.0
    whole = 2.0**exponent
    return UnitCloud((reduced / scale).astype(np.float32), middle + mean * whole, scale * whole)
