"""Keypoints of a recording are found with what belongs to them, and lifted the same way each time."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from known_shapes import CAMERA, known_lifter
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from walk import INFO_TOPIC, KEYPOINTS_TOPIC, Walk

from lift3d_ros.bags.reader import open_bag
from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.errors import BagError, Lift3dError
from lift3d_ros.pipelines.keypoint_sets import (
    KeypointInputConfig,
    KeypointSet,
    KeypointSetLifter,
    KeypointSyncConfig,
    StampedKeypoints,
)
from lift3d_ros.replay.bag_keypoints import BagKeypoints, RecordedTopics
from lift3d_ros.replay.run import FrameRange
from lift3d_ros.replay.skeleton_run import SKELETONS_FILE, check_unused, run_lifter


def sets_of(path: Path, **topics: str) -> tuple[list[KeypointSet], dict[str, str]]:
    with open_bag(path) as reader:
        source = BagKeypoints(reader, RecordedTopics(**topics), KeypointInputConfig(), KeypointSyncConfig(), 256)
        return list(source.sets()), source.topics


class WithAnotherCamera(Walk):
    """A second camera's calibration and keypoints are recorded, too."""

    def more(self) -> Iterable[tuple[int, Callable[[BagWriter], Any]]]:
        t = self.start_ns
        other = dataclasses.replace(CAMERA, frame_id="rear_optical")
        rear = dataclasses.replace(self.keypoints(0), frame_id="rear_optical")
        yield t, lambda w: w.camera_info("/rear/camera_info", other, t, t)
        yield t, lambda w: w.keypoints("/rear/keypoints", rear, t)


def test_keypoints_calibration_and_gravity_are_found(tmp_path: Path) -> None:
    sets, topics = sets_of(Walk(frames=3).write(tmp_path / "walk"))
    assert topics == {"keypoints": KEYPOINTS_TOPIC, "camera_info": INFO_TOPIC, "depth": "", "boxes": ""}
    assert [item.stamp_ns for item in sets] == [Walk().stamp_ns(index) for index in range(3)]
    assert all(item.camera is not None and item.problems == () for item in sets)
    np.testing.assert_allclose(sets[0].up, [0.0, -np.cos(0.2), -np.sin(0.2)], atol=1e-6)
    assert [instance.skeleton for instance in sets[0].keypoints.instances] == ["coco17", "arm"]


def test_of_several_cameras_one_is_named_and_its_calibration_goes_with_it(tmp_path: Path) -> None:
    bag = WithAnotherCamera(frames=2).write(tmp_path / "walk")
    with pytest.raises(BagError, match=r"topics of keypoints: /front/keypoints, /rear/keypoints; expected one .* Name"):
        sets_of(bag)
    _, topics = sets_of(bag, keypoints="/front/keypoints")
    assert topics["camera_info"] == INFO_TOPIC
    (rear,), topics = sets_of(bag, keypoints="/rear/keypoints")
    assert topics["camera_info"] == "/rear/camera_info"
    assert rear.camera is not None


YOLO_TYPES = {
    "DetectionArray": "std_msgs/Header header\nyolo_msgs/Detection[] detections",
    "Detection": "int32 class_id\nstring class_name\nfloat64 score\nstring id\nyolo_msgs/KeyPoint2DArray keypoints",
    "KeyPoint2DArray": "yolo_msgs/KeyPoint2D[] data",
    "KeyPoint2D": "int32 id\nyolo_msgs/Point2D point\nfloat64 score",
    "Point2D": "float64 x\nfloat64 y",
}


