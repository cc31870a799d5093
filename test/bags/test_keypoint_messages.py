"""Messages of keypoints become keypoints; a bad instance is left out, named by its field, and costs no other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from known_shapes import COCO17
from walk import START_NS, Walk, changed, message

from lift3d_ros.bags.keypoint_messages import keypoints_from_msg, keypoints_from_yolo_msg
from lift3d_ros.pipelines.skeleton_book import SkeletonBook

BOOK = SkeletonBook()


def read(msg: Any) -> Any:
    return keypoints_from_msg(msg, BOOK, "/front/keypoints")


def test_an_array_with_different_skeletons_is_read() -> None:
    expected = Walk().keypoints(1)
    found = read(message(expected))
    assert (found.stamp_ns, found.frame_id, found.width) == (expected.stamp_ns, "front_optical", 1280)
    assert (found.problems, found.num_instances) == ((), 2)
    for mine, theirs in zip(found.instances, expected.instances, strict=True):
        np.testing.assert_allclose(mine.points, theirs.points, atol=1e-4)
        assert (mine.skeleton, mine.category, mine.track_id) == (theirs.skeleton, theirs.category, theirs.track_id)
    assert found.skeletons["coco17"].size_of("person") == 1.0
    assert len(found.skeletons["arm"].skeleton.edges) == 6


def test_two_unknown_skeletons_of_one_name_do_not_mix() -> None:
    msg = message(Walk().keypoints(0))
    first = msg.instances[1]
    msg.instances = [first, changed(first, edges=[0, 1, 1, 2])]
    found = read(msg)
    assert [instance.skeleton for instance in found.instances] == ["arm", "arm (2)"]
    assert [len(facts.skeleton.edges) for facts in found.skeletons.values()] == [6, 2]
    assert {facts.skeleton.name for facts in found.skeletons.values()} == {"arm"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"points": []}, "points has 0 values; expected x and y"),
        ({"points": [1.0] * 33}, "points has 33 values; expected x and y for each joint, in px"),
        ({"scores": [1.0] * 16}, "scores has 16 values; expected 17, one for each of the points"),
        ({"scores": []}, "scores has 0 values; expected 17"),
        ({"joint_names": ["nose"]}, "joint_names has 1 values; expected 17, one for each of the points, or none"),
        ({"sides": [0] * 18}, "sides has 18 values; expected 17"),
        ({"skeleton": "coco", "edges": []}, "skeleton 'coco' is not known; did you mean 'coco17'?"),
        ({"skeleton": "own", "edges": [0, 17]}, "edge 0 joins [0, 17], but there are 17 joints"),
        (
            {"skeleton": "own", "points": [1.0] * 1000, "scores": [1.0] * 500, "joint_names": [], "sides": []},
            "500 joints; expected at most 256 (lifter.max_joints)",
        ),
    ],
)
def test_a_bad_instance_is_left_out_and_named_and_the_others_stay(changes: dict[str, Any], words: str) -> None:
    msg = message(Walk().keypoints(0))
    msg.instances.insert(0, changed(msg.instances[0], **changes))
    found = read(msg)
    assert [instance.skeleton for instance in found.instances] == ["coco17", "arm"]
    (problem,) = found.problems
    assert problem.startswith("topic '/front/keypoints', instances[0]: ")
    assert words in problem
    assert problem.endswith("; it is not lifted")
    assert found.num_instances == 3


def test_joints_that_are_not_finite_or_have_no_score_are_not_seen() -> None:
    msg = message(Walk().keypoints(0))
    msg.instances[0].points[:2] = [float("nan"), 3.0]
    msg.instances[0].scores[1:3] = [0.0, float("nan")]
    person = read(msg).instances[0]
    assert person.seen().tolist() == [False] * 3 + [True] * 14


def test_a_track_that_is_there_twice_has_memory_once() -> None:
    msg = message(Walk().keypoints(0))
    msg.instances = [msg.instances[0], msg.instances[0]]
    found = read(msg)
    assert [instance.track_id for instance in found.instances] == [7, -1]
    assert "track_id 7 is there twice" in found.problems[0]
    assert found.num_instances == 2


def test_a_hand_may_have_the_track_of_its_body() -> None:
    msg = message(Walk().keypoints(0))
    msg.instances = [msg.instances[0], changed(msg.instances[1], track_id=7)]
    found = read(msg)
    assert ([instance.track_id for instance in found.instances], found.problems) == ([7, 7], ())


def test_the_order_in_a_message_does_not_change_what_a_track_is_called() -> None:
    msg = message(Walk().keypoints(0))
    first = msg.instances[1]
    entries = [changed(first, track_id=1), changed(first, track_id=2, edges=[0, 1, 1, 2])]
    tracks = []
    for order in (entries, entries[::-1]):
        msg.instances = order
        found = read(msg)
        tracks.append({found.skeletons[one.skeleton].skeleton.track(one.track_id): len(one) for one in found.instances})
    assert tracks[0] == tracks[1]
    assert len(tracks[0]) == 2


def test_an_empty_message_is_no_problem() -> None:
    found = read(SimpleNamespace(**{**vars(message(Walk().keypoints(0))), "instances": []}))
    assert (found.instances, found.problems) == ((), ())


# --- yolo_ros --------------------------------------------------------------------------------------------------------


def yolo_message(*detections: tuple[str, str, list[tuple[int, float, float, float]]]) -> Any:
    """Return an object like yolo_msgs/DetectionArray, from class, id and (id, x, y, score) of each keypoint."""
    header = SimpleNamespace(stamp=SimpleNamespace(sec=START_NS // 10**9, nanosec=5), frame_id="camera_optical")
    found = []
    for class_name, track, points in detections:
        data = [SimpleNamespace(id=i, point=SimpleNamespace(x=x, y=y), score=s) for i, x, y, s in points]
        found.append(SimpleNamespace(class_name=class_name, id=track, score=0.9, keypoints=SimpleNamespace(data=data)))
    return SimpleNamespace(header=header, detections=found)


def test_keypoints_of_yolo_ros_are_numbered_from_one_and_absent_where_not_seen() -> None:
    msg = yolo_message(("person", "12", [(1, 100.0, 50.0, 0.9), (17, 90.0, 300.0, 0.6)]), ("person", "", []))
    found = keypoints_from_yolo_msg(msg, COCO17, "/yolo/tracking")
    (person,) = found.instances
    assert found.stamp_ns == START_NS + 5
    assert np.flatnonzero(person.seen()).tolist() == [0, 16]
    assert person.points[16].tolist() == [90.0, 300.0]
    assert (person.track_id, person.category, person.skeleton) == (12, "person", "coco17")


@pytest.mark.parametrize(("text", "track_id"), [("", -1), ("3", 3), ("person_3", -1), ("9" * 30, -1)])
def test_track_ids_of_yolo_ros_are_texts(text: str, track_id: int) -> None:
    msg = yolo_message(("person", text, [(1, 1.0, 1.0, 1.0)]))
    assert keypoints_from_yolo_msg(msg, COCO17, "/yolo").instances[0].track_id == track_id


def test_a_track_that_yolo_ros_gives_twice_has_memory_once() -> None:
    detection = ("person", "12", [(1, 100.0, 50.0, 0.9), (17, 90.0, 300.0, 0.6)])
    found = keypoints_from_yolo_msg(yolo_message(detection, detection), COCO17, "/yolo")
    assert [instance.track_id for instance in found.instances] == [12, -1]
    assert "topic '/yolo', detections[1]: track_id 12 is there twice" in found.problems[0]
    assert found.num_refused == 0


def test_a_yolo_model_with_other_keypoints_is_answered_with_the_parameter() -> None:
    msg = yolo_message(("hand", "", [(21, 1.0, 1.0, 1.0)]))
    found = keypoints_from_yolo_msg(msg, COCO17, "/yolo")
    assert found.instances == ()
    assert "keypoint id 21; expected 1 to 17 for skeleton 'coco17'" in found.problems[0]
    assert "input.yolo_skeleton" in found.problems[0]
