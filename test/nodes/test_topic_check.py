"""`lift3d doctor --topics` on real systems: healthy, with a fault on each camera, and a recording being played."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from drive import Drive
from ros_system import NodeProcess

from lift3d_ros.cli.main import main as lift3d
from lift3d_ros.errors import ConfigError
from lift3d_ros.nodes.topic_check import Question, observe

pytestmark = pytest.mark.ros

PUBLISHER = Path(__file__).parents[1] / "doctor" / "camera_publisher.py"


@contextlib.contextmanager
def vehicle(**cameras: list[str]) -> Iterator[None]:
    """Run a vehicle with cameras, name -> faults."""
    given = json.dumps([{"name": name, "faults": faults} for name, faults in cameras.items()])
    process = subprocess.Popen([sys.executable, str(PUBLISHER), given], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20.0)


def doctor(tmp_path: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """Return exit status and report."""
    file = tmp_path / "report.json"
    status = lift3d(["doctor", "--topics", "--seconds", "1.5", "--json", str(file), *options])
    return status, json.loads(file.read_text())


def lines(report: dict[str, Any], title: str, level: str) -> list[str]:
    (section,) = [section for section in report["sections"] if section["title"] == title]
    return [
        f"{check['name']}: {check['text']} -> {check['remedy']}"
        for check in section["checks"]
        if check["level"] == level
    ]


def test_a_healthy_system_passes_and_gives_a_calibration_picture_of_each_camera(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with vehicle(front=[], left=["latched"]):
        status, report = doctor(tmp_path, "--out", str(tmp_path / "pictures"))
    assert status == 0
    assert report["counts"]["FAIL"] == 0
    for camera in ("front", "left"):
        # A busy machine may delay some pictures.
        assert [line for line in lines(report, f"camera '{camera}'", "WARN") if not line.startswith("rate")] == []
    assert any("latched" in line for line in lines(report, "camera 'left'", "OK"))
    assert any("odom" in line and "Hz" in line for line in lines(report, "system", "OK"))
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["front.png", "left.png"]
    (front,) = [row for row in report["table"] if row[0] == "front"]
    assert 5.0 < float(front[2]) < 15.0
    assert front[1] == "/front/image"
    assert front[3] == "320x180"
    assert front[5:7] == ["OK", "OK"]
    assert "/front/image" in capsys.readouterr().out


def test_each_fault_is_named_with_its_topic_and_a_remedy(tmp_path: Path) -> None:
    with vehicle(
        good=[],
        homeless=["no_transform"],
        uncalibrated=["zero_focal"],
        early=["future"],
        unstamped=["zero_stamp"],
        silent=["no_info"],
        cut=["half_height"],
    ):
        status, report = doctor(tmp_path, "--cameras", "good,homeless,uncalibrated,early,unstamped,silent,cut,absent")
    assert status == 1
    assert lines(report, "camera 'good'", "FAIL") == []
    expected = {
        "homeless": ("transform", "/homeless/image", "homeless_optical_frame", "static_transform_publisher"),
        "uncalibrated": ("calibration", "/uncalibrated/camera_info", "fx=0", "calibrate the camera"),
        "early": ("stamps", "/early/image", "in the future", "synchronise the clocks"),
        "unstamped": ("stamps", "/unstamped/image", "stamps are zero", "header.stamp"),
        "silent": ("calibration", "/silent/camera_info", "nobody publishes", "rig file"),
        "cut": ("calibration", "/cut/image", "320x90", "CameraInfo of this resolution"),
    }
    for camera, words in expected.items():
        (line,) = lines(report, f"camera '{camera}'", "FAIL")
        assert all(word in line for word in words), line
    absent = lines(report, "camera 'absent'", "FAIL")
    assert any("'/absent/image': nobody publishes it" in line and "/good/image" in line for line in absent)


def test_a_publisher_whose_quality_of_service_does_not_fit_the_node_is_named(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("/**:\n  ros__parameters:\n    cameras: [front]\n    qos:\n      reliability: reliable\n")

    with vehicle(front=[]):
        status, report = doctor(tmp_path, "--params", str(params))
    assert status == 1
    (line,) = [line for line in lines(report, "camera 'front'", "FAIL") if line.startswith("pictures")]
    for words in ("/front/image", "/vehicle offers best_effort", "requests reliable", "qos.reliability"):
        assert words in line


def test_a_recording_that_is_played_in_a_loop_passes_with_warnings(tmp_path: Path) -> None:
    bag = Drive(frames=10, period_s=0.1).write(tmp_path / "bag")
    with NodeProcess("bag_player", str(bag), "--rate", "1", "--loops", "60", "--no-wait"):
        status, report = doctor(tmp_path, "--cameras", "front,left,right")
    assert status == 0
    warnings = lines(report, "camera 'front'", "WARN")
    assert any("topics.is_compressed" in line for line in warnings)
    assert any("stamps jump back" in line for line in warnings)
    assert any("a recording is played" in line for line in lines(report, "system", "WARN"))


def test_nothing_published_is_a_failure_that_says_what_to_check(tmp_path: Path) -> None:
    status, report = doctor(tmp_path)
    assert status == 1
    (line,) = lines(report, "system", "FAIL")
    assert "no colour pictures" in line
    assert "ROS_DOMAIN_ID" in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/**:\n  ros__parameters:\n    camras: [front]\n", "camras.*did you mean 'cameras'"),
        ("/**:\n  ros__parameters:\n    cameras: [front, 1]\n", "no ROS parameter"),
        ("/**:\n  ros__parameters:\n    sync:\n      window_s: 1\n", r"write 1\.0"),
    ],
)
def test_a_wrong_parameter_file_is_refused(tmp_path: Path, text: str | None, words: str) -> None:
    params = tmp_path / "params.yaml"
    if text is not None:
        params.write_text(text)
    with pytest.raises(ConfigError, match=words):
        observe(Question(params=params, seconds=0.1))
