"""Curves in the ground plane and motion along them.

Road coordinates are s, metres along a curve, and d, metres to its left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lift3d_ros.types import Float64Array

_STEP_M = 0.5


class Path:
    """A smooth curve, kept as points half a metre apart; beyond its ends it stays at its last point."""

    def __init__(self, first_s: float, points: Float64Array, headings: Float64Array) -> None:
        """Take points (P, 2) and directions (P,) in rad, without jumps, from `first_s` on."""
        self.s = first_s + _STEP_M * np.arange(len(points))
        self._x, self._y = np.ascontiguousarray(points[:, 0]), np.ascontiguousarray(points[:, 1])
        self._headings = headings

    @classmethod
    def bent(cls, start: tuple[float, float, float], reach: tuple[float, float], bends: Any) -> Path:
        """Return a curve with the pose `start` (x, y, rad) at s = 0.

        Args:
            reach: first s, at most 0, and last s.
            bends: (B, 2) places s in order and the curvature there, 1/m, positive to the left; linear between.
        """
        s = np.arange(np.floor(reach[0] / _STEP_M), np.ceil(reach[1] / _STEP_M) + 1) * _STEP_M
        bends = np.asarray(bends, dtype=np.float64)
        curvature = np.interp(s, bends[:, 0], bends[:, 1])
        turns = np.concatenate([[0.0], np.cumsum((curvature[1:] + curvature[:-1]) / 2 * _STEP_M)])
        origin = int(np.argmin(np.abs(s)))
        headings = start[2] + turns - turns[origin]
        middle = (headings[1:] + headings[:-1]) / 2
        steps = _STEP_M * np.stack([np.cos(middle), np.sin(middle)], axis=1)
        points = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
        return cls(float(s[0]), points - points[origin] + start[:2], headings)

    @classmethod
    def through(cls, corners: Any) -> Path:
        """Return the curve along a polyline (P, 2) whose points lie close together; s starts at 0."""
        corners = np.asarray(corners, dtype=np.float64)
        lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
        s = np.arange(0.0, lengths[-1], _STEP_M)
        points = np.stack([np.interp(s, lengths, corners[:, axis]) for axis in (0, 1)], axis=1)
        tangents = np.gradient(points, axis=0)
        return cls(0.0, points, np.unwrap(np.arctan2(tangents[:, 1], tangents[:, 0])))

    @property
    def reach(self) -> tuple[float, float]:
        """First and last s."""
        return float(self.s[0]), float(self.s[-1])

    def headings(self, s: Any) -> Float64Array:
        """Return the direction of the curve at `s`, rad."""
        return np.asarray(np.interp(s, self.s, self._headings))

    def points(self, s: Any, d: Any) -> Float64Array:
        """Return world points (..., 2) at road coordinates."""
        s, d = np.broadcast_arrays(np.asarray(s, dtype=np.float64), np.asarray(d, dtype=np.float64))
        heading = self.headings(s)
        x = np.interp(s, self.s, self._x) - d * np.sin(heading)
        y = np.interp(s, self.s, self._y) + d * np.cos(heading)
        return np.stack([x, y], axis=-1)

    def curvature(self, s: Any) -> Float64Array:
        """Return the change of direction at `s`, 1/m."""
        return (self.headings(np.asarray(s) + _STEP_M) - self.headings(np.asarray(s) - _STEP_M)) / (2 * _STEP_M)


@dataclass(frozen=True)
class Speed:
    """A speed that changes evenly once: `start` until `begin_s`, then `rate` for `duration_s`.

    Args:
        start: m/s.
        rate: m/s^2.
    """

    start: float = 0.0
    rate: float = 0.0
    begin_s: float = 0.0
    duration_s: float = 0.0

    def travelled(self, times_s: Float64Array) -> Float64Array:
        """Return the distance from time 0, negative before it, metres."""
        return self._since_start(times_s) - self._since_start(np.zeros(1))

    def at(self, times_s: Float64Array) -> Float64Array:
        """Return the speed, m/s."""
        return self.start + self.rate * np.clip(times_s - self.begin_s, 0.0, self.duration_s)

    @property
    def is_zero(self) -> bool:
        """Whether nothing ever moves."""
        return self.start == 0.0 and self.rate * self.duration_s == 0.0

    def _since_start(self, times_s: Float64Array) -> Float64Array:
        changing = np.clip(times_s - self.begin_s, 0.0, self.duration_s)
        after = np.maximum(times_s - self.begin_s - self.duration_s, 0.0)
        return self.start * times_s + self.rate * (changing**2 / 2 + self.duration_s * after)
