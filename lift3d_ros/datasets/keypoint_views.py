"""Random cameras for point sets: rotations into the camera frame (x right, y down, z forward) and projections."""

from __future__ import annotations

import numpy as np

from lift3d_ros.datasets.keypoints import ViewRange
from lift3d_ros.types import Float32Array, Float64Array

_PITCH_DEG = (-10.0, 45.0)
_FRONTAL_YAW_DEG = 70.0
_FRONTAL_PITCH_DEG = 25.0


def random_views(rng: np.random.Generator, count: int, view_range: ViewRange, roll_deg: float = 0.0) -> Float32Array:
    """Return rotations (count, 3, 3) that map points of a set (z up) into the camera frame: ``points @ R.T``.

    Args:
        view_range: ``upright`` draws any yaw and a camera that looks 10 degrees up to 45 down; ``frontal`` looks at
            the side that faces along -y within 70 degrees, 25 up or down; ``so3`` draws any rotation.
        roll_deg: standard deviation of a turn of the camera about its axis.
    """
    if view_range == "so3":
        rotations = _quaternion_matrices(rng.standard_normal((count, 4)))
    else:
        if view_range == "upright":
            yaw = rng.uniform(-np.pi, np.pi, count)
            pitch = np.deg2rad(rng.uniform(*_PITCH_DEG, count))
        else:
            yaw = np.pi / 2 + np.deg2rad(rng.uniform(-_FRONTAL_YAW_DEG, _FRONTAL_YAW_DEG, count))
            pitch = np.deg2rad(rng.uniform(-_FRONTAL_PITCH_DEG, _FRONTAL_PITCH_DEG, count))
        rotations = looking(yaw, pitch)
    if roll_deg > 0:
        roll = np.deg2rad(roll_deg) * rng.standard_normal(count)
        turn = np.zeros((count, 3, 3))
        turn[:, 0, 0] = turn[:, 1, 1] = np.cos(roll)
        turn[:, 0, 1], turn[:, 1, 0], turn[:, 2, 2] = -np.sin(roll), np.sin(roll), 1.0
        rotations = turn @ rotations
    return rotations.astype(np.float32)


def looking(yaw: Float64Array, pitch: Float64Array) -> Float64Array:
    """Return (N, 3, 3) of cameras that look along `yaw` about z and downward by `pitch`, radians."""
    forward = np.stack([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), -np.sin(pitch)], axis=-1)
    right = np.stack([np.sin(yaw), -np.cos(yaw), np.zeros_like(yaw)], axis=-1)
    return np.stack([right, np.cross(forward, right), forward], axis=1)


def _quaternion_matrices(quaternions: Float64Array) -> Float64Array:
    w, x, y, z = (quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    matrices: Float64Array = np.moveaxis(np.array(rows), -1, 0)
    return matrices


def project(points: Float32Array, distance: Float32Array) -> Float32Array:
    """Return x and y (N, J, 2) seen from `distance` (N,) in front of the origin; infinite gives weak perspective."""
    depth = 1.0 + points[..., 2] / distance[:, None]
    projected: Float32Array = points[..., :2] / np.maximum(depth, 0.05)[..., None]
    return projected
