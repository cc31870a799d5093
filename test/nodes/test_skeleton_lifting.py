"""The skeleton_lifting node on real rclpy: same skeletons as replay, bad messages, missing inputs, parameters."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from array import array
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Vector3
from known_shapes import CAMERA
from lifecycle_msgs.msg import State, Transition
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_system import PACED, NodeProcess, Observer, running_node
from ros_system import play as play_fast
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray
from walk import ARM, INFO_TOPIC, KEYPOINTS_TOPIC, OPTICAL, START_NS, T_BASE_CAM, Walk, arm, walking

from lift3d_ros.bags.messages import stamp_ns
from lift3d_ros.cli.main import main as lift3d
from lift3d_ros.msg import (
    BevDetection,
    BevDetectionArray,
    Keypoints2D,
    Keypoints2DArray,
    Skeleton3DArray,
    StageTiming,
)
from lift3d_ros.nodes.skeleton_lifting_config import OUTPUT_TOPICS
from lift3d_ros.types import Keypoints2D as Instance

pytest.importorskip("torch")
pytestmark = pytest.mark.ros

SKELETONS, MARKERS = "/skeleton_lifting/skeletons", "/skeleton_lifting/markers"
READY = r"small \(untrained weights\) on torch; keypoints on /front/keypoints"
MANIFEST = """\
models:
  small: {method: lfm, preset: lift3d-lfm-small, licence: Apache-2.0, source: a test}
