"""The orthographic-N-point problem: how must a known 3D shape stand so that its parallel projection is a 2D one.

Points are rows: the shape stands at ``scale * shape @ rotation + [translation, 0]`` and is seen along z. A parallel
projection does not tell a shape from its depth-reversed copy; the pose found is that of the shape as given.
Shape letters: B problems, J points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.geometry.alignment import weighted_mean
from lift3d_ros.geometry.rotations import rotation_vectors_to_matrices
from lift3d_ros.types import Float64Array

# Shapes whose thickness is below this part of their length count as flat.
_FLAT = 1e-6
_ITERATIONS = 8
_ROUNDING = 1e-15


@dataclass(frozen=True, eq=False)
class OrthographicPose:
    """Poses of B shapes.

    Args:
        rotation: (B, 3, 3), determinant +1, for points as rows.
        scale: (B,) size in 2D units for a size in units of the shape.
        translation: (B, 2) place of the shape's origin.
        residual: (B,) root mean square distance in 2D.
        is_determined: (B,) False where shape or projection lie on a line (the turn about it is then not known) or
            fewer than three points are given.
        is_flat: (B,) the shape lies in a plane, so that two tilts fit equally well: this one and its depth-reversed
            copy.
    """

    rotation: Float64Array
    scale: Float64Array
    translation: Float64Array
    residual: Float64Array
    is_determined: NDArray[np.bool_]
    is_flat: NDArray[np.bool_]

    def place(self, shape: Float64Array) -> Float64Array:
        """Return shapes (B, J, 3) as they stand in front of the camera; z is in 2D units, zero at the origin."""
        placed = self.scale[:, None, None] * shape @ self.rotation
        placed[:, :, :2] += self.translation[:, None]
        return np.asarray(placed)


def orthographic_n_point(
    shape: Float64Array, points: Float64Array, weights: Float64Array, *, iterations: int = _ITERATIONS
) -> OrthographicPose:
    """Return the poses in which the projection of `shape` (B, J, 3) is closest to `points` (B, J, 2).

    Exact for noise-free parallel projections. First the affine solution and the nearest scaled rotation, then
    `iterations` steps of Gauss-Newton to the least squares optimum.

    Args:
        weights: (B, J), zero where a point does not count.

    Source: fact sheet of the lifter, 7.7 and 7.8.
    """
    mean, mean_2d = weighted_mean(shape, weights), weighted_mean(points, weights)
    centred = (shape - mean[:, None]) * (weights > 0)[:, :, None]
    centred_2d = (points - mean_2d[:, None]) * (weights > 0)[:, :, None]
    rotation, scale, is_determined, is_flat = _affine_pose(centred, centred_2d, weights)
    is_determined &= (weights > 0).sum(axis=1) >= 3
    rotation, scale = _refine(centred, centred_2d, weights, rotation, scale, iterations)
    difference = scale[:, None, None] * centred @ rotation[:, :, :2] - centred_2d
    total = np.maximum(weights.sum(axis=1), 1e-12)
    residual = np.sqrt(np.einsum("bj,bji->b", weights, difference**2) / total)
    translation = mean_2d - scale[:, None] * np.einsum("bi,bik->bk", mean, rotation[:, :, :2])
    return OrthographicPose(rotation, scale, translation, residual, is_determined, is_flat)


def _affine_pose(
    centred: Float64Array, centred_2d: Float64Array, weights: Float64Array
) -> tuple[Float64Array, Float64Array, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return rotation and scale nearest to the best affine map, and whether they are determined and the shape flat."""
    moments = np.einsum("bj,bji,bjk->bik", weights, centred, centred)
    values, axes = np.linalg.eigh(moments)  # rising
    largest = np.maximum(values[:, 2], 1e-24)
    spread = np.sqrt(np.maximum(values, 0.0) / largest[:, None])
    is_flat = spread[:, 0] < _FLAT
    is_line = spread[:, 1] < _FLAT
    # The affine map in the frame of the shape's own axes; directions without extent get none of it.
    inverse = np.where(spread > _FLAT, 1.0 / np.maximum(values, 1e-24), 0.0)
    products = np.einsum("bj,bji,bjk->bik", weights, centred @ axes, centred_2d)
    affine = inverse[:, :, None] * products
    # A flat shape says nothing about its normal: there the affine map is completed from the tilt in its plane.
    affine = np.where((is_flat & ~is_line)[:, None, None], _complete_flat(affine), affine)
    U, singular, Vt = np.linalg.svd(affine, full_matrices=False)
    first_two = axes @ (U @ Vt)
    third = np.cross(first_two[:, :, 0], first_two[:, :, 1])
    rotation = np.concatenate([first_two, third[:, :, None]], axis=2)
    scale = np.where(is_flat, singular[:, 0], singular.mean(axis=1))
    is_determined = ~is_line & (values[:, 2] > 1e-24) & (singular[:, 1] > _FLAT * np.maximum(singular[:, 0], 1e-24))
    return rotation, scale, is_determined, is_flat


