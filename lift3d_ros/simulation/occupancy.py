"""Which ground is taken when: keeps objects of a scene from ever touching each other."""

from __future__ import annotations

import numpy as np

from lift3d_ros.types import Float64Array


class Occupancy:
    """Footprints of objects at fixed times."""

    def __init__(self, times_s: Float64Array) -> None:
        """Take the times at which objects are compared."""
        self.times_s = times_s
        self._count = 0
        self._middles = np.zeros((64, len(times_s), 2))
        self._yaws = np.zeros((64, len(times_s)))
        self._halves = np.zeros((64, 2))

    def is_free(self, states: Float64Array, center: Float64Array, size: Float64Array, margin: float) -> bool:
        """Return whether a footprint, grown by `margin` metres to all sides, never meets another one.

        Args:
            states: (T, >=3) x, y, yaw of the object at each time.
            center, size: middle and size of its box in the object frame, metres.
        """
        if not self._count:
            return True
        middles, half = _middles(states, center), size[:2] / 2 + margin
        others, n = self._middles[: self._count], self._count
        reach = np.hypot(half[0], half[1]) + np.hypot(self._halves[:n, 0], self._halves[:n, 1])
        offsets = others - middles
        near, when = np.nonzero(np.einsum("ntk,ntk->nt", offsets, offsets) < reach[:, None] ** 2)
        if not len(near):
            return True
        apart = offsets[near, when]
        return not bool(_overlap(apart, half, states[when, 2], self._halves[near], self._yaws[near, when]).any())

    def is_clear(self, x: float, y: float, radius: float) -> bool:
        """Return whether no object ever comes nearer than `radius` metres to a point."""
        n = self._count
        offset = np.array([x, y]) - self._middles[:n]
        c, s = np.cos(self._yaws[:n]), np.sin(self._yaws[:n])
        local = np.stack([c * offset[..., 0] + s * offset[..., 1], c * offset[..., 1] - s * offset[..., 0]], axis=-1)
        beyond = np.maximum(np.abs(local) - self._halves[:n, None], 0.0)
        return not n or bool((np.einsum("ntk,ntk->nt", beyond, beyond) >= radius**2).all())

    def add(self, states: Float64Array, center: Float64Array, size: Float64Array) -> None:
        """Take the ground of a footprint."""
        if self._count == len(self._halves):
            self._middles = np.concatenate([self._middles, np.zeros_like(self._middles)])
            self._yaws = np.concatenate([self._yaws, np.zeros_like(self._yaws)])
            self._halves = np.concatenate([self._halves, np.zeros_like(self._halves)])
        self._middles[self._count] = _middles(states, center)
        self._yaws[self._count] = states[:, 2]
        self._halves[self._count] = size[:2] / 2
        self._count += 1


def _middles(states: Float64Array, center: Float64Array) -> Float64Array:
    c, s = np.cos(states[:, 2]), np.sin(states[:, 2])
    return np.stack(
        [states[:, 0] + c * center[0] - s * center[1], states[:, 1] + s * center[0] + c * center[1]], axis=1
    )


def _overlap(
    apart: Float64Array, half: Float64Array, yaws: Float64Array, halves: Float64Array, other_yaws: Float64Array
) -> Float64Array:
    """Return for pairs of rectangles whether no axis of either separates them, (P,)."""
    c, s = np.abs(np.cos(yaws - other_yaws)), np.abs(np.sin(yaws - other_yaws))
    meets = np.ones(len(apart), dtype=bool)
    for angle, own, other in ((yaws, half[None], halves), (other_yaws, halves, half[None])):
        along = np.abs(np.cos(angle) * apart[:, 0] + np.sin(angle) * apart[:, 1])
        across = np.abs(np.cos(angle) * apart[:, 1] - np.sin(angle) * apart[:, 0])
        meets &= along < own[:, 0] + c * other[:, 0] + s * other[:, 1]
        meets &= across < own[:, 1] + s * other[:, 0] + c * other[:, 1]
    return meets
