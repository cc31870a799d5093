"""Windows are histories that the vehicle could have had."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lift3d_ros.datasets.sequences import WindowSettings, earlier_frame, windows
from lift3d_ros.errors import ConfigError
from lift3d_ros.pipelines.bev_memory import BevMemory
from lift3d_ros.types import CameraImage, CameraModel, CameraView, EgoMotion, FrameSet

HALF_SECOND = 500_000_000
TEN = [i * HALF_SECOND for i in range(10)]
PLAIN = WindowSettings(length=4, drops_one=False)


def test_a_window_ends_with_its_frame_and_starts_with_the_oldest() -> None:
    found = windows(TEN, PLAIN)
    assert found[:3] == [(0,), (0, 1), (0, 1, 2)]
    assert found[9] == (6, 7, 8, 9)
    assert [window[-1] for window in found] == list(range(10))


def test_one_random_frame_of_the_history_is_left_out() -> None:
    seen = {windows(TEN, WindowSettings(length=3), epoch=epoch)[9] for epoch in range(40)}
    assert seen == {(7, 8, 9), (6, 8, 9), (6, 7, 9)}


def test_strides_are_drawn_for_each_window() -> None:
    settings = WindowSettings(length=3, strides=(1, 2), drops_one=False)
    assert {windows(TEN, settings, epoch=epoch)[9] for epoch in range(20)} == {(7, 8, 9), (5, 7, 9)}


def test_the_same_seed_and_epoch_give_the_same_windows() -> None:
    settings = WindowSettings(strides=(1, 2))
    first = windows(TEN, settings, scene="a", seed=1, epoch=2)
    assert windows(TEN, settings, scene="a", seed=1, epoch=2) == first
    for changed in ({"scene": "b"}, {"seed": 2}, {"epoch": 3}):
        assert windows(TEN, settings, **{"scene": "a", "seed": 1, "epoch": 2, **changed}) != first  # type: ignore[arg-type]


def test_no_history_reaches_over_a_gap() -> None:
    stamps = [*TEN[:4], *(stamp + 10 * HALF_SECOND for stamp in TEN[4:])]
    for epoch in range(20):
        found = windows(stamps, WindowSettings(max_gap_s=2.5), epoch=epoch)
        assert found[4] == (4,)
        assert all(min(window) >= 4 for window in found[4:])


def test_leaving_a_frame_out_opens_no_gap_that_is_too_large() -> None:
    for epoch in range(20):
        for window in windows(TEN, WindowSettings(max_gap_s=0.6), epoch=epoch):
            assert list(window) == list(range(window[0], window[-1] + 1))


def test_frames_without_pose_share_no_memory() -> None:
    found = windows(TEN, PLAIN, has_pose=[i != 5 for i in range(10)])
    assert found[5] == (5,)
    assert found[6] == (6,)
    assert found[8] == (6, 7, 8)


def test_a_window_of_one_frame_has_no_history() -> None:
    assert windows(TEN, WindowSettings(length=1)) == [(i,) for i in range(10)]


def test_steps_of_zero_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'strides' is \[0\]; expected"):
        WindowSettings(strides=(0,))


def test_frames_that_come_fast_have_a_history_of_the_age_that_is_asked_for() -> None:
    ten_hz = [i * HALF_SECOND // 5 for i in range(14)]
    found = windows(ten_hz, WindowSettings(length=3, drops_one=False, step_s=0.5))
    assert found[12] == (2, 7, 12)
    assert found[7] == (0, 2, 7)
    assert found[2] == (0, 2), "where a scene begins, the oldest frame is as near as there is one"


@pytest.mark.parametrize("drops_one", [False, True])
def test_at_the_rate_of_that_age_windows_are_those_without_it(drops_one: bool) -> None:
    jittered = [*(stamp + 20_000_000 * (-1) ** i for i, stamp in enumerate(TEN)), 20 * HALF_SECOND, 21 * HALF_SECOND]
    for epoch in range(10):
        plain, aged = (
            windows(jittered, WindowSettings(3, (1,), 2.5, drops_one, step_s), epoch=epoch) for step_s in (0.0, 0.5)
        )
        assert aged == plain


@pytest.mark.parametrize("rate_hz", [1.0, 2.0, 3.0, 4.0, 7.0, 10.0])
def test_the_earlier_frame_is_the_one_whose_map_the_detector_uses(rate_hz: float) -> None:
    class State:
        def reset(self) -> None: ...

        def snapshot(self) -> dict[str, Any]:
            return {}

        def restore(self, arrays: object) -> None: ...

    model = CameraModel("front", "front_optical", 10, 10, np.diag([10.0, 10.0, 1.0]))
    image = CameraImage("front", 0, "front_optical", "jpeg", np.zeros(0, np.uint8))
    view = CameraView(image, model, np.eye(4))
    memory = BevMemory(State, max_gap_s=2.5, history_s=0.5)
    stamps = [round(1e9 * (1.0 + index / rate_hz)) for index in range(20)]
    for index, stamp_ns in enumerate(stamps):
        frames = FrameSet(stamp_ns, {"front": view}, ego=EgoMotion(stamp_ns, np.eye(4)))
        age_s = memory.compare(frames).age_s
        memory.remember(frames, memory.take(frames))
        if index:
            before = earlier_frame(stamps, index, 0.5)
            assert (stamp_ns - stamps[before]) * 1e-9 == pytest.approx(age_s)
