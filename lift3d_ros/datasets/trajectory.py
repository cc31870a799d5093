"""The path of a vehicle over time, known at some stamps and interpolated between them."""

from __future__ import annotations

import bisect
from collections.abc import Mapping

import numpy as np

from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.rotations import matrix_to_quaternion, quaternion_to_matrix, slerp
from lift3d_ros.types import Float64Array

# Two poses that lie closer together than this do not tell the velocity well.
_MIN_BASELINE_NS = 200_000_000


class Trajectory:
    """Poses by stamp; between two of them linear in position and on the shortest arc in rotation."""

    def __init__(self, poses: Mapping[int, Float64Array]) -> None:
        """Take poses (4, 4) by stamp in nanoseconds, at least one."""
        self._stamps = sorted(poses)
        self._poses = [np.asarray(poses[stamp_ns]) for stamp_ns in self._stamps]

    @property
    def stamps_ns(self) -> tuple[int, ...]:
        """The stamps at which the pose is known, in order."""
        return tuple(self._stamps)

    def at(self, stamp_ns: int) -> Float64Array:
        """Return the pose (4, 4); outside of the known stamps the nearest motion goes on, a single pose stays."""
        stamps = self._stamps
        after = bisect.bisect_left(stamps, stamp_ns)
        if after < len(stamps) and stamps[after] == stamp_ns:
            return self._poses[after]
        if len(stamps) == 1:
            return self._poses[0]
        if after == 0:
            far = bisect.bisect_left(stamps, stamps[0] + _MIN_BASELINE_NS)
            return self._blend(0, min(far, len(stamps) - 1), stamp_ns)
        if after == len(stamps):
            far = bisect.bisect_right(stamps, stamps[-1] - _MIN_BASELINE_NS) - 1
            return self._blend(max(far, 0), len(stamps) - 1, stamp_ns)
        return self._blend(after - 1, after, stamp_ns)

    def _blend(self, first: int, second: int, stamp_ns: int) -> Float64Array:
        T0, T1 = self._poses[first], self._poses[second]
        fraction = (stamp_ns - self._stamps[first]) / (self._stamps[second] - self._stamps[first])
        rotation = slerp(matrix_to_quaternion(T0[:3, :3]), matrix_to_quaternion(T1[:3, :3]), fraction)
        position = (1.0 - fraction) * T0[:3, 3] + fraction * T1[:3, 3]
        return make_transform(quaternion_to_matrix(rotation), position)
