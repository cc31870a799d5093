"""Rotations: quaternions in ROS order (x, y, z, w), matrices and yaw angles."""

from __future__ import annotations

from typing import Any

import numpy as np

from lift3d_ros.types import Float64Array

# A vector times this is the matrix, row after row, whose product with another vector is the cross product of both.
_CROSS = np.array(
    [
        [0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0],
        [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0],
        [0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    ]
)


def quaternion_to_matrix(quaternion: Any) -> Float64Array:
    """Return the (3, 3) rotation of a quaternion (x, y, z, w), which is normalised first.

    Raises:
        ValueError: the quaternion is zero or not finite.
    """
    q = np.asarray(quaternion, dtype=np.float64)
    norm = float(np.linalg.norm(q))
    if q.shape != (4,) or not np.isfinite(norm) or norm < 1e-6:
        raise ValueError(f"quaternion {q.tolist()} is not a rotation; expected four finite numbers, not all zero")
    x, y, z, w = q / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def matrix_to_quaternion(rotation: Any) -> Float64Array:
    """Return the quaternion (x, y, z, w), w >= 0, of a (3, 3) rotation matrix."""
    m = np.asarray(rotation, dtype=np.float64)
    # Symmetric matrix whose eigenvector of the largest eigenvalue is the quaternion; stable for every angle.
    k = (
        np.array(
            [
                [m[0, 0] - m[1, 1] - m[2, 2], m[1, 0] + m[0, 1], m[2, 0] + m[0, 2], m[2, 1] - m[1, 2]],
                [m[1, 0] + m[0, 1], m[1, 1] - m[0, 0] - m[2, 2], m[2, 1] + m[1, 2], m[0, 2] - m[2, 0]],
                [m[2, 0] + m[0, 2], m[2, 1] + m[1, 2], m[2, 2] - m[0, 0] - m[1, 1], m[1, 0] - m[0, 1]],
                [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], m[0, 0] + m[1, 1] + m[2, 2]],
            ]
        )
        / 3.0
    )
    quaternion = np.linalg.eigh(k)[1][:, -1]
    return np.asarray(-quaternion if quaternion[3] < 0 else quaternion)


def rotation_vectors_to_matrices(vectors: Any) -> Float64Array:
    """Return the (B, 3, 3) rotations about axes (B, 3) by angles of their lengths."""
    v = np.asarray(vectors, dtype=np.float64)
    angle = np.maximum(np.sqrt((v * v).sum(axis=1)), 1e-30)[:, None, None]
    cross = (v @ _CROSS).reshape(-1, 3, 3)
    # sin(a) / a and (1 - cos(a)) / a^2, both finite at zero.
    first, second = np.sin(angle) / angle, 2.0 * (np.sin(0.5 * angle) / angle) ** 2
    return np.asarray(np.eye(3) + first * cross + second * (cross @ cross))


def rotation_between(first: Any, second: Any) -> Float64Array:
    """Return the (B, 3, 3) smallest rotations that take directions `first` (B, 3) to `second` (B, 3), unit vectors."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis, axis=1)
    angle = np.arctan2(sine, (a * b).sum(axis=1))
    # Opposite directions: any axis across will do.
    across = np.cross(a, np.eye(3)[np.argmin(np.abs(a), axis=1)])
    is_opposite = (sine < 1e-12) & (angle > 1.0)
    axis = np.where(is_opposite[:, None], across, axis)
    length = np.linalg.norm(axis, axis=1, keepdims=True)
    return rotation_vectors_to_matrices(axis / np.maximum(length, 1e-30) * angle[:, None])


def yaw_matrix(yaw: float) -> Float64Array:
    """Return the (3, 3) rotation by `yaw` about +z."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def rpy_matrix(roll: float, pitch: float, yaw: float) -> Float64Array:
    """Return the (3, 3) rotation by fixed-axis roll, pitch and yaw, as in URDF: Rz(yaw) Ry(pitch) Rx(roll)."""
    cr, sr, cp, sp = np.cos(roll), np.sin(roll), np.cos(pitch), np.sin(pitch)
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, cr, -sr], [0.0, sr, cr]])
    about_y = np.array([[cp, 0.0, sp], [0.0, 1.0, 0.0], [-sp, 0.0, cp]])
    return np.asarray(yaw_matrix(yaw) @ about_y @ about_x)


def yaw_of(rotation: Any) -> float:
    """Return the heading of the rotated x axis in the x-y plane."""
    m = np.asarray(rotation)
    return float(np.arctan2(m[1, 0], m[0, 0]))


def wrap_angle(angle: Any) -> Any:
    """Return `angle` (scalar or array) wrapped to [-pi, pi)."""
    return np.mod(np.asarray(angle) + np.pi, 2 * np.pi) - np.pi


def slerp(first: Any, second: Any, fraction: float) -> Float64Array:
    """Interpolate between two unit quaternions along the shorter arc; `fraction` 0 gives the first."""
    q0, q1 = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    dot = float(q0 @ q1)
    if dot < 0:
        q1, dot = -q1, -dot
    if dot > 1 - 1e-9:
        blended = q0 + fraction * (q1 - q0)
    else:
        angle = np.arccos(dot)
        blended = (np.sin((1 - fraction) * angle) * q0 + np.sin(fraction * angle) * q1) / np.sin(angle)
    return np.asarray(blended / np.linalg.norm(blended))
