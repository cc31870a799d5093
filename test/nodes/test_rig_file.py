"""A node in a namespace, with remapped topics and a rig file that uses everything, gives what replay gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drive import SPEED, START_NS, Drive
from ros_system import READY, NodeProcess, play

from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.cli.main import main as lift3d
from lift3d_ros.geometry.boxes import transform_boxes
from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.replay.results import read_detections
from lift3d_ros.types import BevDetections, CameraModel

pytestmark = pytest.mark.ros

MS = 1_000_000
FRAMES = 3
OWN_VEHICLE = "[[[0, 100], [320, 100], [320, 180], [0, 180]]]"
RIG = f"""\
world_frame: odom
odometry_topic: /wheels/odometry
cameras:
  front: {{own_vehicle: {OWN_VEHICLE}}}
  left:
    topic: /left/image/compressed
    camera_info_topic: /left/camera_info
    mounting: {{position: [0.8, 0.5, 1.4], rpy_deg: [0.0, 5.0, 85.0]}}
  right:
    topic: /right/image/compressed
    offset_s: 0.04
    calibration:
      {{width: 320, height: 180, fx: 210.0, fy: 212.0, cx: 158.0, cy: 91.0,
       distortion_model: equidistant, distortion: [0.02, -0.01, 0.003, 0.0]}}
"""


class OddCar(Drive):
    """A distorted camera, one with late stamps, and ego motion in an Odometry topic only."""

    def stamp_ns(self, name: str, index: int) -> int:
        return super().stamp_ns(name, index) + (40 * MS if name == "right" else 0)

    def model(self, name: str) -> CameraModel:
        plain = super().model(name)
        if name != "left":
            return plain
        distortion = np.array([-0.2, 0.05, 0.001, -0.002, 0.0])
        return CameraModel(name, plain.frame_id, *self.size, plain.intrinsics, "plumb_bob", distortion)

    def more(self) -> Iterable[tuple[int, Callable[[BagWriter], Any]]]:
        ahead, zero = np.array([SPEED, 0.0, 0.0]), np.zeros(3)
        for s in range(START_NS - 200 * MS, self.stamp_ns("right", FRAMES), 50 * MS):
            T = make_transform(np.eye(3), SPEED * (s - START_NS) * 1e-9 * np.array([1.0, 0.0, 0.0]))
            yield s, lambda w, s=s, T=T: w.odometry(T, ahead, zero, s, s, topic="/wheels/odometry")


@dataclass
class Runs:
    """The folders of both runs."""

    bag: Path
    node: Path
    replay: Path

    def sets(self) -> tuple[list[Any], list[Any]]:
        return lines(self.node / "sets.jsonl"), lines(self.replay / "sets.jsonl")

    def detections(self) -> tuple[list[BevDetections], list[BevDetections]]:
        of_node, of_replay = (read_detections(folder / "detections.jsonl") for folder in (self.node, self.replay))
        return list(of_node), list(of_replay)


def lines(path: Path) -> list[Any]:
    """Return the documents of a file; the last digits of interpolated poses depend on which ones arrived."""
    text = path.read_text(encoding="utf-8")
    return [json.loads(line, parse_float=lambda number: round(float(number), 9)) for line in text.splitlines()]


def replay(bag: Path, rig: str, out: Path) -> Path:
    out.with_suffix(".rig.yaml").write_text(rig, encoding="utf-8")
    settings = out.with_suffix(".settings.yaml")
    settings.write_text(
        "model: dfa3d_tiny\nengine: {threads: 1}\ndetector: {score_threshold: 0.0, max_boxes: 20}\n", encoding="utf-8"
    )
    command = ["replay", str(bag), "--rig", str(out.with_suffix(".rig.yaml")), "--params", str(settings)]
    assert lift3d([*command, "--out", str(out), "--no-pictures", "--no-report"]) == 0
    return out


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, three_camera_graph: Path) -> Runs:
    folder = tmp_path_factory.mktemp("odd")
    bag = OddCar(frames=FRAMES, mounted=("front", "right"), calibrated=("front", "left"), has_ego_motion=False).write(
        folder / "drive"
    )
    (folder / "rig.yaml").write_text(RIG, encoding="utf-8")
    names = ("-r", "__ns:=/car")
    for topic in ("front/image/compressed", "front/camera_info"):
        names += ("-r", f"{topic}:=/{topic}")
    parameters = {
        "model": "dfa3d_tiny",
        "rig": folder / "rig.yaml", "output_frame": "odom", "record_sets": folder / "node" / "sets.jsonl",
        "topics.is_compressed": True, "sync.drop": False, "qos.reliability": "reliable", "engine.threads": 1,
        "detector.score_threshold": 0.0, "detector.max_boxes": 20,
    }  # fmt: skip
    with (
        NodeProcess("bev_detection", "--ros-args", *names, parameters=parameters) as node,
        NodeProcess("detection_recorder", str(folder / "node"), "--node", "/car/bev_detection"),
    ):
        node.wait_for(READY)
        play(bag, results="/car/bev_detection/detections")
    return Runs(bag, folder / "node", replay(bag, RIG, folder / "replay"))


def test_the_sets_have_the_calibration_mounting_offset_and_odometry_of_the_rig_file(runs: Runs) -> None:
    of_node, of_replay = runs.sets()
    assert of_node == of_replay
    assert [item["missing"] for item in of_node] == [[]] * FRAMES
    views = of_node[1]["views"]
    assert [views[name]["distortion_model"] for name in ("front", "left", "right")] == [
        "none", "plumb_bob", "equidistant",
    ]  # fmt: skip
    assert views["left"]["T_base_cam"][0][3] == 0.8
    # The reference is the camera that fires last, 30 ms after the first; its stamp is corrected.
    assert of_node[1]["stamp_ns"] == START_NS + 530 * MS
    assert views["front"]["T_reference_capture"][0][3] == pytest.approx(-SPEED * 0.030)
    assert of_node[1]["ego"]["T_world_base"][0][3] == pytest.approx(SPEED * 0.530)


def test_the_boxes_are_those_of_replay_in_the_output_frame(runs: Runs) -> None:
    of_node, of_replay = runs.detections()
    assert [result.stamp_ns for result in of_node] == [result.stamp_ns for result in of_replay]
    assert [result.temporal_state for result in of_node] == ["first_frame", *["fused"] * (FRAMES - 1)]
    for found, result in zip(of_node, of_replay, strict=True):
        x = SPEED * (result.stamp_ns - START_NS) * 1e-9
        expected = transform_boxes(make_transform(np.eye(3), [x, 0.0, 0.0]), result.boxes, "odom")
        assert found.boxes.frame_id == "odom"
        np.testing.assert_allclose(found.boxes.centers, expected.centers, atol=1e-5)
        np.testing.assert_allclose(found.boxes.yaws, expected.yaws, atol=1e-5)
        np.testing.assert_allclose(found.boxes.scores, expected.scores, atol=1e-6)  # pictures change them little more
    assert of_node[-1].boxes.centers[0, 0] != pytest.approx(of_replay[-1].boxes.centers[0, 0], abs=1.0)


def test_the_own_vehicle_of_the_rig_file_is_hidden_from_the_detector(runs: Runs, tmp_path: Path) -> None:
    visible = replay(runs.bag, RIG.replace(f"own_vehicle: {OWN_VEHICLE}", ""), tmp_path / "visible")
    without = next(read_detections(visible / "detections.jsonl"))
    hidden = runs.detections()[1][0]
    assert np.abs(without.boxes.scores - hidden.boxes.scores).max() > 1e-5