"""


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "manifest.yaml").write_text(MANIFEST)
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(tmp_path / "models"))


@pytest.fixture
def parameters() -> dict[str, Any]:
    """Parameters of a skeleton_lifting node for a recording of `walk`, paced and without loss."""
    return {
        "model": "small",
        "topics.keypoints": KEYPOINTS_TOPIC,
        "topics.camera_info": INFO_TOPIC,
        **PACED,
    }


@pytest.fixture
def observer(observer: Observer) -> Observer:
    observer.listen(SKELETONS, Skeleton3DArray)
    return observer


def running(parameters: dict[str, Any], observer: Observer) -> AbstractContextManager[NodeProcess]:
    return running_node(parameters, observer, "skeleton_lifting", READY)


def play(bag: Path) -> None:
    """Play a recording so slowly that its mounting is known before its keypoints: they do not wait for transforms."""
    play_fast(bag, "--rate", "1", results=SKELETONS)


class Source:
    """Publishes keypoints that a test makes, when the node listens."""

    def __init__(self, observer: Observer) -> None:
        self._keypoints = observer.node.create_publisher(Keypoints2DArray, KEYPOINTS_TOPIC, 100)
        observer.wait_for_listener(self._keypoints, "keypoints")

    def send(self, *instances: Keypoints2D, header: Header) -> None:
        self._keypoints.publish(Keypoints2DArray(header=header, width=1280, height=720, instances=list(instances)))


def header(ms: int) -> Header:
    """Return the header of keypoints this long after the first ones."""
    seconds, nanoseconds = divmod(START_NS + ms * 1_000_000, 1_000_000_000)
    return Header(stamp=Time(sec=seconds, nanosec=nanoseconds), frame_id=OPTICAL)


def keypoints_msg(instance: Instance, **changes: Any) -> Keypoints2D:
    values: dict[str, Any] = {
        "skeleton": instance.skeleton,
        "points": array("f", instance.points.reshape(-1).tolist()),
        "scores": array("f", np.asarray(instance.confidence).tolist()),
        "category": instance.category,
        "instance_id": instance.instance_id,
        "track_id": instance.track_id,
    }
    return Keypoints2D(**values | changes)


def arm_msg() -> Keypoints2D:
    return keypoints_msg(arm(), edges=array("H", ARM.skeleton.edges.reshape(-1).tolist()))


def info_msg() -> CameraInfo:
    k = CAMERA.intrinsics.reshape(-1)
    return CameraInfo(header=Header(frame_id=OPTICAL), width=1280, height=720, k=k, distortion_model="plumb_bob")


def test_the_node_gives_the_skeletons_of_replay(tmp_path: Path, parameters: dict[str, Any], observer: Observer) -> None:
    bag = Walk(frames=5).write(tmp_path / "walk")
    settings = tmp_path / "settings.yaml"
    settings.write_text("engine: {threads: 1}\nsmoothing: {enabled: true}\n", encoding="utf-8")
    command = ["replay", str(bag), "--task", "skeleton_lifting", "--out", str(tmp_path / "replay")]
    options = ["--params", str(settings), "--model", "small", "--backend", "torch", "--no-pictures"]
    assert lift3d([*command, *options]) == 0
    expected = [json.loads(line) for line in (tmp_path / "replay" / "skeletons.jsonl").read_text().splitlines()]
    with running(parameters | {"smoothing.enabled": True}, observer):
        play(bag)
        found = observer.wait_for_messages(SKELETONS, 5)
    assert [stamp_ns(message.header) for message in found] == [line["stamp_ns"] for line in expected]
    for message, line in zip(found, expected, strict=True):
        assert (message.header.frame_id, message.weights_sha256) == (line["frame_id"], line["weights_sha256"])
        assert len(message.skeletons) == len(line["skeletons"]) == 2
        for mine, theirs in zip(message.skeletons, line["skeletons"], strict=True):
            shape = (2, len(theirs["joints"]), 3)
            np.testing.assert_allclose(np.array(mine.hypotheses).reshape(shape), theirs["hypotheses"], atol=2e-4)
            np.testing.assert_allclose(np.array(mine.points).reshape(shape[1:]), theirs["joints"], atol=2e-4)
            np.testing.assert_allclose(mine.probabilities, theirs["probabilities"], atol=1e-4)
            np.testing.assert_allclose(mine.uncertainty, theirs["uncertainty"], atol=2e-4)
            assert list(mine.is_valid) == theirs["is_observed"]
            assert mine.is_metric == (theirs["unit"] == "m")
            assert (mine.skeleton, mine.instance_id, mine.track_id) == (
                theirs["skeleton"],
                theirs["instance_id"],
                theirs["track_id"],
            )
    assert [skeleton.is_metric for skeleton in found[0].skeletons] == [True, False]


def test_every_output_arrives_and_says_that_the_weights_are_untrained(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    observer.listen(MARKERS, MarkerArray)
    observer.listen("/skeleton_lifting/timing", StageTiming)
    with running(parameters, observer):
        play(Walk(frames=3).write(tmp_path / "walk"))
        skeletons = observer.wait_for_messages(SKELETONS, 3)[-1]
        markers = observer.wait_for_messages(MARKERS, 1)[-1].markers
        timing = observer.wait_for_messages("/skeleton_lifting/timing", 1)[-1]
        status = observer.wait_for_status("pipeline", "untrained weights")
        inputs = observer.wait_for_status("keypoints", "")
        offered = dict(observer.node.get_topic_names_and_types())
    documented = {
        f"/skeleton_lifting/{name}": [kind.replace("/", "/msg/")] for name, (kind, _) in OUTPUT_TOPICS.items()
    }
    assert documented.items() <= offered.items()
    assert not skeletons.is_trained
    assert len(skeletons.weights_sha256) == 64
    assert any("untrained weights" in marker.text for marker in markers)
    assert list(timing.stages) == ["prepare", "inference", "placement"]
    values = {value.key: value.value for value in status.values}
    assert values["scale from"] == "category_size 1, none 1"
    assert status.level == b"\x01"
    assert {value.key: value.value for value in inputs.values}["gravity"] == "z axis of 'base_link'"


def test_bad_instances_are_named_and_cost_neither_the_others_nor_the_node(
    parameters: dict[str, Any], observer: Observer
) -> None:
    nan, good = math.nan, keypoints_msg(walking(0))
    edges = array("H", [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 99])
    many = {"points": array("f", range(1000)), "scores": array("f", [1.0] * 500), "edges": array("H", [0, 1])}
    bad = {
        r"instances\[1\]: skeleton 'dragon' is not known, and edges is empty": {"skeleton": "dragon"},
        r"instances\[2\]: skeleton 'own': edge 6 joins \[6, 99\], but there are 17 joints": {
            "skeleton": "own",
            "edges": edges,
        },
        r"instances\[3\]: points of 500 joints; expected at most 256 \(lifter.max_joints\)": many | {"skeleton": "own"},
        r"instances\[4\]: points has 33 values; expected x and y": {"points": array("f", [1.0] * 33)},
        r"instances\[5\]: scores has 3 values; expected 17": {"scores": array("f", [1.0] * 3)},
        r"instance 60 \(coco17\): 0 seen joints; expected at least 4": {"points": array("f", [nan] * 34)},
        r"instance 70 \(coco17\): its seen joints lie within 0.0 px": {"points": array("f", [50.0] * 34)},
    }
    instances = [
        keypoints_msg(walking(0), instance_id=10 * number, track_id=-1, **changes)
        for number, changes in enumerate(bad.values(), start=1)
    ]
    with running(parameters, observer) as node:
        source = Source(observer)
        source.send(good, *instances, arm_msg(), header=header(0))
        first = observer.wait_for_messages(SKELETONS, 1)[0]
        for pattern in bad:
            node.wait_for(pattern)
        status = observer.wait_for_status("pipeline", "7 of 9 instances not lifted")
        source.send(good, header=header(100))
        second = observer.wait_for_messages(SKELETONS, 2)[1]
    assert [skeleton.skeleton for skeleton in first.skeletons] == ["coco17", "arm"]
    assert [skeleton.skeleton for skeleton in second.skeletons] == ["coco17"]
    assert status.level == b"\x01"


@pytest.mark.parametrize("seen", [0, 1])
def test_a_person_of_whom_nothing_or_one_joint_is_seen_gives_an_empty_message(
    seen: int, parameters: dict[str, Any], observer: Observer
) -> None:
    scores = array("f", [1.0] * seen + [0.0] * (17 - seen))
    with running(parameters, observer) as node:
        Source(observer).send(keypoints_msg(walking(0), scores=scores), header=header(0))
        (message,) = observer.wait_for_messages(SKELETONS, 1)
        node.wait_for(rf"{seen} seen joints; expected at least 4 \(lifter.min_joints\); it is not lifted")
    assert message.skeletons == []


def test_skeletons_are_normalised_until_calibration_comes_and_then_in_metres(
    parameters: dict[str, Any], observer: Observer
) -> None:
    profile = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    with running(parameters, observer) as node:
        source = Source(observer)
        source.send(keypoints_msg(walking(0)), header=header(0))
        (first,) = observer.wait_for_messages(SKELETONS, 1)
        node.wait_for("no calibration of the camera: skeletons are normalised, not in metres")
        observer.wait_for_status("keypoints", rf"no calibration on {INFO_TOPIC}: skeletons are normalised")
        observer.node.create_publisher(CameraInfo, INFO_TOPIC, profile).publish(info_msg())  # once, latched
        observer.wait_for_status("keypoints", "keypoints arrive|silent")
        observer.wait_until(
            lambda: "of 'front_optical'" in str(observer.received["/diagnostics"][-1].status), "the calibration"
        )
        source.send(keypoints_msg(walking(1)), header=header(100))
        second = observer.wait_for_messages(SKELETONS, 2)[1]
    assert [message.skeletons[0].is_metric for message in (first, second)] == [False, True]
    assert np.abs(np.array(first.skeletons[0].points).reshape(17, 3)[:, :2]).max() == pytest.approx(1.0, abs=1e-5)
    assert second.header.frame_id == OPTICAL


def test_metric_skeletons_are_published_in_the_output_frame(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    bag = Walk(frames=1).write(tmp_path / "walk")
    with running(parameters, observer):
        play(bag)
        (optical,) = observer.wait_for_messages(SKELETONS, 1)
    with running(parameters | {"output_frame": "base_link"}, observer):
        play(bag)
        base = observer.wait_for_messages(SKELETONS, 2)[1]
    assert (optical.header.frame_id, base.header.frame_id) == (OPTICAL, "base_link")
    points = [np.array(message.skeletons[0].points).reshape(17, 3) for message in (optical, base)]
    np.testing.assert_allclose(points[1], points[0] @ T_BASE_CAM[:3, :3].T + T_BASE_CAM[:3, 3], atol=1e-4)
    np.testing.assert_allclose(base.skeletons[1].points, optical.skeletons[1].points, atol=1e-5)
    assert not base.skeletons[1].is_metric


def test_depth_and_boxes_of_their_topics_give_the_scale(parameters: dict[str, Any], observer: Observer) -> None:
    topics = {"topics.depth": "/depth", "topics.boxes": "/boxes"}
    depths, boxes, infos = (
        observer.node.create_publisher(kind, topic, 10)
        for kind, topic in ((Image, "/depth"), (BevDetectionArray, "/boxes"), (CameraInfo, INFO_TOPIC))
    )
    picture = Image(header=header(0), width=1280, height=720, step=2560, encoding="16UC1")
    picture.data = array("B", np.full((720, 1280), 30_000, dtype="<u2").tobytes())
    box = BevDetection(pose=Pose(position=Point(x=4.5, y=3.7, z=60.0)), size=Vector3(x=1.0, y=1.0, z=2.0))
    sent = itertools.count()

    def is_beyond(metres: float) -> bool:
        """Whether a person was placed there; sends the keypoints again, as topics overtake each other."""
        statue = dataclasses.replace(walking(0), category="statue")  # of any size
        source.send(keypoints_msg(statue), header=header(next(sent)))
        skeletons = [message.skeletons[0] for message in observer.received[SKELETONS]]
        return any(s.is_metric and np.array(s.points).reshape(17, 3)[:, 2].mean() > metres for s in skeletons)

    with running(parameters | topics, observer):
        source = Source(observer)
        observer.wait_until(lambda: all(p.get_subscription_count() for p in (depths, boxes, infos)), "subscriptions")
        infos.publish(info_msg())
        depths.publish(picture)
        observer.wait_until(lambda: is_beyond(20.0), "a person 30 m away, as depth says")
        assert not is_beyond(45.0)
        sent = itertools.count(300)  # beyond the window of the depth picture
        boxes.publish(BevDetectionArray(header=header(next(sent)), detections=[box]))
        observer.wait_until(lambda: is_beyond(45.0), "a person 60 m away, as the box says")


def test_an_output_frame_that_is_not_known_is_named_and_skeletons_stay_in_the_optical_frame(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    with running(parameters | {"output_frame": "base_linc"}, observer) as node:
        play(Walk(frames=1).write(tmp_path / "walk"))
        (message,) = observer.wait_for_messages(SKELETONS, 1)
        node.wait_for(r"skeletons stay in 'front_optical': frame 'base_linc' is not known; did you mean 'base_link'")
    assert message.header.frame_id == OPTICAL


def test_keypoints_of_a_publisher_that_does_not_fit_are_missed_with_the_remedy(
    parameters: dict[str, Any], observer: Observer
) -> None:
    profile = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    observer.node.create_publisher(Keypoints2DArray, KEYPOINTS_TOPIC, profile)
    with running(parameters, observer):
        status = observer.wait_for_status("keypoints", "offers another reliability than this node requests")
    assert status.level == b"\x02"
    assert "set qos.reliability to best_effort" in status.message


def test_a_lifecycle_manager_can_start_stop_and_restart_it(parameters: dict[str, Any], observer: Observer) -> None:
    with NodeProcess("skeleton_lifting", parameters=parameters | {"autostart": False}) as node:
        assert not observer.transition("skeleton_lifting", Transition.TRANSITION_ACTIVATE)
        assert observer.transition("skeleton_lifting", Transition.TRANSITION_CONFIGURE)
        for index in range(2):
            assert observer.transition("skeleton_lifting", Transition.TRANSITION_ACTIVATE)
            node.wait_for(READY)
            Source(observer).send(keypoints_msg(walking(index)), header=header(100 * index))
            observer.wait_for_messages(SKELETONS, index + 1)
            assert observer.transition("skeleton_lifting", Transition.TRANSITION_DEACTIVATE)
        assert observer.transition("skeleton_lifting", Transition.TRANSITION_CLEANUP)
        state = observer.state("skeleton_lifting")
        assert state == State.PRIMARY_STATE_UNCONFIGURED


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"lifter.min_join": 5},
            r"did you mean 'lifter.min_joints'\?; all names are in config/skeleton_lifting.yaml",
            id="unknown name",
        ),
        pytest.param({"model": "smal"}, r"did you mean 'small'", id="unknown model"),
        pytest.param({"model": "/nowhere/x.onnx"}, r"'/nowhere/x.onnx': no such file", id="missing file"),
        pytest.param({"topics.keypoints": ""}, r"'topics.keypoints' is empty; name the topic", id="no topic"),
        pytest.param({"topics.depth": "my depth"}, r"'topics.depth': 'my depth' is not a topic name", id="topic"),
        pytest.param({"input.skeletons": ["/x.yaml"]}, r"/x.yaml: file not found", id="skeleton file"),
        pytest.param({"input.yolo_skeleton": "coco_17"}, r"did you mean 'coco17'", id="yolo skeleton"),
        pytest.param({"input.known_lengths": ["hip=1"]}, r"holds 'hip=1'; expected two joints", id="known length"),
        pytest.param({"topics.keypoints_type": "yolo_ros"}, r"yolo_msgs .* is not there; source", id="no yolo_msgs"),
        pytest.param({"lifter.min_joints": 1}, r"'lifter.min_joints' is 1; expected 3 to 1000", id="out of range"),
    ],
)
def test_a_wrong_parameter_is_refused_with_the_remedy(
    changes: dict[str, Any], message: str, parameters: dict[str, Any]
) -> None:
    with NodeProcess("skeleton_lifting", parameters=parameters | changes) as node:
        node.wait_for(message)
        assert node.wait() == 2


def test_it_says_what_it_waits_for(parameters: dict[str, Any]) -> None:
    with NodeProcess("skeleton_lifting", parameters=parameters) as node:
        node.wait_for(rf"waiting for: keypoints on {KEYPOINTS_TOPIC}")
