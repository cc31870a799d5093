"""A camera that delivers in vain is named with its topic, the cause and the remedy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import get_args

import pytest

from lift3d_ros.pipelines.frame_sets import SyncConfig, camera_collector
from lift3d_ros.pipelines.unused_pictures import cameras_not_used, dropped_pictures
from lift3d_ros.sync.collector import StreamCollector
from lift3d_ros.sync.streams import DropReason

TOPICS = {name: f"/{name}/image" for name in ("front", "left", "back")}
MS = 1_000_000


@dataclass(frozen=True)
class Item:
    stamp_ns: int


def deliver(back_stamps_ms: list[int]) -> StreamCollector:
    """Two cameras deliver every 500 ms from 10 s on, `back` a little later with the given stamps."""
    collector = camera_collector(dict.fromkeys(TOPICS, 0.0), SyncConfig(), has_ego_motion=False)
    for index, back_ms in enumerate(back_stamps_ms):
        stamp_ns = (10_000 + 500 * index) * MS
        collector.add("front", Item(stamp_ns), stamp_ns)
        collector.add("left", Item(stamp_ns), stamp_ns)
        collector.add("back", Item(back_ms * MS), stamp_ns + MS)
        collector.expire(stamp_ns + 300 * MS)
    return collector


@pytest.mark.parametrize(
    ("stamps_ms", "expected"),
    [
        pytest.param([0] * 8, "their stamps are 0; let the driver stamp", id="not stamped"),
        pytest.param([5000 + 500 * i for i in range(8)], r"behind the other cameras.*offset_s", id="behind"),
        pytest.param([10_600 + 500 * i for i in range(8)], r"ahead of the other cameras; .*offset_s", id="ahead"),
    ],
)
def test_a_camera_whose_pictures_are_never_used_is_named(stamps_ms: list[int], expected: str) -> None:
    collector = deliver(stamps_ms)
    (sentence,) = cameras_not_used(collector, TOPICS).values()
    assert sentence.startswith("camera 'back': its last ")
    assert " pictures on /back/image are not used: " in sentence
    assert re.search(expected, sentence), sentence


def test_one_picture_that_is_not_used_is_no_reason_to_worry_but_is_counted() -> None:
    collector = deliver([10_000, 10_500, 10_500, 11_500])
    assert cameras_not_used(collector, TOPICS) == {}
    (sentence,) = dropped_pictures(collector, TOPICS)
    assert sentence.startswith("camera 'back': 1 of its 4 pictures on /back/image are not used: each has the stamp of")


def test_a_camera_that_is_used_again_is_no_longer_named() -> None:
    assert cameras_not_used(deliver([0] * 6 + [13_000, 13_500, 14_000]), TOPICS) == {}


@pytest.mark.parametrize("reason", get_args(DropReason))
def test_every_reason_has_a_cause_and_a_remedy(reason: DropReason) -> None:
    collector = deliver([10_000])
    collector.status["back"].note_drop(reason)
    (sentence,) = dropped_pictures(collector, TOPICS)
    assert ": 1 of its 1 pictures" in sentence
    assert "; " in sentence
