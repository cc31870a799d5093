"""The demo itself: the bundled street through the real node, and without ROS."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from drive import Drive

from lift3d_ros.pipelines.bev_detection import BevDetectionConfig
from lift3d_ros.weights.manifest import find_model

pytestmark = pytest.mark.usefixtures("graph_cache")


def load_demo(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo", repository / "tools" / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["demo"] = module
    spec.loader.exec_module(module)
    return module


def is_trained() -> bool:
    return find_model(BevDetectionConfig().model).weights is not None


def check_results(out: Path) -> None:
    results = [json.loads(line) for line in (out / "street" / "detections.jsonl").read_text("utf-8").splitlines()]
    assert len(results) == 12
    assert all(use["is_used"] for result in results for use in result["cameras"])
    assert [result["temporal_state"] for result in results] == ["first_frame", *["fused"] * 11]
    page = (out / "report.html").read_text(encoding="utf-8")
    if importlib.util.find_spec("nuscenes"):  # computes the metrics; needs numpy 1
        metrics = json.loads((out / "street" / "metrics.json").read_text(encoding="utf-8"))
        assert metrics["figures"]["num_frames"] == 12
        assert BevDetectionConfig().model in metrics["model"]
        assert "Precision and recall" in page
    assert ("untrained weights" in page) != is_trained()
    assert all(text in page for text in ("Simulated street", "Real drive", "Trajectories"))
    assert not re.search(r"https?://", page)


@pytest.mark.ros
@pytest.mark.timeout(600)
def test_the_demo_plays_the_street_through_the_node(repository: Path, tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 on this machine")
    pytest.importorskip("lift3d_ros.msg", reason="the interfaces are not built: run 'make setup'")
    environment = {**os.environ, "LIFT3D_SHARED_DIR": str(tmp_path / "nowhere"), "DEMO_BAG": ""}
    command = [sys.executable, str(repository / "tools" / "demo.py"), "--out", str(tmp_path / "demo")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "playing it through the node over DDS" in done.stdout
    assert f"report: {tmp_path / 'demo' / 'report.html'}" in done.stdout
    check_results(tmp_path / "demo")


class CompressedRectified(Drive):
    def image_topic(self, name: str) -> str:
        return f"/sensing/{name}/image_rect_compressed"


@pytest.mark.ros
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("three_camera_graph")
def test_the_demo_plays_a_recording_of_the_user_through_the_node(repository: Path, tmp_path: Path) -> None:
    bag = CompressedRectified(frames=3).write(tmp_path / "drive")
    environment = {**os.environ, "DEMO_BAG": str(bag)}
    command = [sys.executable, str(repository / "tools" / "demo.py"), "--out", str(tmp_path / "demo")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("playing it through the node over DDS") == 2
    lines = (tmp_path / "demo" / "real" / "detections.jsonl").read_text(encoding="utf-8").splitlines()
    assert [use["is_used"] for line in lines for use in json.loads(line)["cameras"]] == [True] * 9
    page = (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    assert "No labels are compared here" in page
    assert ("simulated streets only" in page) == is_trained()


def test_a_recording_that_replay_refuses_is_refused_before_anything_is_started(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = load_demo(repository)
    bag = Drive(frames=1, mounted=(), has_ego_motion=False).write(tmp_path / "drive")
    monkeypatch.setattr(demo, "HAS_ROS", True)
    monkeypatch.setattr(demo.subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    monkeypatch.setattr(sys, "argv", ["demo", "--bag", str(bag), "--out", str(tmp_path / "out")])
    assert demo.main() == 2
    assert "no camera can be used. camera 'front'" in capsys.readouterr().err


@pytest.mark.ros
@pytest.mark.usefixtures("three_camera_graph")
def test_an_interrupted_demo_ends_in_one_line_and_leaves_no_process(repository: Path, tmp_path: Path) -> None:
    bag = Drive(frames=1).write(tmp_path / "drive")
    command = [sys.executable, str(repository / "tools" / "demo.py"), "--bag", str(bag), "--out", str(tmp_path / "out")]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert demo.stdout is not None
    lines = []
    for line in demo.stdout:
        lines.append(line)
        if "on onnxruntime; cameras" in line:  # the node is up, and so are recorder and player
            demo.send_signal(signal.SIGINT)
    text = "".join(lines)
    assert demo.wait(60) == 130, text
    assert "demo: interrupted" in text
    assert "Traceback" not in text
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.is_file()]
    assert not any(str(tmp_path).encode() in command for command in commands)


def test_without_ros_the_demo_replays_and_says_so(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = load_demo(repository)
    monkeypatch.setattr(demo, "HAS_ROS", False)
    monkeypatch.setattr(sys, "argv", ["demo", "--out", str(tmp_path)])
    monkeypatch.setenv("LIFT3D_SHARED_DIR", str(tmp_path / "nowhere"))
    monkeypatch.delenv("DEMO_BAG", raising=False)
    assert demo.main() == 0
    assert "WITHOUT the node" in capsys.readouterr().out
    check_results(tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "make demo DEMO_BAG=/data/drive" in page  # no real recording is at hand: the tab says how to get one


def test_the_tab_of_a_real_drive_says_what_the_weights_know(repository: Path) -> None:
    demo = load_demo(repository)
    scene = demo.Scene("real", Path("drive"), Path("out"))
    summary = demo.RunSummary(3, "lift3d-bev-tiny", True, None, None, 100.0)
    (text,) = demo.introduction(scene, summary)
    assert "simulated streets only" in text
    assert "No labels are compared here" in text
    (text,) = demo.introduction(scene, dataclasses.replace(summary, is_trained=False))
    assert "simulated streets" not in text


def test_a_wrong_recording_is_named(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = load_demo(repository)
    monkeypatch.setattr(sys, "argv", ["demo", "--bag", "/nowhere/drive", "--out", str(tmp_path)])
    assert demo.main() == 2
    assert "demo: error: /nowhere/drive" in capsys.readouterr().err
