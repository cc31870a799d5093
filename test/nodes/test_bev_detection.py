"""The bev_detection node on real rclpy: same boxes as replay, lifecycle, outputs, parameters."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from drive import START_NS, Drive
from lifecycle_msgs.msg import State, Transition
from ros_system import DETECTIONS, READY, NodeProcess, Observer, play, running_node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from visualization_msgs.msg import Marker, MarkerArray

from lift3d_ros.cli.main import main as lift3d
from lift3d_ros.msg import BevDetectionArray, StageTiming
from lift3d_ros.nodes.bev_detection_config import OUTPUT_TOPICS
from lift3d_ros.replay.results import read_detections
from lift3d_ros.types import Boxes3D

pytestmark = pytest.mark.ros

MARKERS = "/bev_detection/markers"


def assert_same_boxes(found: Boxes3D, expected: Boxes3D, tolerance: float) -> None:
    assert len(found) == len(expected)
    assert [found.class_names[i] for i in found.labels] == [expected.class_names[i] for i in expected.labels]
    for field in ("centers", "sizes", "yaws", "velocities", "scores"):
        np.testing.assert_allclose(getattr(found, field), getattr(expected, field), atol=tolerance, err_msg=field)
    np.testing.assert_array_equal(found.track_ids, expected.track_ids)


def test_the_node_gives_the_boxes_of_replay_over_the_sets_that_it_recorded(
    tmp_path: Path, parameters: dict[str, Any]
) -> None:
    bag, sets = Drive(frames=5).write(tmp_path / "drive"), tmp_path / "sets.jsonl"
    parameters |= {"record_sets": sets}
    with (
        NodeProcess("bev_detection", parameters=parameters) as node,
        NodeProcess("detection_recorder", str(tmp_path / "node")),
    ):
        node.wait_for(READY)
        play(bag)
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        "model: dfa3d_tiny\nengine: {backend: onnxruntime, threads: 1}\n"
        "detector: {score_threshold: 0.0, max_boxes: 20}\n",
        encoding="utf-8",
    )
    command = ["replay", str(bag), "--sets", str(sets), "--params", str(settings), "--no-pictures", "--no-report"]
    assert lift3d([*command, "--out", str(tmp_path / "replay")]) == 0
    of_node = list(read_detections(tmp_path / "node" / "detections.jsonl"))
    of_replay = list(read_detections(tmp_path / "replay" / "detections.jsonl"))
    assert [result.stamp_ns for result in of_node] == [result.stamp_ns for result in of_replay]
    assert [result.temporal_state for result in of_node] == ["first_frame", *["fused"] * 4]
    for found, expected in zip(of_node, of_replay, strict=True):
        assert_same_boxes(found.boxes, expected.boxes, 1e-4)
        assert [(use.name, use.stamp_ns) for use in found.cameras] == [
            (use.name, use.stamp_ns) for use in expected.cameras
        ]
        assert found.model.weights_sha256 == expected.model.weights_sha256


def test_every_output_arrives_and_says_that_the_weights_are_untrained(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    bag = Drive(frames=2).write(tmp_path / "drive")
    observer.listen(MARKERS, MarkerArray)
    observer.listen("/bev_detection/bev", Image)
    observer.listen("/bev_detection/timing", StageTiming)
    vision = pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not installed")
    observer.listen("/bev_detection/detections_vision", vision.Detection3DArray)
    with running_node(parameters, observer) as node:
        play(bag)
        detections = observer.wait_for_messages(DETECTIONS, 2)[-1]
        first_markers, markers = (message.markers for message in observer.wait_for_messages(MARKERS, 2)[:2])
        picture = observer.wait_for_messages("/bev_detection/bev", 2)[-1]
        standard = observer.wait_for_messages("/bev_detection/detections_vision", 2)[-1]
        timing = observer.wait_for_messages("/bev_detection/timing", 1)[-1]
        status = observer.wait_for_status("pipeline", "untrained weights")
        assert "untrained weights" in node.output
        offered = dict(observer.node.get_topic_names_and_types())
    documented = {f"/bev_detection/{name}": [kind.replace("/", "/msg/")] for name, (kind, _) in OUTPUT_TOPICS.items()}
    assert documented.items() <= offered.items()
    assert not detections.is_trained
    assert len(detections.weights_sha256) == 64
    assert [use.name for use in detections.cameras] == ["front", "left", "right"]
    assert [round(float(use.age), 3) for use in detections.cameras] == [0.03, 0.015, 0.0]
    assert first_markers[0].action == Marker.DELETEALL
    assert Marker.DELETEALL not in {marker.action for marker in markers}
    assert sum(marker.type == Marker.CUBE for marker in markers) == len(detections.detections) == 20
    assert any("untrained weights" in marker.text for marker in markers)
    pixels = np.frombuffer(picture.data, np.uint8).reshape(picture.height, picture.width, 3)
    assert picture.encoding == "rgb8"
    assert pixels.std() > 5
    for mine, theirs in zip(detections.detections, standard.detections, strict=True):
        assert theirs.bbox.center == mine.pose
        (hypothesis,) = theirs.results
        assert (hypothesis.hypothesis.class_id, hypothesis.hypothesis.score) == (mine.label, pytest.approx(mine.score))
        assert (theirs.bbox.size, hypothesis.pose.pose) == (mine.size, mine.pose)
        assert theirs.id == ("untrained weights" if mine.track_id < 0 else f"untrained weights {mine.track_id}")
        assert theirs.header == standard.header == detections.header
    assert list(timing.stages) == ["prepare", "inference", "decoding", "tracking"]
    assert timing.total_ms >= sum(timing.durations_ms) * 0.99
    assert status.level == b"\x01"


def test_results_go_on_after_a_recording_starts_again(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    bag = Drive(frames=3, period_s=1.0).write(tmp_path / "drive")
    with running_node(parameters, observer):
        play(bag, "--loops", "2")
        results = observer.wait_for_messages(DETECTIONS, 6)
    fused, first = BevDetectionArray.TEMPORAL_FUSED, BevDetectionArray.TEMPORAL_FIRST_FRAME
    assert [result.temporal_state for result in results] == [first, fused, fused, first, fused, fused]


def test_a_simulated_clock_that_jumps_back_starts_afresh(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    first, second = Drive(frames=2), Drive(frames=2, start_ns=START_NS + 2_000_000_000)
    clock = observer.node.create_publisher(Clock, "/clock", 10)
    with running_node(parameters | {"use_sim_time": True}, observer) as node:
        play(first.write(tmp_path / "first"), "--clock")
        observer.wait_for_messages(DETECTIONS, 2)

        def has_jumped() -> bool:
            clock.publish(Clock(clock=Time(sec=START_NS // 1_000_000_000 - 3600)))
            return "s: starting afresh" in node.output

        observer.wait_until(has_jumped, "a line about the clock")
        node.wait_for(r"the clock jumped by -360\d\.\d+ s: starting afresh")
        play(second.write(tmp_path / "second"))  # its stamps go on where those of the first end
        results = observer.wait_for_messages(DETECTIONS, 4)
    fused, fresh = BevDetectionArray.TEMPORAL_FUSED, BevDetectionArray.TEMPORAL_FIRST_FRAME
    assert [result.temporal_state for result in results] == [fresh, fused, fresh, fused]


def test_the_node_runs_on_torch_and_says_so(tmp_path: Path, parameters: dict[str, Any], observer: Observer) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    bag = Drive(frames=2).write(tmp_path / "drive")
    with running_node(parameters | {"engine.backend": "torch"}, observer) as node:
        node.wait_for(r"dfa3d_tiny \(untrained weights\) on torch; cameras front, left, right")
        play(bag)
        results = observer.wait_for_messages(DETECTIONS, 2)
        status = observer.wait_for_status("pipeline", "untrained weights")
    assert [len(result.detections) for result in results] == [20, 20]
    assert {value.key: value.value for value in status.values}["backend"] == "torch"


def test_raw_pictures_of_full_size_arrive(tmp_path: Path, parameters: dict[str, Any], observer: Observer) -> None:
    bag = Drive(frames=3, is_compressed=False, size=(1600, 900)).write(tmp_path / "drive")
    parameters |= {"topics.is_compressed": False, "qos.reliability": "best_effort"}
    with running_node(parameters, observer):
        play(bag)
        results = observer.wait_for_messages(DETECTIONS, 3)
    assert all(use.is_used for result in results for use in result.cameras)


def test_a_lifecycle_manager_can_start_stop_and_restart_it(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    bag = Drive(frames=2).write(tmp_path / "drive")
    requests = {
        "configure": Transition.TRANSITION_CONFIGURE,
        "activate": Transition.TRANSITION_ACTIVATE,
        "deactivate": Transition.TRANSITION_DEACTIVATE,
        "cleanup": Transition.TRANSITION_CLEANUP,
    }

    def change(name: str) -> bool:
        return observer.transition("bev_detection", requests[name])

    def state() -> int:
        return observer.state("bev_detection")

    with NodeProcess("bev_detection", parameters=parameters | {"autostart": False}) as node:
        assert not change("activate")
        assert change("configure")
        assert not change("configure")
        assert state() == State.PRIMARY_STATE_INACTIVE
        assert change("activate")
        node.wait_for(READY)
        play(bag)
        observer.wait_for_messages(DETECTIONS, 2)
        assert change("deactivate")
        assert change("activate")
        assert state() == State.PRIMARY_STATE_ACTIVE
        play(bag)
        observer.wait_for_messages(DETECTIONS, 4)
        assert change("deactivate")
        assert change("cleanup")
        assert state() == State.PRIMARY_STATE_UNCONFIGURED


def test_a_rig_file_is_read_again_at_each_configuring(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    rig = tmp_path / "rig.yaml"
    with NodeProcess("bev_detection", parameters=parameters | {"autostart": False, "rig": rig}):
        assert not observer.transition("bev_detection", Transition.TRANSITION_CONFIGURE)
        observer.wait_for_status("configuration", "rig.yaml: file not found")
        rig.write_text("cameras: {front: {}, left: {}, right: {}}\n", encoding="utf-8")
        assert observer.transition("bev_detection", Transition.TRANSITION_CONFIGURE)
        observer.wait_for_status("configuration", "accepted")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"detector.score_treshold": 0.5}, r"did you mean 'detector.score_threshold'", id="unknown name"),
        pytest.param({"sync.window_s": 1}, r"'sync.window_s' is 1, .* write 1\.0", id="whole number for a double"),
        pytest.param({"detector.max_boxes": 0}, r"'detector.max_boxes' is 0; expected 1 to 1000", id="out of range"),
        pytest.param({"engine.backend": "tensorrtt"}, r"'engine.backend' is 'tensorrtt'; expected one of", id="choice"),
        pytest.param({"model": "dfa3d_tinny"}, r"did you mean 'dfa3d_tiny'", id="unknown model"),
        pytest.param({"cameras": [""]}, r"'cameras' and 'rig' are both empty", id="no camera"),
        pytest.param({"rig": "/nowhere/rig.yaml"}, r"/nowhere/rig.yaml: file not found", id="missing rig file"),
        pytest.param({"topics.image": "/{cam}/image"}, r"'topics.image' is '/\{cam\}/image'; expected", id="pattern"),
        pytest.param({"topics.image": "/my {camera}"}, r"'/my front' is not a topic name", id="topic name"),
        pytest.param({"record_sets": "/proc/sets.jsonl"}, r"'record_sets': /proc/sets.jsonl cannot", id="record file"),
    ],
)
def test_a_wrong_parameter_is_refused_with_the_remedy(
    changes: dict[str, Any], message: str, parameters: dict[str, Any]
) -> None:
    with NodeProcess("bev_detection", parameters=parameters | changes) as node:
        node.wait_for(message)
        assert node.wait() == 2


def test_a_parameter_file_with_an_unknown_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("/**:\n  ros__parameters:\n    cameras: [front]\n    sink: {drop: true}\n", encoding="utf-8")
    with NodeProcess("bev_detection", "--ros-args", "--params-file", str(path)) as node:
        node.wait_for(r"unknown name 'sink.drop'; did you mean 'sync.drop'")
        assert node.wait() == 2


def test_arguments_that_ros_does_not_understand_are_answered_in_one_line() -> None:
    with NodeProcess("bev_detection", "--ros-args", "-p", "topics.image:={camera}/image_raw") as node:
        line = node.wait_for("error: the ROS arguments cannot be used")
        assert node.wait() == 2
    assert "needs quotes that reach the program: -p 'topics.image:=\"{camera}/image_raw\"'" in line


def test_the_export_of_a_graph_is_told_and_an_interrupt_does_not_wait_for_it(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFT3D_CACHE_DIR", str(tmp_path))
    with NodeProcess("bev_detection", parameters=parameters) as node:
        node.wait_for("exporting dfa3d_tiny")
        observer.wait_for_status(
            "pipeline", r"is exported first, once, .*: (exporting dfa3d_tiny|tracing the network|comparing frame)"
        )
        start_s = time.monotonic()
        node.interrupt()
        assert time.monotonic() - start_s < 10.0


def test_it_says_what_it_waits_for(parameters: dict[str, Any]) -> None:
    with NodeProcess("bev_detection", parameters=parameters) as node:
        line = node.wait_for(r"waiting for: pictures on")
    assert "/front/image/compressed, /left/image/compressed, /right/image/compressed" in line
    assert "calibration on /front/camera_info" in line
    assert "ego motion 'odom' -> 'base_link' on /tf" in line
