"""The 18 numbers about the vehicle that the published checkpoints read, computed from named ego motion.

====== =====================================================================================================
index  content
====== =====================================================================================================
0:3    position in the world frame, m; as model input: the difference to the last frame
3:7    quaternion of the pose in the order w, x, y, z
7:10   acceleration in the base frame, m/s^2; of an IMU, so about +9.8 along z on a level road
10:13  rotation rate in the base frame, rad/s
13:16  velocity in the base frame, m/s
16     heading, yaw of the pose, rad in [0, 2 pi)
17     heading in degrees; as model input: the difference to the last frame
====== =====================================================================================================

Source: fact sheet DFA3D, section 13.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lift3d_ros.geometry.rotations import matrix_to_quaternion, yaw_of
from lift3d_ros.types import EgoMotion, Float64Array

CAN_BUS_LENGTH = 18
# What an accelerometer shows on a level road without change of speed; recordings of the training data hold this.
ACCELERATION_AT_REST = (0.0, 0.0, 9.81)

_POSITION = slice(0, 3)
_QUATERNION = slice(3, 7)
_ACCELERATION = slice(7, 10)
_ROTATION_RATE = slice(10, 13)
_VELOCITY = slice(13, 16)
_HEADING = 16
_HEADING_DEG = 17


def absolute_can_bus(
    ego: EgoMotion, acceleration: Any = None, *, repeats_quaternion_scalar: bool = False
) -> Float64Array:
    """Return the vector of one frame with absolute position and heading.

    Args:
        ego: pose of the base frame (not of a LiDAR); unknown velocities count as zero.
        acceleration: (3,) in the base frame, m/s^2, with gravity as an IMU measures it; None, not known, gives zeros
            as in those recordings of the training data that have no vehicle data.
        repeats_quaternion_scalar: w stands in all four places of the quaternion. Published training code assigns an
            object to the four places that numpy reads as its scalar part.

    Returns:
        (18,) float64.
    """
    rotation = ego.T_world_base[:3, :3]
    x, y, z, w = matrix_to_quaternion(rotation)
    heading = float(np.mod(yaw_of(rotation), 2 * np.pi))
    if heading >= 2 * np.pi:  # a tiny negative yaw rounds up to the end that does not belong to the range
        heading = 0.0
    can_bus = np.zeros(CAN_BUS_LENGTH)
    can_bus[_POSITION] = ego.T_world_base[:3, 3]
    can_bus[_QUATERNION] = w if repeats_quaternion_scalar else (w, x, y, z)
    for part, value in (
        (_ACCELERATION, acceleration),
        (_ROTATION_RATE, ego.angular_velocity),
        (_VELOCITY, ego.linear_velocity),
    ):
        if value is not None:
            can_bus[part] = value
    can_bus[_HEADING] = heading
    can_bus[_HEADING_DEG] = np.degrees(heading)
    return can_bus


def can_bus_difference(current: Any, previous: Any | None, *, wraps_yaw: bool = False) -> Float64Array:
    """Return the model input of a frame: position and heading in degrees become differences to the last frame.

    Args:
        current, previous: (18,) of :func:`absolute_can_bus`; `previous` is None for a first frame and after a gap,
            where both differences are zero.
        wraps_yaw: bring the difference of headings to [-180, 180). Published checkpoints were trained without: there
            it is about 360 degrees off in the frame in which the heading passes 360.

    Returns:
        (18,) float64; the arguments stay as they are.
    """
    difference = np.array(current, dtype=np.float64)
    if previous is None:
        difference[_POSITION] = 0.0
        difference[_HEADING_DEG] = 0.0
        return difference
    difference[_POSITION] -= np.asarray(previous)[_POSITION]
    difference[_HEADING_DEG] -= np.asarray(previous)[_HEADING_DEG]
    if wraps_yaw:
        difference[_HEADING_DEG] = np.mod(difference[_HEADING_DEG] + 180.0, 360.0) - 180.0
    return difference