def test_a_recording_of_yolo_ros_is_read_with_the_definitions_that_it_holds(tmp_path: Path) -> None:
    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    for name, text in YOLO_TYPES.items():
        types.update(get_types_from_msg(text, f"yolo_msgs/msg/{name}"))
    store.register(types)

    def new(kind: str, **fields: Any) -> Any:
        return store.types[kind](**fields)

    point = new("yolo_msgs/msg/KeyPoint2D", id=3, point=new("yolo_msgs/msg/Point2D", x=10.0, y=20.0), score=0.8)
    keypoints = new("yolo_msgs/msg/KeyPoint2DArray", data=[point])
    person = new("yolo_msgs/msg/Detection", class_id=0, class_name="person", score=0.9, id="4", keypoints=keypoints)
    stamp = new("builtin_interfaces/msg/Time", sec=5, nanosec=7)
    message = new(
        "yolo_msgs/msg/DetectionArray",
        header=new("std_msgs/msg/Header", stamp=stamp, frame_id="front_optical"),
        detections=[person],
    )
    with Writer(tmp_path / "yolo", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/yolo/tracking", "yolo_msgs/msg/DetectionArray", typestore=store)
        writer.write(connection, 1, store.serialize_cdr(message, "yolo_msgs/msg/DetectionArray"))
    (item,), topics = sets_of(tmp_path / "yolo")
    (found,) = item.keypoints.instances
    assert topics["keypoints"] == "/yolo/tracking"
    assert (item.stamp_ns, found.track_id, found.category) == (5_000_000_007, 4, "person")
    assert found.points[2].tolist() == [10.0, 20.0]
    assert found.seen().sum() == 1


def test_without_calibration_there_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sets, _ = sets_of(Walk(frames=1, is_calibrated=False).write(tmp_path / "walk"))
    assert sets[0].camera is None
    assert "no calibration in the frame of the keypoints" in caplog.text


@pytest.mark.parametrize(
    ("topics", "message"),
    [
        ({"keypoints": "/front/keypoint"}, r"which holds no keypoints; did you mean '/front/keypoints'\?"),
        (
            {"camera_info": "/front/info"},
            r"topics.camera_info is '/front/info', which is no topic of type .*CameraInfo",
        ),
        ({"depth": "/depth"}, r"topics.depth is '/depth', which is no topic of type sensor_msgs/msg/Image here"),
        ({"boxes": "/boxes"}, r"topics.boxes is '/boxes'"),
    ],
)
def test_a_topic_that_is_not_there_is_named(tmp_path: Path, topics: dict[str, str], message: str) -> None:
    with pytest.raises(BagError, match=message):
        sets_of(Walk(frames=1).write(tmp_path / "walk"), **topics)


def test_a_recording_without_keypoints_is_refused(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "empty") as writer:
        writer.camera_info(INFO_TOPIC, CAMERA, 1, 1)
    with pytest.raises(BagError, match=r"topics of keypoints: none; expected one of type .*Keypoints2DArray"):
        sets_of(tmp_path / "empty")


def test_the_same_recording_gives_the_same_bytes(tmp_path: Path) -> None:
    bag = Walk(frames=3).write(tmp_path / "walk")
    for name in ("first", "second"):
        lifter = KeypointSetLifter(known_lifter()[0])
        sets, _ = sets_of(bag)
        assert run_lifter(sets, lifter, tmp_path / name, {"task": "x"}, FrameRange(), lambda *_: None) == 3
    first, second = ((tmp_path / name / SKELETONS_FILE).read_bytes() for name in ("first", "second"))
    assert first == second
    lines = [json.loads(line) for line in first.splitlines()]
    assert [len(line["skeletons"]) for line in lines] == [2, 2, 2]
    person, arm = lines[1]["skeletons"]
    assert (person["unit"], person["track_id"], arm["unit"]) == ("m", 7, "normalised")
    assert "category 'robot' has no size" in lines[0]["problems"][0]


def test_a_range_of_messages_is_lifted(tmp_path: Path) -> None:
    sets, _ = sets_of(Walk(frames=4).write(tmp_path / "walk"))
    lifter = KeypointSetLifter(known_lifter()[0])
    seen: list[StampedKeypoints] = []
    count = run_lifter(
        sets, lifter, tmp_path / "out", {}, FrameRange(1, 3), lambda item, _: seen.append(item.keypoints)
    )
    assert count == 2
    assert [keypoints.stamp_ns for keypoints in seen] == [Walk().stamp_ns(1), Walk().stamp_ns(2)]


def test_results_are_replaced_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / SKELETONS_FILE).touch()
    check_unused(tmp_path, overwrite=True)
    with pytest.raises(Lift3dError, match=r"already holds results; replace them with --overwrite"):
        check_unused(tmp_path, overwrite=False)
