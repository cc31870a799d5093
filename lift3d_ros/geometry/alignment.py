"""Best similarity transform between sets of points, for many sets at once.

Points are rows: ``scale * points @ rotation + translation``. Shape letters: B sets, J points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lift3d_ros.types import Float64Array


@dataclass(frozen=True, eq=False)
class Similarity:
    """Rotation (B, 3, 3) for points as rows, scale (B,), translation (B, 3)."""

    rotation: Float64Array
    scale: Float64Array
    translation: Float64Array

    def apply(self, points: Float64Array) -> Float64Array:
        """Map points (B, J, 3)."""
        return np.asarray(self.scale[:, None, None] * points @ self.rotation + self.translation[:, None])


def weighted_mean(points: Float64Array, weights: Float64Array) -> Float64Array:
    """Return the means (B, D) of points (B, J, D) with weights (B, J); zeros where all weights are zero."""
    total = np.maximum(weights.sum(axis=1), 1e-12)[:, None]
    return np.asarray(np.einsum("bj,bjd->bd", weights, points) / total)


def align(
    points: Float64Array,
    target: Float64Array,
    weights: Any | None = None,
    *,
    allows_reflection: bool = False,
    has_scale: bool = True,
) -> Similarity:
    """Return the similarity that brings `points` closest to `target` in the least squares sense.

    Args:
        points, target: (B, J, 3).
        weights: (B, J), zero where a point does not count; ones where not given.
        allows_reflection: also take rotations of determinant -1. Errors after that cannot tell left from right, so
            every figure made with it has to say so.
        has_scale: False keeps the scale at 1.

    Where the points do not determine the rotation (all equal, or on one line) it is one of the best ones, and where
    they are all equal the scale is 0.

    Source: Umeyama 1991; fact sheet of the lifter, 7.2 to 7.5.
    """
    w = np.ones(points.shape[:2]) if weights is None else np.asarray(weights, dtype=np.float64)
    mean, target_mean = weighted_mean(points, w), weighted_mean(target, w)
    centred, target_centred = points - mean[:, None], target - target_mean[:, None]
    covariance = np.einsum("bj,bji,bjk->bik", w, centred, target_centred)
    U, singular, Vt = np.linalg.svd(covariance)
    sign = np.ones((len(points), 3))
    if not allows_reflection:
        sign[:, 2] = np.where(np.linalg.det(U) * np.linalg.det(Vt) < 0, -1.0, 1.0)
    rotation = (U * sign[:, None]) @ Vt
    size = np.einsum("bj,bji->b", w, centred**2)
    scale = np.ones(len(points))
    if has_scale:
        scale = np.where(size > 1e-24, (singular * sign).sum(axis=1) / np.maximum(size, 1e-24), 0.0)
    translation = target_mean - scale[:, None] * np.einsum("bi,bik->bk", mean, rotation)
    return Similarity(rotation, scale, translation)
