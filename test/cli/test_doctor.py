"""`lift3d doctor` on this machine and on recordings; running systems are in test/nodes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import pytest
from drive import Drive

from lift3d_ros.cli.main import main


def test_the_report_about_this_machine_is_text_and_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor", "--json", str(tmp_path / "report.json")])
    text = capsys.readouterr().out
    data = json.loads((tmp_path / "report.json").read_text())
    titles = [section["title"] for section in data["sections"]]
    assert titles == ["environment", "packages", "backends", "shared memory", "weights", "files"]
    assert all(title in text for title in titles)
    assert status == data["exit_status"] == (1 if data["counts"]["FAIL"] else 0)
    by_name = {check["name"]: check for section in data["sections"] for check in section["checks"]}
    assert by_name["numpy"]["level"] == "OK"
    assert "untrained weights" in text or "hash ok" in text


def test_a_recording_gives_a_picture_of_each_camera(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = Drive(frames=2).write(tmp_path / "bag")
    assert main(["doctor", "--bag", str(bag), "--out", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["front.png", "left.png", "right.png"]
    picture = cv2.imread(str(tmp_path / "out" / "front.png"))
    assert picture.shape == (180, 320, 3)
    assert "0 WARN, 0 FAIL" in capsys.readouterr().out


def test_a_camera_that_cannot_be_used_fails_and_the_others_are_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drive = Drive(frames=2, mounted=("front", "right"), calibrated=("front", "left"), has_ego_motion=False)
    assert main(["doctor", "--bag", str(drive.write(tmp_path / "bag")), "--out", str(tmp_path / "out")]) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["front.png"]
    text = capsys.readouterr().out
    assert "FAIL  streams  no transform from 'base_link' to its frame 'left_optical_frame'" in text
    assert "FAIL  streams  no calibration: no CameraInfo beside /right/image" in text
    assert "OK    streams  /right/image/compressed, no calibration, frame 'right_optical_frame'" in text
    assert "from the rig file" not in text
    assert "WARN  streams               no ego motion" in text
    assert "rig file (--rig)" in text


def test_a_rig_file_supplies_what_the_recording_lacks(tmp_path: Path) -> None:
    bag = Drive(frames=2, mounted=("left", "right"), calibrated=()).write(tmp_path / "bag")
    rig = tmp_path / "rig.yaml"
    rig.write_text(
        "cameras:\n  front:\n    calibration: {width: 320, height: 180, fx: 224.0, fy: 224.0, cx: 159.5, cy: 89.5}\n"
        "    mounting: {position: [1.0, 0.0, 1.5], rpy_deg: [0.0, 0.0, 0.0]}\n"
    )
    assert main(["doctor", "--bag", str(bag), "--rig", str(rig), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "front.png").is_file()


def test_a_calibration_that_cannot_be_right_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = Drive(frames=2).write(tmp_path / "bag")
    assert main(["doctor", "--bag", str(bag), "--out", str(tmp_path / "fine")]) == 0
    assert "plausible" in capsys.readouterr().out
    rig = tmp_path / "rig.yaml"
    mounting = "{position: [1.0, 0.0, 1.5], rpy_deg: [180.0, 0.0, 0.0]}"
    rig.write_text(f"cameras:\n  front: {{mounting: {mounting}}}\n  left: {{}}\n  right: {{}}\n")
    main(["doctor", "--bag", str(bag), "--rig", str(rig), "--out", str(tmp_path / "out")])
    assert "camera 'front': upside down" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["nc_nuscenes_scene0103_mcap", "nc_dgp_scene02_mcap"])
def test_real_recordings_pass(shared_dir: Path, tmp_path: Path, name: str) -> None:
    bag = shared_dir / "data" / "bags" / name
    if not bag.exists():
        pytest.skip(f"{bag} does not exist")
    assert main(["doctor", "--bag", str(bag), "--out", str(tmp_path)]) == 0
    assert len(list(tmp_path.glob("*.png"))) == 6


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--bag", "absent", "--out", "out"], "absent"),
        (["--bag", "absent"], "--bag needs --out"),
        (["--rig", "rig.yaml"], "--rig is given without --bag or --topics"),
        (["--out", "out"], "--out is given without"),
        (["--cameras", "a,b"], "--cameras is given without --topics"),
        (["--seconds", "3", "--bag", "absent", "--out", "out"], "--seconds is given without --topics"),
        (["--topics", "--seconds", "0"], "--seconds 0"),
        (["--topics", "--cameras", " , "], "--cameras is empty"),
    ],
)
def test_wrong_use_is_one_sentence_and_status_2(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", *options]) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_topics_without_ros_says_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "lift3d_ros.nodes.topic_check", raising=False)
    monkeypatch.setitem(sys.modules, "rclpy", None)
    assert main(["doctor", "--topics"]) == 2
    error = capsys.readouterr().err
    assert "--topics needs ROS 2" in error
    assert "source the setup file" in error


@pytest.mark.ros
@pytest.mark.parametrize(
    ("name", "value"),
    [("ROS_DOMAIN_ID", "500"), ("ROS_DOMAIN_ID", "abc"), ("RMW_IMPLEMENTATION", "rmw_of_nobody")],
)
def test_topics_in_a_wrong_environment_says_which_variable(
    name: str, value: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 on this machine")
    monkeypatch.setenv(name, value)
    assert main(["doctor", "--topics"]) == 2
    error = capsys.readouterr().err
    assert name in error
    assert value in error
