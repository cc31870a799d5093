"""The point_features node on real rclpy: same features as replay, bad messages, missing inputs, parameters."""

from __future__ import annotations

import json
import math
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cloud_layouts import LIDAR, START_NS
from geometry_msgs.msg import Point, Pose, Quaternion, Transform, TransformStamped, Vector3
from lifecycle_msgs.msg import State, Transition
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_clouds import cloud_msg, header
from ros_system import PACED, NodeProcess, Observer, running_node
from ros_system import play as play_fast
from sensor_msgs.msg import LaserScan, PointCloud2
from tf2_msgs.msg import TFMessage

from lift3d_ros.bags.messages import stamp_ns
from lift3d_ros.cli.main import main as lift3d
from lift3d_ros.geometry.rotations import matrix_to_quaternion
from lift3d_ros.msg import BevDetection, BevDetectionArray, PointFeaturesArray, StageTiming
from lift3d_ros.nodes.point_features_config import OUTPUT_TOPICS
from lift3d_ros.pipelines.point_colors import UNKNOWN_COLOR

pytest.importorskip("torch")
from scans import (
    BOXES_TOPIC,
    CLOUD_TOPIC,
    PLACES,
    SIZE,
    T_BASE_LIDAR,
    Scan,
    write_small_weights,
    write_untrained_manifest,
)

pytestmark = pytest.mark.ros

FEATURES, COLORED = "/point_features/features", "/point_features/colored"
READY = r"on torch; clouds on /lidar/points"
SCAN = Scan()


@pytest.fixture
def parameters(tmp_path: Path) -> dict[str, Any]:
    """Parameters of a point_features node for a recording of `scans`, paced and without loss."""
    return {
        "model": str(write_small_weights(tmp_path / "small.safetensors")),
        "topics.cloud": CLOUD_TOPIC,
        **PACED,
    }


@pytest.fixture
def observer(observer: Observer) -> Observer:
    observer.listen(FEATURES, PointFeaturesArray)
    return observer


def running(parameters: dict[str, Any], observer: Observer) -> AbstractContextManager[NodeProcess]:
    return running_node(parameters, observer, "point_features", READY)


def play(bag: Path, *options: str) -> None:
    """Play a recording at its own rate: transforms are there before the clouds that need them."""
    play_fast(bag, "--rate", "1", *options, results=FEATURES)


class Source:
    """Publishes clouds, boxes and the mounting of the lidar, when the node listens."""

    def __init__(self, observer: Observer, *, boxes: bool = False) -> None:
        node = observer.node
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._clouds = node.create_publisher(PointCloud2, CLOUD_TOPIC, 100)
        self._boxes = node.create_publisher(BevDetectionArray, BOXES_TOPIC, 100) if boxes else None
        self._mounting = node.create_publisher(TFMessage, "/tf_static", latched)
        for publisher in (self._clouds, self._boxes):
            if publisher is not None:
                observer.wait_for_listener(publisher, "clouds")

    def cloud(self, points: Any, ms: int = 0, **layout: Any) -> PointCloud2:
        """Publish a cloud and return it."""
        message = cloud_msg(points, ms, **layout)
        self._clouds.publish(message)
        return message

    def again(self, message: PointCloud2, ms: int, **changes: Any) -> None:
        """Publish a cloud with other fields."""
        message.header = header(ms)
        for name, value in changes.items():
            setattr(message, name, value)
        self._clouds.publish(message)

    def boxes(self, ms: int, frame_id: str, *boxes: BevDetection) -> None:
        assert self._boxes is not None
        self._boxes.publish(BevDetectionArray(header=header(ms, frame_id), detections=list(boxes)))

    def mounting(self) -> None:
        x, y, z, w = matrix_to_quaternion(T_BASE_LIDAR[:3, :3]).tolist()
        translation = Vector3(**dict(zip("xyz", T_BASE_LIDAR[:3, 3].tolist(), strict=True)))
        transform = Transform(translation=translation, rotation=Quaternion(x=x, y=y, z=z, w=w))
        entry = TransformStamped(header=header(0, "base_link"), child_frame_id=LIDAR, transform=transform)
        self._mounting.publish(TFMessage(transforms=[entry]))


