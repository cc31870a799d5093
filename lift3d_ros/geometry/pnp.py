"""Perspective-N-point: the pose in which a known 3D shape projects to given rays, for many shapes at once.

Points are rows: the shape stands at ``shape @ rotation + translation`` in the optical frame. Rays have z = 1, so
intrinsics and distortion are already taken out (:func:`lift3d_ros.geometry.camera.unproject`).
Shape letters: B problems, J points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.geometry.rotations import rotation_vectors_to_matrices
from lift3d_ros.types import Float64Array

_MIN_DEPTH = 1e-6


@dataclass(frozen=True, eq=False)
class PerspectivePose:
    """Poses of B shapes.

    Args:
        rotation: (B, 3, 3), determinant +1, for points as rows.
        translation: (B, 3) in the unit of the shape.
        residual: (B,) root mean square distance of projection and ray on the plane z = 1; infinite where a point that
            counts lies behind the camera.
    """

    rotation: Float64Array
    translation: Float64Array
    residual: Float64Array

    def place(self, shape: Float64Array) -> Float64Array:
        """Return shapes (B, J, 3) in the optical frame."""
        return np.asarray(shape @ self.rotation + self.translation[:, None])


def refine_pose(
    shape: Float64Array,
    rays: Float64Array,
    weights: Float64Array,
    rotation: Float64Array,
    translation: Float64Array,
    iterations: int = 10,
) -> PerspectivePose:
    """Improve poses by Levenberg-Marquardt on the distance between projections and rays.

    Args:
        shape: (B, J, 3).
        rays: (B, J, 2) x and y at z = 1.
        weights: (B, J), zero where a point does not count.
        rotation, translation: where to start, (B, 3, 3) and (B, 3), with all points before the camera.

    The error never grows: a step that would raise it, or take a point behind the camera, is not taken.
    """
    total = np.maximum(weights.sum(axis=1), 1e-12)
    rays = np.where((weights > 0)[:, :, None], rays, 0.0)
    shape = np.where((weights > 0)[:, :, None], shape, 0.0)

    def look(
        rotation: Float64Array, translation: Float64Array
    ) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
        turned = shape @ rotation
        placed = turned + translation[:, None]
        is_behind = ((placed[:, :, 2] < _MIN_DEPTH) & (weights > 0)).any(axis=1)
        inverse = 1.0 / np.maximum(placed[:, :, 2], _MIN_DEPTH)
        difference = placed[:, :, :2] * inverse[:, :, None] - rays
        error = np.einsum("bj,bji->b", weights, difference**2) / total
        return turned, placed, difference, np.where(is_behind, np.inf, error)

    turned, placed, difference, error = look(rotation, translation)
    damping = np.full(len(shape), 1e-3)
    for _ in range(iterations):
        normal, gradient = _normal_equations(turned, placed, difference, weights)
        diagonal = np.einsum("bkk->bk", normal)
        floor = np.maximum(diagonal.max(axis=1), 1e-24)[:, None] * 1e-9
        damped = normal + (damping[:, None] * np.maximum(diagonal, floor))[:, :, None] * np.eye(6)
        step = -np.linalg.solve(damped, gradient[:, :, None])[:, :, 0]
        new_rotation = rotation @ np.swapaxes(rotation_vectors_to_matrices(step[:, :3]), 1, 2)
        new_translation = translation + step[:, 3:]
        new_turned, new_placed, new_difference, new_error = look(new_rotation, new_translation)
        is_better: NDArray[np.bool_] = new_error <= error
        take = is_better[:, None, None]
        rotation = np.where(take, new_rotation, rotation)
        translation = np.where(is_better[:, None], new_translation, translation)
        turned, placed = np.where(take, new_turned, turned), np.where(take, new_placed, placed)
        difference, error = np.where(take, new_difference, difference), np.where(is_better, new_error, error)
        damping = np.clip(np.where(is_better, damping * 0.2, damping * 10.0), 1e-9, 1e6)
    return PerspectivePose(rotation, translation, np.sqrt(error))


def _normal_equations(
    turned: Float64Array, placed: Float64Array, difference: Float64Array, weights: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Return J^T J (B, 6, 6) and J^T r (B, 6) for a turn about the shape's origin and a shift."""
    x, y, z = np.moveaxis(turned, 2, 0)
    inverse = 1.0 / np.maximum(placed[:, :, 2], _MIN_DEPTH)
    u, v = placed[:, :, 0] * inverse, placed[:, :, 1] * inverse
    jacobian = np.zeros((*x.shape, 2, 6))
    jacobian[:, :, 0, 0], jacobian[:, :, 0, 1], jacobian[:, :, 0, 2] = -u * y, z + u * x, -y
    jacobian[:, :, 1, 0], jacobian[:, :, 1, 1], jacobian[:, :, 1, 2] = -z - v * y, v * x, x
    jacobian[:, :, 0, 3] = jacobian[:, :, 1, 4] = 1.0
    jacobian[:, :, 0, 5], jacobian[:, :, 1, 5] = -u, -v
    jacobian *= inverse[:, :, None, None]
    weighted = jacobian * weights[:, :, None, None]
    count = len(turned)
    flat, flat_weighted = jacobian.reshape(count, -1, 6), weighted.reshape(count, -1, 6)
    normal = np.swapaxes(flat_weighted, 1, 2) @ flat
    gradient = (np.swapaxes(flat_weighted, 1, 2) @ difference.reshape(count, -1, 1))[:, :, 0]
    return normal, gradient
