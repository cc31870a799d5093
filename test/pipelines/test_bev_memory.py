"""BEV memory is used only where the motion since the last frame is known."""

from __future__ import annotations

import numpy as np
import pytest

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


def advance(memory: BevMemory, item: FrameSet) -> MemoryUse:
    use = memory.compare(item)
    memory.remember(item)
    return use


def states(*frames: FrameSet) -> list[str]:
    memory = BevMemory(max_gap_s=1.0)
    return [advance(memory, item).temporal_state for item in frames]


def test_consecutive_frames_with_ego_motion_are_fused() -> None:
    memory = BevMemory(max_gap_s=1.0)
    assert advance(memory, frame(0, 10.0)).temporal_state == "first_frame"
    use = advance(memory, frame(0.5, 13.0))
    assert use.is_used
    # A point 5 m ahead now was 8 m ahead of where the vehicle stood then.
    assert (use.T_history_current @ [5.0, 0, 0, 1])[0] == pytest.approx(8.0)


def test_a_frame_that_was_not_remembered_leaves_the_motion_since_the_last_one() -> None:
    memory = BevMemory(max_gap_s=1.0)
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
    memory = BevMemory(max_gap_s=1.0)
    advance(memory, frame(0, 1.0))
    snapshot = memory.snapshot()
    memory.reset()
    assert memory.snapshot() == {}
    assert advance(memory, frame(0.5, 2.0)).temporal_state == "first_frame"
    memory.restore(snapshot)
    assert advance(memory, frame(0.5, 2.0)).temporal_state == "fused"