def box(place: Any, **changes: Any) -> BevDetection:
    x, y, z = (float(value) for value in place)
    size = Vector3(**dict(zip("xyz", map(float, SIZE), strict=True)))
    return BevDetection(**{"pose": Pose(position=Point(x=x, y=y, z=z)), "size": size, "score": 0.5, **changes})


@pytest.mark.parametrize("has_boxes", [False, True], ids=["whole clouds", "boxes"])
def test_the_node_gives_the_features_of_replay(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer, has_boxes: bool
) -> None:
    bag, boxes = Scan(frames=5).write(tmp_path / "scan"), BOXES_TOPIC if has_boxes else ""
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        f"engine: {{threads: 1}}\noutput_frame: base_link\ntopics: {{boxes: '{boxes}'}}\n", encoding="utf-8"
    )
    command = ["replay", str(bag), "--task", "point_features", "--out", str(tmp_path / "replay")]
    assert lift3d([*command, "--params", str(settings), "--model", parameters["model"], "--backend", "torch"]) == 0
    expected = [json.loads(line) for line in (tmp_path / "replay" / "features.jsonl").read_text().splitlines()]
    with running(parameters | {"output_frame": "base_link", "topics.boxes": boxes}, observer):
        play(bag, *(["--paced", boxes] if boxes else []))
        found = observer.wait_for_messages(FEATURES, 5)
    assert [stamp_ns(message.header) for message in found] == [line["stamp_ns"] for line in expected]
    for message, line in zip(found, expected, strict=True):
        assert (message.header.frame_id, message.weights_sha256) == ("base_link", line["weights_sha256"])
        with np.load(tmp_path / "replay" / line["arrays"]) as arrays:
            assert [entry.instance_id for entry in message.features] == arrays["instance_ids"].tolist()
            for row, entry in enumerate(message.features):
                tokens = np.array(entry.tokens, np.float32).reshape(entry.num_tokens, entry.token_size)
                np.testing.assert_array_equal(tokens, arrays["tokens"][row])
                np.testing.assert_array_equal(np.array(entry.descriptor, np.float32), arrays["descriptors"][row])
                centers = np.array(entry.token_centers, np.float32).reshape(-1, 3)
                np.testing.assert_array_equal(centers, arrays["token_centers"][row])
    assert len(found[0].features) == (2 if has_boxes else 1)


def test_every_output_arrives_with_diagnostics(tmp_path: Path, parameters: dict[str, Any], observer: Observer) -> None:
    observer.listen(COLORED, PointCloud2)
    observer.listen("/point_features/timing", StageTiming)
    with running(parameters | {"topics.boxes": BOXES_TOPIC}, observer):
        play(Scan(frames=3).write(tmp_path / "scan"), "--paced", BOXES_TOPIC)
        (features, *_) = observer.wait_for_messages(FEATURES, 3)
        colored = observer.wait_for_messages(COLORED, 1)[-1]
        timing = observer.wait_for_messages("/point_features/timing", 1)[-1]
        status = observer.wait_for_status("pipeline", "running")
        inputs = observer.wait_for_status("clouds", "")
        offered = dict(observer.node.get_topic_names_and_types())
    documented = {f"/point_features/{name}": [kind.replace("/", "/msg/")] for name, (kind, _) in OUTPUT_TOPICS.items()}
    assert documented.items() <= offered.items()
    assert (features.is_trained, len(features.weights_sha256)) == (True, 64)
    assert list(timing.stages) == ["unpack", "prepare", "inference"]
    values = {value.key: value.value for value in status.values}
    assert (values["points"], values["boxes"], values["features"]) == ("800", "2", "2")
    assert "800 points in 'lidar'" in {value.key: value.value for value in inputs.values}["last cloud"]
    points = np.frombuffer(colored.data, np.dtype([("xyz", "<f4", 3), ("bgr", "u1", 3), ("unused", "u1")]))
    measured = SCAN.points(0)
    assert len(points) == np.isfinite(measured).all(axis=1).sum()
    in_base = points["xyz"] @ T_BASE_LIDAR[:3, :3].T + T_BASE_LIDAR[:3, 3]
    is_ground = in_base[:, 2] < 0.2
    is_unknown = (points["bgr"] == UNKNOWN_COLOR[::-1]).all(axis=1)
    assert is_unknown[is_ground].mean() > 0.7, "points that no box holds, unless one is near"
    assert is_unknown[~is_ground].mean() < 0.1
    assert len(np.unique(points["bgr"][~is_ground], axis=0)) > 50


