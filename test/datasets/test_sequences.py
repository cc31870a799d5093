"""Windows are histories that the vehicle could have had."""

from __future__ import annotations

import pytest

from lift3d_ros.datasets.sequences import WindowSettings, windows
from lift3d_ros.errors import ConfigError

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
