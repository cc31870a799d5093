"""The node takes from rig file, topics and transforms what replay takes from them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from drive import Drive
from ros_system import DETECTIONS, READY, NodeProcess, Observer, play, running_node

from lift3d_ros.cli.main import main as lift3d
from lift3d_ros.types import CameraImage

pytestmark = pytest.mark.ros


def mountings(sets: Path) -> list[dict[str, Any]]:
    """Return where each camera of each recorded set sits."""
    documents = [json.loads(line) for line in sets.read_text(encoding="utf-8").splitlines()]
    return [{name: view["T_base_cam"] for name, view in document["views"].items()} for document in documents]


class CompressedWithoutSaying(Drive):
    def image_topic(self, name: str) -> str:
        return f"/{name}/image_color"


def test_pictures_are_taken_in_the_type_in_which_they_are_published_whatever_the_topic_is_called(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    bag = CompressedWithoutSaying(frames=2).write(tmp_path / "drive")
    parameters |= {"topics.is_compressed": False, "topics.image": '"{camera}/image_color"'}
    with running_node(parameters, observer):
        play(bag)
        results = observer.wait_for_messages(DETECTIONS, 2)
    assert all(use.is_used for result in results for use in result.cameras)


class LeftHasAFrameThatNobodyKnows(Drive):
    """/tf_static has the mounting of the front camera, the rig file another one; that of `left` is in the rig only."""

    def picture(self, name: str, index: int) -> CameraImage | None:
        image = super().picture(name, index)
        return dataclasses.replace(image, frame_id="cam_7") if image is not None and name == "left" else image


def test_the_node_takes_the_mountings_that_replay_takes_from_the_same_rig_file(
    tmp_path: Path, parameters: dict[str, Any]
) -> None:
    bag = LeftHasAFrameThatNobodyKnows(frames=3, mounted=("front", "right")).write(tmp_path / "drive")
    rig, sets = tmp_path / "rig.yaml", tmp_path / "sets.jsonl"
    rig.write_text(
        "cameras:\n"
        "  front: {topic: /front/image/compressed, mounting: {position: [9.0, 0.0, 1.5]}}\n"
        "  left: {topic: /left/image/compressed, mounting: {position: [8.0, 0.5, 1.5], rpy_deg: [0, 0, 90]}}\n"
        "  right: {topic: /right/image/compressed}\n"
    )
    with NodeProcess(
        "bev_detection", parameters=parameters | {"cameras": [""], "rig": rig, "record_sets": sets}
    ) as node:
        node.wait_for(READY)
        play(bag)
    command = ["replay", str(bag), "--rig", str(rig), "--out", str(tmp_path / "replay"), "--no-pictures", "--no-report"]
    assert lift3d([*command, "--model", "dfa3d_tiny"]) == 0
    of_node, of_replay = mountings(sets), mountings(tmp_path / "replay" / "sets.jsonl")
    assert len(of_node) == 3
    assert of_node == of_replay
    assert [matrix[0][3] for matrix in of_node[0].values()] == [9.0, 8.0, 1.0]