def test_untrained_weights_are_said_everywhere(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(tmp_path))
    with running(parameters | {"model": write_untrained_manifest(tmp_path)}, observer) as node:
        node.wait_for(r"untrained \(untrained weights\) on torch")
        Source(observer).cloud(SCAN.points(0))
        (message,) = observer.wait_for_messages(FEATURES, 1)
        status = observer.wait_for_status("pipeline", "untrained weights: the features mean nothing")
    assert not message.is_trained
    assert status.level == b"\x01"


BAD = {
    r"topic '/lidar/points': field 'z' is missing \(fields: x, y\)": {"order": ("x", "y")},
    r"field 'x': 1 value of datatype 3 \(INT16\); expected one of FLOAT32": {"types": {"x": "i2"}},
    r"it has no points; there are no features": {"points": np.zeros((0, 3))},
    r"none of its 4 points is finite; there are no features": {"points": np.full((4, 3), math.nan)},
}


def test_bad_clouds_are_named_and_cost_no_other(parameters: dict[str, Any], observer: Observer) -> None:
    with running(parameters, observer) as node:
        source = Source(observer)
        good = SCAN.points(0)
        message = source.cloud(good, 0)
        source.again(message, 50, data=message.data[:-3])
        node.wait_for(r"topic '/lidar/points': data has \d+ bytes; expected \d+ for height 1")
        for number, (pattern, changes) in enumerate(BAD.items(), start=1):
            source.cloud(changes.get("points", np.ones((4, 3))), 100 * number, **without(changes, "points"))
            node.wait_for(pattern)
        observer.wait_for_status("pipeline", "the cloud has no features")
        layout = {"types": dict.fromkeys("xyz", "f8"), "is_bigendian": True, "point_padding": 5, "height": 4}
        source.cloud(good, 900, order=("ring", "z", "y", "x"), **layout)
        found = observer.wait_for_messages(FEATURES, 4)
    assert [len(message.features) for message in found] == [1, 0, 0, 1]
    np.testing.assert_allclose(found[0].features[0].descriptor, found[3].features[0].descriptor, atol=1e-5)


def without(changes: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in changes.items() if key != name}


def test_bad_boxes_are_named_and_cost_no_other(parameters: dict[str, Any], observer: Observer) -> None:
    with running(parameters | {"topics.boxes": BOXES_TOPIC}, observer) as node:
        source = Source(observer, boxes=True)
        source.mounting()
        source.cloud(SCAN.points(0), 0)
        source.cloud(SCAN.points(0), 100)
        bad = [box(PLACES[0], size=Vector3(x=1.0, y=-1.0, z=1.0)), box([50.0, 0.0, 0.0])]
        observer.wait_for_status("clouds", "no boxes on /boxes")
        source.boxes(0, "base_link", box(PLACES[0]), *bad, box(PLACES[1]))
        (message,) = observer.wait_for_messages(FEATURES, 1)
        node.wait_for(r"topic '/boxes', detections\[1\]: size is \[1.0, -1.0, 1.0\]; expected positive length")
        node.wait_for(r"box 2: no point of the cloud lies in it; it has no features")
        status = observer.wait_for_status("pipeline", "2 of 4 boxes have no features")
    assert [entry.instance_id for entry in message.features] == [0, 3]
    assert status.level == b"\x01"


