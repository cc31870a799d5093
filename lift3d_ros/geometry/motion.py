"""The velocity of a vehicle from two of its poses."""

from __future__ import annotations

import numpy as np

from lift3d_ros.geometry.rigid import interpolate
from lift3d_ros.geometry.rotations import matrix_to_quaternion
from lift3d_ros.types import EgoMotion, Float64Array

# Poses this far apart tell the velocity well, and the vehicle hardly changes it in between.
VELOCITY_BASELINE_NS = 100_000_000


def velocities(
    T_world_before: Float64Array, T_world_now: Float64Array, duration_s: float
) -> tuple[Float64Array, Float64Array]:
    """Return linear (m/s) and angular (rad/s) velocity, (3,) each, along the axes of the base frame."""
    halfway = interpolate(T_world_before, T_world_now, 0.5)[:3, :3]
    linear = halfway.T @ (T_world_now[:3, 3] - T_world_before[:3, 3]) / duration_s
    quaternion = matrix_to_quaternion(T_world_before[:3, :3].T @ T_world_now[:3, :3])
    axis, scalar = quaternion[:3], quaternion[3]
    length = float(np.linalg.norm(axis))
    angle = 2.0 * np.arctan2(length, scalar)
    angular = axis * (angle / length / duration_s) if length > 1e-12 else np.zeros(3)
    return np.asarray(linear), np.asarray(angular)


def ego_motion(
    stamp_ns: int, T_world_base: Float64Array, T_world_before: Float64Array | None, world_frame: str
) -> EgoMotion:
    """Return pose and velocity at `stamp_ns`; without a pose `VELOCITY_BASELINE_NS` before, the velocity is unknown."""
    if T_world_before is None:
        return EgoMotion(stamp_ns, T_world_base, world_frame)
    linear, angular = velocities(T_world_before, T_world_base, VELOCITY_BASELINE_NS * 1e-9)
    return EgoMotion(stamp_ns, T_world_base, world_frame, linear, angular)
