"""How near a reconstructed surface is to the true one: Chamfer distance and F-score, before and after alignment.

Surfaces are compared by points that are drawn evenly on them. Distances are shares of the longest side of the true
object. Letters: N points.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.datasets.object_points import draw_on_triangles
from lift3d_ros.geometry.alignment import align
from lift3d_ros.types import Float64Array

THRESHOLDS = (0.01, 0.02, 0.05, 0.1)
NUM_POINTS = 10_000

_NUM_STARTS = 8
_ROUNDS = 20
_ALIGNED_POINTS = 1000


@dataclass(frozen=True)
class SurfaceErrors:
    """Of one surface.

    Args:
        chamfer: mean of the mean distances from each surface to the other.
        f_scores: threshold -> harmonic mean of the shares of points of each surface that are within it of the other.
    """

    chamfer: float
    f_scores: dict[str, float] = field(default_factory=dict)


def empty_surface() -> SurfaceErrors:
    """Return what counts for a reconstruction without a surface."""
    return SurfaceErrors(float("nan"), {f"{threshold:g}": 0.0 for threshold in THRESHOLDS})


def surface_points(
    vertices: Float64Array, faces: NDArray[Any], rng: np.random.Generator, count: int = NUM_POINTS
) -> Float64Array:
    """Return points (N, 3) evenly on triangles."""
    corners = vertices[faces]
    face, weights = draw_on_triangles(corners, count, rng)
    return np.asarray((corners[face] * weights).sum(axis=1))


def surface_errors(points: Float64Array, truth: Float64Array, longest_side: float) -> SurfaceErrors:
    """Compare points of a surface with points (N, 3) of the true one, as they lie.

    Args:
        longest_side: of the true object.
    """
    from scipy.spatial import cKDTree  # type: ignore[import-untyped]

    to_truth = cKDTree(truth).query(points)[0] / longest_side
    to_points = cKDTree(points).query(truth)[0] / longest_side
    scores = {}
    for threshold in THRESHOLDS:
        precision, recall = float((to_truth < threshold).mean()), float((to_points < threshold).mean())
        scores[f"{threshold:g}"] = 2.0 * precision * recall / max(precision + recall, 1e-12)
    return SurfaceErrors(float(0.5 * (to_truth.mean() + to_points.mean())), scores)


def aligned(points: Float64Array, truth: Float64Array, up: Float64Array) -> Float64Array:
    """Return points moved, turned and resized to the true ones by ICP, from several turns about the object's up axis.

    Args:
        up: (3,) unit length.
    """
    from scipy.spatial import cKDTree

    few = points[:: max(1, len(points) // _ALIGNED_POINTS)]
    few_truth = truth[:: max(1, len(truth) // _ALIGNED_POINTS)]
    trees = cKDTree(few), cKDTree(few_truth)
    middle, true_middle = few.mean(axis=0), few_truth.mean(axis=0)
    size = float(np.sqrt(((few_truth - true_middle) ** 2).sum(1).mean() / ((few - middle) ** 2).sum(1).mean()))
    best: tuple[float, Float64Array] = (np.inf, points)
    for number in range(_NUM_STARTS):
        linear = size * _turn(up, 2.0 * np.pi * number / _NUM_STARTS)
        shift = true_middle - middle @ linear
        for _ in range(_ROUNDS):
            forth, back = _partners(few, few_truth, linear, shift, trees)[1::2]
            found = align(np.concatenate([few, few[back]])[None], np.concatenate([few_truth[forth], few_truth])[None])
            linear, shift = found.scale[0] * found.rotation[0], found.translation[0]
        to_truth, _, to_points, _ = _partners(few, few_truth, linear, shift, trees)
        error = float(to_truth.mean() + to_points.mean())
        if error < best[0]:
            best = error, points @ linear + shift
    return best[1]


def _partners(
    points: Float64Array, truth: Float64Array, linear: Float64Array, shift: Float64Array, trees: tuple[Any, Any]
) -> tuple[Any, Any, Any, Any]:
    """Return distances and partners of moved points, then of true ones.

    True points are moved back to where the others were, so that neither tree is built again.
    """
    scale = float(np.cbrt(np.linalg.det(linear)))
    to_truth, forth = trees[1].query(points @ linear + shift)
    to_points, back = trees[0].query((truth - shift) @ np.linalg.inv(linear))
    return to_truth, forth, scale * to_points, back


def _turn(axis: Float64Array, angle: float) -> Float64Array:
    """Return the rotation (3, 3) about an axis, for points as rows."""
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray((np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross).T)