def test_boxes_without_a_transform_give_no_features_until_it_comes(
    parameters: dict[str, Any], observer: Observer
) -> None:
    with running(parameters | {"topics.boxes": BOXES_TOPIC}, observer) as node:
        source = Source(observer, boxes=True)
        source.cloud(SCAN.points(0), 0)
        source.boxes(0, "base_link", box(PLACES[0]))
        (first,) = observer.wait_for_messages(FEATURES, 1)
        node.wait_for("boxes are not used: frame 'base_link' is not known")
        observer.wait_for_status("pipeline", "1 of 1 boxes have no features")
        source.mounting()
        found = [first]

        def has_features() -> bool:
            """Whether the transform has come; sends another pair, as topics overtake each other."""
            found[:] = observer.received[FEATURES]
            ms = 1000 * len(found)
            source.cloud(SCAN.points(0), ms)
            source.boxes(ms, "base_link", box(PLACES[0]))
            return bool(found[-1].features)

        observer.wait_until(has_features, "features of the box")
    assert first.features == []
    assert found[-1].header.frame_id == LIDAR


def test_boxes_far_from_every_cloud_in_time_are_counted(parameters: dict[str, Any], observer: Observer) -> None:
    with running(parameters | {"topics.boxes": BOXES_TOPIC}, observer):
        source = Source(observer, boxes=True)
        source.cloud(SCAN.points(0), 0)
        source.boxes(700, LIDAR, box(PLACES[0]))
        status = observer.wait_for_status("clouds", "no cloud within sync.window_s of them")
    assert {value.key: value.value for value in status.values}["dropped: boxes without a cloud"] == "1"


def test_an_output_frame_that_is_not_known_is_named_and_results_stay_where_they_are(
    parameters: dict[str, Any], observer: Observer
) -> None:
    with running(parameters | {"output_frame": "base_linc"}, observer) as node:
        source = Source(observer)
        source.mounting()
        source.cloud(SCAN.points(0))
        (message,) = observer.wait_for_messages(FEATURES, 1)
        node.wait_for(r"results stay in 'lidar': frame 'base_linc' is not known")
    assert (message.header.frame_id, len(message.features)) == (LIDAR, 1)


def test_a_cloud_that_was_published_once_is_found_when_it_is_latched(
    parameters: dict[str, Any], observer: Observer
) -> None:
    profile = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    observer.node.create_publisher(PointCloud2, CLOUD_TOPIC, profile).publish(cloud_msg(SCAN.points(0)))
    with running(parameters, observer):
        (found,) = observer.wait_for_messages(FEATURES, 1)
    assert len(found.features) == 1


@pytest.mark.parametrize(
    ("kind", "reliability", "sentence"),
    [
        (PointCloud2, ReliabilityPolicy.BEST_EFFORT, "offers another reliability .* set qos.reliability to best_eff"),
        (LaserScan, ReliabilityPolicy.RELIABLE, "carries sensor_msgs/msg/LaserScan; expected sensor_msgs/msg/PointC"),
    ],
)
def test_a_publisher_that_does_not_fit_is_named_with_the_remedy(
    kind: type[Any], reliability: Any, sentence: str, parameters: dict[str, Any], observer: Observer
) -> None:
    observer.node.create_publisher(kind, CLOUD_TOPIC, QoSProfile(depth=1, reliability=reliability))
    with running(parameters, observer):
        status = observer.wait_for_status("clouds", sentence)
    assert status.level == b"\x02"


