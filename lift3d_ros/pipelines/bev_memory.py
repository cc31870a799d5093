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
    """What the network is told about its memory; `T_history_current` maps current base points to the last frame."""

    temporal_state: TemporalState
    T_history_current: Float64Array

    @property
    def is_used(self) -> bool:
        """Whether the memory of the last frame goes into this one."""
        return self.temporal_state == "fused"


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

    def advance(self, frame_set: FrameSet) -> MemoryUse:
        """Compare `frame_set` with the last frame and remember it as the new last frame."""
        use = self._compare(frame_set)
        self._stamp_ns, self._ego = frame_set.stamp_ns, frame_set.ego
        return use

    def _compare(self, frame_set: FrameSet) -> MemoryUse:
        if self._stamp_ns is None or frame_set.stamp_ns <= self._stamp_ns:
            return MemoryUse("first_frame", np.eye(4))
        if frame_set.ego is None or self._ego is None:
            return MemoryUse("no_ego_motion", np.eye(4))
        if (frame_set.stamp_ns - self._stamp_ns) * 1e-9 > self._max_gap_s:
            return MemoryUse("gap", np.eye(4))
        T_history_current = np.linalg.inv(self._ego.T_world_base) @ frame_set.ego.T_world_base
        return MemoryUse("fused", np.asarray(T_history_current))

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
