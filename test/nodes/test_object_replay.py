"""The object_reconstruction node gives the meshes of `lift3d replay` for the same recording."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ros_system import NodeProcess, Observer
from tabletop import BOXES_TOPIC, IMAGE_TOPIC, INFO_TOPIC, Tabletop
from untrained_lrm import NAME, add_untrained_lrm, usual_density

from lift3d_ros.cli.main import main as lift3d
from lift3d_ros.msg import StageTiming

for package in ("torch", "trimesh", "skimage"):
    pytest.importorskip(package)
pytestmark = pytest.mark.ros

TIMING = "/object_reconstruction/timing"


def test_the_node_gives_the_meshes_of_replay(
    tmp_path: Path, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_untrained_lrm(tmp_path, monkeypatch)
    bag = Tabletop(frames=3).write(tmp_path / "tabletop")
    settings = tmp_path / "settings.yaml"
    surface = f"{{resolution: 16, threshold: {usual_density()}}}"
    settings.write_text(f"engine: {{threads: 1}}\nsurface: {surface}\ntrigger: {{min_interval_s: 1.5}}\n")
    command = [
        "replay",
        str(bag),
        "--task",
        "object_reconstruction",
        "--out",
        str(tmp_path / "replay"),
        "--no-pictures",
    ]
    assert lift3d([*command, "--params", str(settings), "--model", NAME, "--backend", "torch"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "replay" / "objects.jsonl").read_text().splitlines()]
    assert [line["error"] for line in lines] == [None, None]  # the second picture lies within the interval
    observer.listen(TIMING, StageTiming)
    parameters = {
        "model": NAME,
        "topics.image": IMAGE_TOPIC,
        "topics.camera_info": INFO_TOPIC,
        "topics.boxes": BOXES_TOPIC,
        "qos.depth": 100,
        "qos.reliability": "reliable",
        "surface.resolution": 16,
        "surface.threshold": usual_density(),
        "trigger.min_interval_s": 1.5,
        "output.folder": tmp_path / "node",
        "engine.backend": "torch",
        "engine.threads": 1,
    }
    with NodeProcess("object_reconstruction", parameters=parameters) as node:
        node.wait_for(r"small \(untrained weights\) on torch")
        player = NodeProcess("bag_player", str(bag), "--rate", "1")
        observer.wait_for_messages(TIMING, 2)
        assert player.wait(60.0) == 0, player.output
        observer.wait_for_status("pipeline", "idle")
    expected = {path.name: path.read_bytes() for path in (tmp_path / "replay" / "meshes").iterdir()}
    found = {path.name: path.read_bytes() for path in (tmp_path / "node").iterdir()}
    assert len(expected) == 2
    assert found == expected
