"""Decides for each frame whether the BEV memory may be used, and how the vehicle moved since it was written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.types import EgoMotion, Float64Array, FrameSet, TemporalState


@dataclass(frozen=True, eq=False)
class MemoryUse:
    """What the network is told about its memory.

    Args:
        last, current: ego motion of the frame that wrote the memory and of this one, None where it is not known.
        age_s: time since the frame that wrote the memory, 0 where it is not used.
    """

    temporal_state: TemporalState
    last: EgoMotion | None
    current: EgoMotion | None
    age_s: float = 0.0

    @property
    def is_used(self) -> bool:
        """Whether the memory of the last frame goes into this one."""
        return self.temporal_state == "fused"

    @property
    def T_history_current(self) -> Float64Array:
        """Map points of the current base frame to that of the last frame, (4, 4); identity without memory."""
        if not self.is_used or self.last is None or self.current is None:
            return np.eye(4)
        return np.asarray(np.linalg.inv(self.last.T_world_base) @ self.current.T_world_base)


class BevMemory:
    """Stamp and pose of the frame that wrote the BEV memory."""

    def __init__(self, max_gap_s: float) -> None:
        """Frames farther apart than `max_gap_s` do not share memory."""
        self._max_gap_s = max_gap_s
        self._stamp_ns: int | None = None
        self._ego: EgoMotion | None = None

    def reset(self) -> None:
        """Forget the last frame."""
        self._stamp_ns, self._ego = None, None

    def compare(self, frame_set: FrameSet) -> MemoryUse:
        """Return whether `frame_set` may use the memory of the last frame, and both ego motions."""
        state = self._temporal_state(frame_set)
        age_s = (frame_set.stamp_ns - (self._stamp_ns or 0)) * 1e-9 if state == "fused" else 0.0
        return MemoryUse(state, self._ego, frame_set.ego, age_s)

    def remember(self, frame_set: FrameSet) -> None:
        """Note that `frame_set` has written the memory."""
        self._stamp_ns, self._ego = frame_set.stamp_ns, frame_set.ego

    def _temporal_state(self, frame_set: FrameSet) -> TemporalState:
        if self._stamp_ns is None or frame_set.stamp_ns <= self._stamp_ns:
            return "first_frame"
        if frame_set.ego is None or self._ego is None:
            return "no_ego_motion"
        if (frame_set.stamp_ns - self._stamp_ns) * 1e-9 > self._max_gap_s:
            return "gap"
        return "fused"

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Return stamp and pose as arrays, empty before the first frame."""
        arrays: dict[str, NDArray[Any]] = {}
        if self._stamp_ns is not None:
            arrays["memory.stamp_ns"] = np.array(self._stamp_ns, dtype=np.int64)
        if self._ego is not None:
            arrays["memory.T_world_base"] = self._ego.T_world_base
        return arrays

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Set stamp and pose from a snapshot."""
        self.reset()
        if "memory.stamp_ns" in arrays:
            self._stamp_ns = int(arrays["memory.stamp_ns"])
        if self._stamp_ns is not None and "memory.T_world_base" in arrays:
            self._ego = EgoMotion(self._stamp_ns, arrays["memory.T_world_base"])
