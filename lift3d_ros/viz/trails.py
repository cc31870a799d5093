"""Where tracked objects have been during the last seconds, for pictures and markers."""

from __future__ import annotations

import numpy as np

from lift3d_ros.geometry.rigid import invert, transform_points
from lift3d_ros.types import Boxes3D, EgoMotion, Float64Array


class TrackTrails:
    """The ways of the tracks of one sequence of frames, kept in the world frame."""

    def __init__(self, duration_s: float = 3.0) -> None:
        """Remember the last `duration_s` seconds."""
        self._duration_ns = round(duration_s * 1e9)
        self._stamp_ns: int | None = None
        self._points: dict[int, list[tuple[int, Float64Array]]] = {}

    def add(self, boxes: Boxes3D, stamp_ns: int, ego: EgoMotion | None) -> dict[int, Float64Array]:
        """Note where the boxes are; return the way of each that has moved on since it was first seen.

        Args:
            boxes: in the base frame at `stamp_ns`.
            ego: without it everything is forgotten.

        Returns:
            Track id -> (K, 3) points on the ground below the object, oldest first, in the base frame at `stamp_ns`.
        """
        if ego is None or (self._stamp_ns is not None and stamp_ns <= self._stamp_ns):
            self._points.clear()
        self._stamp_ns = stamp_ns
        if ego is None:
            return {}
        assert boxes.track_ids is not None
        feet = boxes.centers - np.array([0.0, 0.0, 0.5]) * boxes.sizes
        for track_id, point in zip(boxes.track_ids.tolist(), transform_points(ego.T_world_base, feet), strict=True):
            if track_id >= 0:
                self._points.setdefault(track_id, []).append((stamp_ns, point))
        oldest_ns = stamp_ns - self._duration_ns
        recent = {key: [item for item in items if item[0] >= oldest_ns] for key, items in self._points.items()}
        self._points = {key: items for key, items in recent.items() if items}
        T_base_world = invert(ego.T_world_base)
        return {
            key: transform_points(T_base_world, np.array([point for _, point in items]))
            for key, items in self._points.items()
            if len(items) > 1 and items[-1][0] == stamp_ns
        }
