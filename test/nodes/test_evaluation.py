"""An evaluation gives the same figures for what a launched node published and for what replay found."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drive import Drive
from ros_system import READY, NodeProcess, play

from lift3d_ros.bags.discover import GROUND_TRUTH_TOPIC
from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.cli.main import main as lift3d
from lift3d_ros.replay.results import read_detections
from lift3d_ros.types import Boxes3D

pytestmark = pytest.mark.ros

SETTINGS = (
    "model: dfa3d_tiny\nengine: {backend: onnxruntime, threads: 1}\ndetector: {score_threshold: 0.0, max_boxes: 20}\n"
)


@dataclass(frozen=True)
class LabelledDrive(Drive):
    """A drive with given labels."""

    labels: Mapping[int, Boxes3D] = dataclasses.field(default_factory=dict)

    def more(self) -> Iterable[tuple[int, Callable[[BagWriter], Any]]]:
        for stamp_ns, boxes in self.labels.items():
            yield stamp_ns, lambda w, boxes=boxes, s=stamp_ns: w.boxes(GROUND_TRUTH_TOPIC, boxes, s, s)


def figures(bag: Path, results: Path, out: Path) -> dict[str, Any]:
    command = ["evaluate", "bev_detection", "--data", str(bag), "--from-results", str(results), "--out", str(out)]
    assert lift3d([*command, "--no-report"]) == 0
    found: dict[str, Any] = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["figures"]
    return found


def flat(document: Any, path: str = "") -> dict[str, Any]:
    """Return every value by its place."""
    if isinstance(document, dict):
        return {name: v for key, item in document.items() for name, v in flat(item, f"{path}/{key}").items()}
    return {path: document}


def moved(boxes: Boxes3D) -> Boxes3D:
    """Some of the boxes, beside where they were found: labels that an untrained model has partly right."""
    chosen = boxes.select(np.arange(0, len(boxes), 2))
    offsets = np.linspace(0.0, 3.0, len(chosen))[:, None] * [1.0, 0.0, 0.0]
    return dataclasses.replace(
        chosen, centers=chosen.centers + offsets, velocities=np.zeros((len(chosen), 2)), scores=np.ones(len(chosen))
    )


def test_the_detections_of_a_launched_node_score_as_those_of_replay(tmp_path: Path, parameters: dict[str, Any]) -> None:
    pytest.importorskip("nuscenes", reason="nuscenes-devkit is not installed")
    settings = tmp_path / "settings.yaml"
    settings.write_text(SETTINGS, encoding="utf-8")
    replay = ("--params", str(settings), "--no-pictures", "--no-report")
    unlabelled = Drive(frames=3).write(tmp_path / "unlabelled")
    assert lift3d(["replay", str(unlabelled), "--out", str(tmp_path / "first"), *replay]) == 0
    detected = read_detections(tmp_path / "first" / "detections.jsonl")
    labels = {result.stamp_ns: moved(result.boxes) for result in detected}
    bag, of_node = LabelledDrive(frames=3, labels=labels).write(tmp_path / "drive"), tmp_path / "node"
    parameters |= {"record_sets": of_node / "sets.jsonl"}
    with (
        NodeProcess("bev_detection", parameters=parameters) as node,
        NodeProcess("detection_recorder", str(of_node)),
    ):
        node.wait_for(READY)
        play(bag)
    same_sets = ("--sets", str(of_node / "sets.jsonl"))
    assert lift3d(["replay", str(bag), "--out", str(tmp_path / "replay"), *same_sets, *replay]) == 0
    expected = figures(bag, tmp_path / "replay", tmp_path / "out_replay")
    measured = figures(bag, of_node, tmp_path / "out_node")
    assert expected["num_frames"] == 3
    assert 0.05 < expected["mAP"] < 0.95
    # A message has scores of 32 bits, by which errors are averaged, and headings as quaternions: digits are lost there.
    found, wanted = flat(measured), flat(expected)
    assert found.keys() == wanted.keys()
    errors = {name for name in wanted if any(part in name for part in ("ATE", "ASE", "AOE", "AVE", "NDS", "nds"))}
    assert {name: found[name] for name in errors} == pytest.approx({name: wanted[name] for name in errors}, abs=1e-7)
    assert {k: v for k, v in found.items() if k not in errors} == {k: v for k, v in wanted.items() if k not in errors}
    assert any("AP" in name for name in wanted.keys() - errors)
