"""Decides for each frame which earlier BEV map the network may use, and how the vehicle moved since that was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.engines.protocol import Arrays, EngineState
from lift3d_ros.types import EgoMotion, Float64Array, FrameSet, TemporalState

_MAPS_PER_AGE = 8  # more maps than that are not kept, however fast frames come


@dataclass(frozen=True, eq=False)
class _Map:
    """A BEV map that an engine holds, with stamp and ego motion of the frame that it was made from."""

    stamp_ns: int
    ego: EgoMotion | None
    state: EngineState


@dataclass(frozen=True, eq=False)
class MemoryUse:
    """What the network is told about its memory.

    Args:
        last, current: ego motion of the frame that made the map and of this one, None where it is not known.
        age_s: time since the frame that made the map, 0 where none is used.
    """

    temporal_state: TemporalState
    last: EgoMotion | None
    current: EgoMotion | None
    age_s: float = 0.0

    @property
    def is_used(self) -> bool:
        """Whether an earlier map goes into this frame."""
        return self.temporal_state == "fused"

    @property
    def T_history_current(self) -> Float64Array:
        """Map points of the current base frame to that of the earlier frame, (4, 4); identity without memory."""
        if not self.is_used or self.last is None or self.current is None:
            return np.eye(4)
        return np.asarray(np.linalg.inv(self.last.T_world_base) @ self.current.T_world_base)


class BevMemory:
    """The BEV maps of the last frames, of which each frame uses the one that is about as old as in training.

    A network that was trained on two frames a second sees nothing move between two frames of a camera: of frames that
    come faster several sequences run side by side, each of which has the age that the network knows.
    """

    def __init__(self, new_state: Callable[[], EngineState], max_gap_s: float, history_s: float = 0.0) -> None:
        """Begin without maps.

        Args:
            new_state: makes the buffers of one map.
            max_gap_s: frames farther apart do not share memory.
            history_s: age of the map to use, as near as there is one; 0 takes that of the last frame.
        """
        self._new_state, self._max_gap_s, self._history_s = new_state, max_gap_s, history_s
        self._maps: list[_Map] = []  # oldest first
        self._last_ns = 0  # stamp of the last frame, whose map need not have been kept

    def reset(self) -> None:
        """Forget all maps."""
        self._maps.clear()

    def compare(self, frame_set: FrameSet) -> MemoryUse:
        """Return whether `frame_set` may use an earlier map, and the ego motion of both."""
        state = self._temporal_state(frame_set)
        if state != "fused":
            return MemoryUse(state, self._maps[-1].ego if self._maps else None, frame_set.ego)
        chosen = self._maps[self._chosen(frame_set.stamp_ns)]
        return MemoryUse(state, chosen.ego, frame_set.ego, _age_s(chosen, frame_set.stamp_ns))

    def take(self, frame_set: FrameSet) -> EngineState:
        """Return the buffers to run `frame_set` on: they hold the map that it uses, and will hold its own."""
        if self._temporal_state(frame_set) != "fused":
            self._maps.clear()
            return self._new_state()
        stamp_ns = frame_set.stamp_ns
        del self._maps[: self._chosen(stamp_ns)]
        if self._is_last_use(stamp_ns):
            return self._maps.pop(0).state
        copy = self._new_state()
        copy.restore(self._maps[0].state.snapshot())
        return copy

    def remember(self, frame_set: FrameSet, state: EngineState) -> None:
        """Keep the map of `frame_set`, which `state` holds now."""
        self._last_ns = frame_set.stamp_ns
        if self._is_worth_keeping(frame_set.stamp_ns):
            self._maps.append(_Map(frame_set.stamp_ns, frame_set.ego, state))

    def snapshot(self) -> Arrays:
        """Return all maps as arrays, empty before the first frame."""
        arrays: Arrays = {"last_ns": np.array(self._last_ns, dtype=np.int64)} if self._maps else {}
        for number, one in enumerate(self._maps):
            parts = {**one.state.snapshot(), "stamp_ns": np.array(one.stamp_ns, dtype=np.int64)}
            if one.ego is not None:
                parts["T_world_base"] = one.ego.T_world_base
            arrays |= {f"map{number}.{name}": array for name, array in parts.items()}
        return arrays

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Set the maps from a snapshot."""
        self.reset()
        while f"map{len(self._maps)}.stamp_ns" in arrays:
            prefix = f"map{len(self._maps)}."
            parts = {name.removeprefix(prefix): part for name, part in arrays.items() if name.startswith(prefix)}
            stamp_ns = int(parts.pop("stamp_ns"))
            pose = parts.pop("T_world_base", None)
            state = self._new_state()
            state.restore(parts)
            self._maps.append(_Map(stamp_ns, None if pose is None else EgoMotion(stamp_ns, pose), state))
        if self._maps:
            # Snapshots of earlier versions do not tell it; where every map is kept it is that of the last one.
            self._last_ns = int(arrays.get("last_ns", self._maps[-1].stamp_ns))

    def _temporal_state(self, frame_set: FrameSet) -> TemporalState:
        if not self._maps or frame_set.stamp_ns <= self._last_ns:
            return "first_frame"
        if frame_set.ego is None or self._maps[-1].ego is None:
            return "no_ego_motion"
        if _age_s(self._maps[-1], frame_set.stamp_ns) > self._max_gap_s:
            return "gap"
        return "fused"

    def _chosen(self, stamp_ns: int) -> int:
        misses = [self._miss_ms(_age_s(one, stamp_ns)) for one in self._maps]
        return min(range(len(misses)), key=lambda number: (misses[number], -number))

    def _is_last_use(self, stamp_ns: int) -> bool:
        """Return whether a frame that follows at the same distance would use a newer map than the oldest."""
        period_s = (stamp_ns - self._last_ns) * 1e-9
        newer_s = [_age_s(one, stamp_ns) for one in self._maps[1:]]
        if self._is_worth_keeping(stamp_ns):
            newer_s.append(0.0)
        oldest_miss = self._miss_ms(_age_s(self._maps[0], stamp_ns) + period_s)
        return any(self._miss_ms(age_s + period_s) <= oldest_miss for age_s in newer_s)

    def _miss_ms(self, age_s: float) -> int:
        return round(1e3 * abs(age_s - self._history_s))

    def _is_worth_keeping(self, stamp_ns: int) -> bool:
        return not self._maps or _age_s(self._maps[-1], stamp_ns) >= self._history_s / _MAPS_PER_AGE


def _age_s(one: _Map, stamp_ns: int) -> float:
    return (stamp_ns - one.stamp_ns) * 1e-9
