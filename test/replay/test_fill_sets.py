"""Recorded sets get their pictures back; a lost picture is told early, and little is kept meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from lift3d_ros.errors import BagError
from lift3d_ros.replay.sets import RecordedSet, RecordedView, fill_sets
from lift3d_ros.types import CameraImage, CameraModel

S = 1_000_000_000
MODEL = CameraModel("front", "f", 8, 8, np.diag([5.0, 5.0, 1.0]))


def recorded(stamp_ns: int, cameras: tuple[str, ...] = ("front", "back")) -> RecordedSet:
    view = RecordedView(stamp_ns, "f", MODEL, np.eye(4), np.eye(4))
    return RecordedSet(stamp_ns, "base_link", ("front", "back"), (), None, dict.fromkeys(cameras, view))


def image(camera: str, stamp_ns: int) -> CameraImage:
    return CameraImage(camera, stamp_ns, "f", "jpeg", np.zeros(1, np.uint8))


def stamps(wanted: list[RecordedSet], images: Any) -> list[int]:
    return [item.stamp_ns for item in fill_sets(wanted, images, "drive.mcap")]


def both(*seconds: int) -> list[CameraImage]:
    return [image(camera, second * S) for second in seconds for camera in ("front", "back")]


def test_sets_come_in_their_order_and_reading_stops_behind_the_last() -> None:
    rest = iter(both(1, 2, 3, 4, 5, 6))
    assert stamps([recorded(2 * S), recorded(4 * S)], rest) == [2 * S, 4 * S]
    assert len(list(rest)) == 4


@pytest.mark.parametrize("first", [2, 100])
def test_a_lost_picture_is_told_when_its_camera_has_gone_on(first: int) -> None:
    read = 0

    def images() -> Iterator[CameraImage]:
        nonlocal read
        for item in both(*range(first, 1000)):
            read += 1
            yield item

    with pytest.raises(BagError, match=r"drive.mcap: .*'front' at 1000000000 ns.*; give the recording that was played"):
        stamps([recorded(second * S) for second in range(1, 1000)], images())
    assert read < 6


def test_pictures_may_be_recorded_a_little_out_of_order() -> None:
    images = [image("front", 2 * S), image("front", 1 * S), image("back", 1 * S), image("back", 2 * S)]
    assert stamps([recorded(1 * S), recorded(2 * S)], images) == [1 * S, 2 * S]


def test_a_recording_that_starts_again_gives_each_set_twice() -> None:
    wanted = [recorded(second * S) for second in (10, 20, 10, 20)]
    assert stamps(wanted, both(10, 20, 30, 40, 10, 20)) == [10 * S, 20 * S, 10 * S, 20 * S]