def test_a_lifecycle_manager_can_start_stop_and_restart_it(parameters: dict[str, Any], observer: Observer) -> None:
    with NodeProcess("point_features", parameters=parameters | {"autostart": False}) as node:
        assert not observer.transition("point_features", Transition.TRANSITION_ACTIVATE)
        assert observer.transition("point_features", Transition.TRANSITION_CONFIGURE)
        for index in range(2):
            assert observer.transition("point_features", Transition.TRANSITION_ACTIVATE)
            node.wait_for(READY)
            Source(observer).cloud(SCAN.points(0), 100 * index)
            observer.wait_for_messages(FEATURES, index + 1)
            assert observer.transition("point_features", Transition.TRANSITION_DEACTIVATE)
        assert observer.transition("point_features", Transition.TRANSITION_CLEANUP)
        state = observer.state("point_features")
        assert state == State.PRIMARY_STATE_UNCONFIGURED


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"encoder.max_crop": 5},
            r"did you mean 'encoder.max_crops'\?; all names are in config/point_features.yaml",
            id="unknown name",
        ),
        pytest.param({"model": "lift3d-bev-tiny"}, r"'lift3d-bev-tiny': .* is no point encoder", id="another method"),
        pytest.param({"model": "/nowhere/x.onnx"}, r"'/nowhere/x.onnx': no such file", id="missing graph"),
        pytest.param({"model": "/nowhere/x.safetensors"}, r"'/nowhere/x.safetensors': no such file", id="no weights"),
        pytest.param({"topics.cloud": ""}, r"'topics.cloud' is empty; name the topic", id="no topic"),
        pytest.param({"topics.boxes": "my boxes"}, r"'topics.boxes': 'my boxes' is not a topic name", id="topic"),
        pytest.param({"topics.boxes_type": "yolo"}, r"expected one of lift3d_ros, vision_msgs", id="type of boxes"),
        pytest.param({"encoder.classifier": "/x.safetensors"}, r"classifier '/x.safetensors': no such", id="classes"),
        pytest.param({"encoder.max_crops": 0}, r"'encoder.max_crops' is 0; expected 1 to 1000", id="out of range"),
        pytest.param({"sync.window_s": 1}, r"it is a double: write 1.0", id="whole number"),
    ],
)
def test_a_wrong_parameter_is_refused_with_the_remedy(
    changes: dict[str, Any], message: str, parameters: dict[str, Any]
) -> None:
    with NodeProcess("point_features", parameters=parameters | changes) as node:
        node.wait_for(message)
        assert node.wait() == 2


def test_it_says_what_it_waits_for(parameters: dict[str, Any]) -> None:
    with NodeProcess("point_features", parameters=parameters | {"topics.boxes": BOXES_TOPIC}) as node:
        node.wait_for(rf"waiting for: cloud on {CLOUD_TOPIC}; boxes on {BOXES_TOPIC}")


def test_boxes_of_vision_msgs_are_taken(parameters: dict[str, Any], observer: Observer) -> None:
    vision = pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not installed")
    publisher = observer.node.create_publisher(vision.Detection3DArray, BOXES_TOPIC, 10)
    given = box(PLACES[1])
    entry = vision.Detection3D(header=header(0, "base_link"))
    entry.bbox = vision.BoundingBox3D(center=given.pose, size=given.size)
    with running(parameters | {"topics.boxes": BOXES_TOPIC, "topics.boxes_type": "vision_msgs"}, observer):
        source = Source(observer)
        source.mounting()
        observer.wait_for_listener(publisher, "clouds")
        source.cloud(SCAN.points(0), 0)
        source.cloud(SCAN.points(0), 100)
        publisher.publish(vision.Detection3DArray(header=header(0, "base_link"), detections=[entry]))
        (message,) = observer.wait_for_messages(FEATURES, 1)
    assert [entry.instance_id for entry in message.features] == [0]


def test_stamps_that_jump_back_start_afresh(parameters: dict[str, Any], observer: Observer) -> None:
    with running(parameters, observer) as node:
        source = Source(observer)
        for ms in (60_000, 0, 100):
            source.cloud(SCAN.points(0), ms)
        node.wait_for("stamps jump back: clouds and boxes that wait are dropped, starting afresh")
        found = observer.wait_for_messages(FEATURES, 3)
    assert [stamp_ns(message.header) - START_NS for message in found] == [60 * 10**9, 0, 10**8]