def _complete_flat(affine: Float64Array) -> Float64Array:
    """Fill the first row (the normal of a flat shape) so that the columns get equal length and are orthogonal."""
    _, singular, Vt = np.linalg.svd(affine[:, 1:])
    # The larger singular value is the scale, the smaller one is shortened by the tilt.
    missing = np.sqrt(np.maximum(singular[:, 0] ** 2 - singular[:, 1] ** 2, 0.0))
    completed = affine.copy()
    completed[:, 0] = missing[:, None] * Vt[:, 1]
    return completed


def _refine(
    centred: Float64Array,
    centred_2d: Float64Array,
    weights: Float64Array,
    rotation: Float64Array,
    scale: Float64Array,
    iterations: int,
) -> tuple[Float64Array, Float64Array]:
    """Return rotation and scale after damped Gauss-Newton steps; a step that does not lower the error is not taken.

    The error and its derivatives depend on the points only through their second moments, so the points are summed
    over once.
    """
    weighted = np.swapaxes(centred * weights[:, :, None], 1, 2)
    moments, products = weighted @ centred, weighted @ centred_2d
    total = np.einsum("bj,bji->b", weights, centred_2d**2)

    def look(rotation: Float64Array, scale: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return moments (B, 3, 3) and products (B, 3, 2) of the shape as it stands, and the error."""
        back = np.swapaxes(rotation, 1, 2) * scale[:, None, None]
        own, with_2d = back @ moments @ np.swapaxes(back, 1, 2), back @ products
        error = own[:, 0, 0] + own[:, 1, 1] - 2.0 * (with_2d[:, 0, 0] + with_2d[:, 1, 1]) + total
        return own, with_2d, error

    own, with_2d, error = look(rotation, scale)
    damping = np.full(len(scale), 1e-3)
    normal, gradient = np.zeros((len(scale), 4, 4)), np.zeros((len(scale), 4, 1))
    diagonal = np.arange(4)
    for _ in range(iterations):
        # For a small turn about the axes of the camera and a change of the log of the scale, a point at (x, y, z) moves
        # in the picture by (0, z, -y, x) and (-z, 0, x, y) times the four.
        xz, yz, zz = np.moveaxis(own[:, :, 2], 1, 0)
        flat = own[:, 0, 0] + own[:, 1, 1]
        size = np.maximum(2.0 * (flat + zz), 1e-24)
        normal[:, diagonal, diagonal] = np.stack([zz, zz, flat, flat], axis=1) + (damping * size)[:, None]
        normal[:, 0, 2] = normal[:, 2, 0] = -xz
        normal[:, 0, 3] = normal[:, 3, 0] = normal[:, 1, 2] = normal[:, 2, 1] = -yz
        normal[:, 1, 3] = normal[:, 3, 1] = xz
        gradient[:, 0, 0] = with_2d[:, 2, 1] - yz
        gradient[:, 1, 0] = xz - with_2d[:, 2, 0]
        gradient[:, 2, 0] = with_2d[:, 1, 0] - with_2d[:, 0, 1]
        gradient[:, 3, 0] = flat - with_2d[:, 0, 0] - with_2d[:, 1, 1]
        step = -np.linalg.solve(normal, gradient)[:, :, 0]
        new_rotation = rotation @ np.swapaxes(rotation_vectors_to_matrices(step[:, :3]), 1, 2)
        new_scale = scale * np.exp(np.clip(step[:, 3], -1.0, 1.0))
        new_own, new_with_2d, new_error = look(new_rotation, new_scale)
        is_better = new_error <= error + _ROUNDING * total
        take = is_better[:, None, None]
        rotation, scale = np.where(take, new_rotation, rotation), np.where(is_better, new_scale, scale)
        own, with_2d = np.where(take, new_own, own), np.where(take, new_with_2d, with_2d)
        error = np.where(is_better, new_error, error)
        damping = np.clip(np.where(is_better, damping * 0.1, damping * 10.0), 1e-12, 1e3)
    return rotation, scale
