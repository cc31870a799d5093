"""Requests for objects of a recording: its topics, the interval, boxes of the user."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from tabletop import BOXES_TOPIC, IMAGE_TOPIC, INFO_TOPIC, START_NS, Tabletop, ball_box, camera_image

from lift3d_ros.bags.reader import open_bag
from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.errors import BagError
from lift3d_ros.models.lrm.object_image import PixelBox
from lift3d_ros.pipelines.object_sets import ObjectInputConfig, ObjectRequest, ObjectSyncConfig
from lift3d_ros.pipelines.object_triggers import TriggerConfig
from lift3d_ros.replay.bag_objects import BagObjects, RecordedTopics
from lift3d_ros.types import Boxes3D


def requests(
    path: Path,
    topics: RecordedTopics | None = None,
    box: PixelBox | None = None,
    **trigger: Any,
) -> tuple[dict[str, str], list[ObjectRequest]]:
    with open_bag(path) as reader:
        source = BagObjects(
            reader, topics or RecordedTopics(), ObjectInputConfig(), ObjectSyncConfig(), TriggerConfig(**trigger), box
        )
        return source.topics, list(source.requests())


def test_topics_are_found_and_objects_come_at_the_interval(tmp_path: Path) -> None:
    topics, found = requests(Tabletop(frames=5).write(tmp_path / "bag"), min_interval_s=2.0)
    assert topics == {"image": IMAGE_TOPIC, "camera_info": INFO_TOPIC, "boxes": BOXES_TOPIC, "mask": "", "depth": ""}
    assert [request.stamp_ns - START_NS for request in found] == [0, 2 * 10**9, 4 * 10**9]
    assert {request.key for request in found} == {"ball 7"}
    assert all(request.camera is not None and request.box_3d is not None for request in found)


def test_the_box_of_the_user_holds_in_every_picture(tmp_path: Path) -> None:
    box = PixelBox(65, 105, 175, 215)
    topics, found = requests(Tabletop(frames=3).write(tmp_path / "bag"), box=box, min_interval_s=0.5)
    assert topics["boxes"] == ""
    assert [request.box for request in found] == [box] * 3
    assert {request.label for request in found} == {"object"}


class WithoutBoxes(Tabletop):
    def boxes(self, index: int) -> Boxes3D | None:
        return None


class TwoCameras(Tabletop):
    def more(self) -> Iterable[tuple[int, Callable[[BagWriter], Any]]]:
        yield START_NS, lambda w: w.image("/rear/image", camera_image(), START_NS)


class Labelled(Tabletop):
    def more(self) -> Iterable[tuple[int, Callable[[BagWriter], Any]]]:
        yield START_NS, lambda w: w.boxes("/ground_truth/boxes", ball_box((1, 2, 3)), START_NS, START_NS)


def test_labels_are_not_taken_for_detections(tmp_path: Path) -> None:
    topics, _ = requests(Labelled().write(tmp_path / "bag"))
    assert topics["boxes"] == BOXES_TOPIC


@pytest.mark.parametrize(
    ("recording", "topics", "message"),
    [
        pytest.param(
            WithoutBoxes(), {}, "topics of detected objects: none; expected one. Record one, or say", id="none"
        ),
        pytest.param(TwoCameras(), {}, "Name it as topics.image in --params", id="two"),
        pytest.param(Tabletop(), {"image": "/front/imag"}, "did you mean '/front/image'", id="name"),
        pytest.param(Tabletop(), {"depth": "/boxes"}, "is no topic of type sensor_msgs/msg/Image", id="type"),
    ],
)
def test_what_is_missing_or_ambiguous_is_named_with_the_remedy(
    recording: Tabletop, topics: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(BagError, match=message):
        requests(recording.write(tmp_path / "bag"), RecordedTopics(**topics))


def test_a_recording_without_calibration_says_what_that_costs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = Tabletop(is_calibrated=False).write(tmp_path / "bag")
    with caplog.at_level(logging.WARNING):
        _, found = requests(path)
    assert found == []
    assert "no calibration in the frame of the pictures: meshes have no size" in caplog.text
    assert caplog.text.count("3D boxes cannot be placed in the picture") == 1
