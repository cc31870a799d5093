"""Rigid transforms as 4x4 matrices; ``T_a_b`` maps points of frame b into frame a."""

from __future__ import annotations

from typing import Any

import numpy as np

from lift3d_ros.geometry.rotations import matrix_to_quaternion, quaternion_to_matrix, slerp
from lift3d_ros.types import Float64Array


def make_transform(rotation: Any, translation: Any) -> Float64Array:
    """Return the (4, 4) transform of a (3, 3) rotation and a (3,) translation."""
    T = np.eye(4)
    T[:3, :3] = rotation
    T[:3, 3] = translation
    return T


def invert(T: Float64Array) -> Float64Array:
    """Return the inverse of a rigid transform."""
    rotation = T[:3, :3].T
    return make_transform(rotation, -rotation @ T[:3, 3])


def transform_points(T: Float64Array, points: Any) -> Float64Array:
    """Map points (M, 3) by `T`."""
    return np.asarray(np.asarray(points, dtype=np.float64) @ T[:3, :3].T + T[:3, 3])


def interpolate(first: Float64Array, second: Float64Array, fraction: float) -> Float64Array:
    """Blend two transforms: linear in position, shortest arc in rotation; `fraction` 0 gives the first."""
    if fraction <= 0.0:
        return first
    if fraction >= 1.0:
        return second
    rotation = slerp(matrix_to_quaternion(first[:3, :3]), matrix_to_quaternion(second[:3, :3]), fraction)
    translation = (1 - fraction) * first[:3, 3] + fraction * second[:3, 3]
    return make_transform(quaternion_to_matrix(rotation), translation)
