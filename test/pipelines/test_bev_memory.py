"""BEV memory is used only where the motion since then is known, and is about as old as in training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from lift3d_ros.engines.protocol import Arrays
from lift3d_ros.pipelines.bev_memory import BevMemory, MemoryUse
from lift3d_ros.types import CameraImage, CameraModel, CameraView, EgoMotion, FrameSet

MODEL = CameraModel("front", "front_optical", 10, 10, np.diag([10.0, 10.0, 1.0]))
VIEW = CameraView(CameraImage("front", 0, "front_optical", "jpeg", np.zeros(0, np.uint8)), MODEL, np.eye(4))


def frame(stamp_s: float, x: float | None) -> FrameSet:
    ego = None
    if x is not None:
        T_world_base = np.eye(4)
        T_world_base[0, 3] = x
        ego = EgoMotion(int(stamp_s * 1e9), T_world_base)
    return FrameSet(int(stamp_s * 1e9), {"front": VIEW}, ego=ego)


class Written:
    """State that holds the stamp of the frame that was run on it last; counts what is copied."""

    copies = 0

    def __init__(self) -> None:
        self.stamp_ns = -1

    def reset(self) -> None:
        self.stamp_ns = -1

    def snapshot(self) -> Arrays:
        return {"history": np.array(self.stamp_ns)}

    def restore(self, arrays: Mapping[str, Any]) -> None:
        self.stamp_ns = int(arrays["history"])
        Written.copies += 1


def new_memory(history_s: float = 0.0) -> BevMemory:
    Written.copies = 0
    return BevMemory(Written, max_gap_s=1.0, history_s=history_s)


def advance(memory: BevMemory, item: FrameSet) -> MemoryUse:
    """Run one frame; the map that it is given is the one that was promised."""
    use = memory.compare(item)
    state = memory.take(item)
    assert isinstance(state, Written)
    if use.is_used:
        assert item.stamp_ns - state.stamp_ns == round(use.age_s * 1e9)
    state.stamp_ns = item.stamp_ns
    memory.remember(item, state)
    return use


def states(*frames: FrameSet) -> list[str]:
    memory = new_memory()
    return [advance(memory, item).temporal_state for item in frames]


def test_consecutive_frames_with_ego_motion_are_fused() -> None:
    memory = new_memory()
    assert advance(memory, frame(0, 10.0)).temporal_state == "first_frame"
    use = advance(memory, frame(0.5, 13.0))
    assert use.is_used
    # A point 5 m ahead now was 8 m ahead of where the vehicle stood then.
    assert (use.T_history_current @ [5.0, 0, 0, 1])[0] == pytest.approx(8.0)


def test_a_frame_that_was_not_remembered_leaves_the_motion_since_the_last_one() -> None:
    memory = new_memory()
    advance(memory, frame(0, 10.0))
    memory.compare(frame(0.3, 12.0))
    assert (memory.compare(frame(0.5, 13.0)).T_history_current @ [0, 0, 0, 1])[0] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        pytest.param([frame(0, 0), frame(3, 0)], ["first_frame", "gap"], id="gap"),
        pytest.param([frame(5, 0), frame(4, 0)], ["first_frame", "first_frame"], id="clock went back"),
        pytest.param([frame(0, 0), frame(0.1, None)], ["first_frame", "no_ego_motion"], id="pose lost"),
        pytest.param([frame(0, None), frame(0.1, 0)], ["first_frame", "no_ego_motion"], id="pose of the last unknown"),
        pytest.param(
            [frame(0, 0), frame(0.1, None), frame(0.2, 0), frame(0.3, 0)],
            ["first_frame", "no_ego_motion", "no_ego_motion", "fused"],
            id="fusion comes back by itself",
        ),
    ],
)
def test_memory_is_left_out_and_the_reason_is_given(frames: list[FrameSet], expected: list[str]) -> None:
    assert states(*frames) == expected


def test_reset_forgets_and_a_snapshot_restores() -> None:
    memory = new_memory()
    advance(memory, frame(0, 1.0))
    snapshot = memory.snapshot()
    memory.reset()
    assert memory.snapshot() == {}
    assert advance(memory, frame(0.5, 2.0)).temporal_state == "first_frame"
    memory.restore(snapshot)
    assert advance(memory, frame(0.5, 2.0)).temporal_state == "fused"


@pytest.mark.parametrize("rate_hz", [2, 3, 10, 12.5, 30, 100])
def test_maps_are_as_old_as_in_training_at_any_frame_rate(rate_hz: float) -> None:
    memory, ages = new_memory(0.5), list[float]()
    for number in range(int(3 * rate_hz)):
        use = advance(memory, frame(number / rate_hz, 5.0 * number / rate_hz))
        ages.append(use.age_s)
        if use.is_used:
            assert (use.T_history_current @ [0, 0, 0, 1])[0] == pytest.approx(5.0 * use.age_s)
    settled = np.array(ages[int(rate_hz) + 1 :])
    assert np.abs(settled - 0.5).max() <= max(0.5 / rate_hz, 0.5 / 8) + 1e-6
    # A snapshot has an array for the map, its stamp and its pose.
    assert len(memory.snapshot()) / 3 <= 10
    # The first maps are used again and again, until one is old enough; at a usual rate nothing is copied later.
    assert Written.copies <= (0 if rate_hz <= 3 else 0.5 * rate_hz if rate_hz <= 12.5 else len(ages))


def test_without_an_age_the_last_map_is_used_and_nothing_is_copied() -> None:
    memory = new_memory()
    uses = [advance(memory, frame(0.1 * number, 0.0)) for number in range(5)]
    assert [use.age_s for use in uses] == pytest.approx([0, 0.1, 0.1, 0.1, 0.1])
    assert Written.copies == 0


def test_a_clock_that_goes_back_to_a_frame_whose_map_was_not_kept_starts_afresh() -> None:
    memory = new_memory(0.5)
    for number in range(4):  # of these the first alone is kept
        advance(memory, frame(0.01 * number, 0.0))
    assert memory.compare(frame(0.02, 0.0)).temporal_state == "first_frame"


@pytest.mark.parametrize("rate_hz", [10, 25, 30, 60])
@pytest.mark.parametrize("frames_before", [40, 41, 42, 43])  # of fast frames not every map is kept
def test_a_snapshot_goes_on_with_the_same_maps(rate_hz: float, frames_before: int) -> None:
    memory, resumed = new_memory(0.5), new_memory(0.5)
    for number in range(frames_before):
        advance(memory, frame(number / rate_hz, float(number)))
    resumed.restore(memory.snapshot())
    for number in range(frames_before, 2 * frames_before):
        item = frame(number / rate_hz, float(number))
        assert advance(resumed, item).age_s == advance(memory, item).age_s


def test_after_a_restart_a_frame_between_the_last_map_and_the_last_frame_is_an_earlier_one() -> None:
    memory, resumed = new_memory(0.5), new_memory(0.5)
    for number in range(4):  # of these the first alone is kept
        advance(memory, frame(0.01 * number, 0.0))
    resumed.restore(memory.snapshot())
    assert resumed.compare(frame(0.02, 0.0)).temporal_state == "first_frame"


def test_a_snapshot_of_an_earlier_version_is_restored_as_it_was_then() -> None:
    memory, resumed = new_memory(0.5), new_memory(0.5)
    for number in range(4):
        advance(memory, frame(0.5 * number, 0.0))
    snapshot = memory.snapshot()
    del snapshot["last_ns"]
    resumed.restore(snapshot)
    assert resumed.compare(frame(1.5, 0.0)).temporal_state == "first_frame"
    assert resumed.compare(frame(2.0, 0.0)).age_s == pytest.approx(0.5)
