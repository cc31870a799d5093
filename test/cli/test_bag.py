"""`lift3d bag` says what is in a recording, and makes recordings from labelled data."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lift3d_ros.bags.reader import open_bag
from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.cli import bag
from lift3d_ros.errors import BagError, ConfigError, DatasetError


def run(*arguments: str | Path) -> int:
    """Run the verb without the other verbs; errors come out as the main command gets them."""
    parser = argparse.ArgumentParser(prog="lift3d")
    bag.add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["bag", *map(str, arguments)])
    return int(args.run(args))


def helper(name: str) -> ModuleType:
    path = Path(__file__).parents[1] / "datasets" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"test_cli_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def scene_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "scene"
    folder.mkdir()
    helper("small_scene").write_scene_folder(folder)
    return folder


@pytest.fixture
def recording(scene_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert run("from-frames", scene_folder, "--out", tmp_path / "bag") == 0
    capsys.readouterr()
    return tmp_path / "bag"


@pytest.fixture(scope="module")
def nuscenes_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("nuscenes", reason="nuscenes-devkit is not installed")
    root = tmp_path_factory.mktemp("nuscenes")
    helper("nuscenes_mini").write_nuscenes(root)
    return root


def test_info_lists_topics_and_what_the_detector_would_use(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", recording) == 0
    out = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.startswith("  /")}
    assert rows["/front/camera_info"][:2] == ["sensor_msgs/msg/CameraInfo", "3"]
    kind, count, rate = rows["/odom"]
    assert kind == "nav_msgs/msg/Odometry"
    assert float(rate) == pytest.approx(20.0, abs=0.3)
    assert int(count) == pytest.approx(1.4 * 20, abs=2)
    assert "ROS 2, " in out
    assert "1.4 s, from 2023-11-14 22:13:19 UTC" in out
    assert "ego motion: odom -> base_link from /tf" in out
    assert "ground truth: /ground_truth/boxes" in out
    assert "Warnings" not in out


def test_info_accepts_a_calibration_for_the_full_size_as_replay_does(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = tmp_path / "rig.yaml"
    rig.write_text(
        "cameras:\n  front:\n    calibration: {width: 480, height: 320, fx: 400, fy: 400, cx: 239, cy: 159}\n"
    )
    assert run("info", recording, "--rig", rig) == 0
    assert "camera 'front': its calibration for 480x320 is scaled to pictures of 48x32" in capsys.readouterr().out


def test_info_warns_of_what_is_missing(shared_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", shared_dir / "data" / "bags" / "raspicam_fiducials.bag") == 1
    out = capsys.readouterr().out
    assert "ROS 1, 16 messages" in out
    assert "camera 'raspicam_node': no transform from 'base_link' to its frame 'raspicam'" in out
    assert "no ego motion" in out


def test_info_takes_the_rest_from_a_rig_file(
    shared_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = tmp_path / "rig.yaml"
    rig.write_text(
        "cameras:\n  eye:\n    topic: /raspicam_node/image/compressed\n"
        "    mounting: {position: [0.1, 0.0, 0.2], rpy_deg: [0.0, 0.0, 0.0]}\n"
    )
    assert run("info", shared_dir / "data" / "bags" / "raspicam_fiducials.bag", "--rig", rig) == 0
    out = capsys.readouterr().out
    assert "eye /raspicam_node/image/compressed" in " ".join(out.split())
    assert "no transform" not in out


def test_info_of_a_recording_without_cameras_still_lists_its_topics(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with BagWriter(tmp_path / "odom_only") as writer:
        writer.odometry(np.eye(4), np.zeros(3), np.zeros(3), 1, 1)
    assert run("info", tmp_path / "odom_only") == 1
    out = capsys.readouterr().out
    assert "/odom" in out
    assert "The detector can use nothing of it" in out
    assert "no camera found" in out


def test_info_of_a_truncated_recording_says_so(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = recording / "bag.mcap"
    file.write_bytes(file.read_bytes()[:-3000])
    assert run("info", recording) == 0
    assert "cut short or damaged" in capsys.readouterr().out


def test_info_of_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="not found"):
        run("info", tmp_path / "absent")
    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        run("info", tmp_path, "--rig", tmp_path / "absent.yaml")


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_from_frames_writes_beside_the_user_and_says_where(
    scene_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    storage: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("from-frames", "scene", "--storage", storage) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"wrote scene_{storage} (")
    assert "writing scene" in captured.err
    with open_bag(tmp_path / f"scene_{storage}") as reader:
        assert f"({reader.message_count} messages)" in captured.out


def test_from_frames_replaces_only_on_demand(scene_folder: Path, recording: Path) -> None:
    with pytest.raises(BagError, match="--overwrite"):
        run("from-frames", scene_folder, "--out", recording)
    assert run("from-frames", scene_folder, "--out", recording, "--overwrite") == 0


def test_from_frames_of_another_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"meta\.json: not found"):
        run("from-frames", tmp_path, "--out", tmp_path / "bag")
    assert not (tmp_path / "bag").exists()


def test_from_nuscenes_lists_scenes(nuscenes_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("from-nuscenes", nuscenes_root, "--list") == 0
    assert capsys.readouterr().out == "scene-0103  Many peds, turn left\n"


def test_from_nuscenes_writes_a_scene(
    nuscenes_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("from-nuscenes", nuscenes_root, "--scene", "scene-0103") == 0
    assert capsys.readouterr().out.startswith("wrote scene-0103_mcap (")
    assert run("info", "scene-0103_mcap") == 0
    assert "ground truth: /ground_truth/boxes" in capsys.readouterr().out


def test_from_nuscenes_goes_on_where_it_was_stopped(
    nuscenes_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(shutil.copytree(nuscenes_root, tmp_path / "root"))
    out = tmp_path / "bags"
    arguments = ["from-nuscenes", root, "--scene", "all", "--out", out, "--storage", "sqlite3", "--sweeps"]
    assert run(*arguments) == 0
    assert (out / "scene-0103_sqlite3" / "metadata.yaml").is_file()
    assert "wrote" in capsys.readouterr().out
    assert run(*arguments) == 0
    assert "kept" in capsys.readouterr().out
    assert run(*arguments, "--overwrite") == 0
    assert "wrote" in capsys.readouterr().out


def test_from_nuscenes_answers_a_wrong_scene_with_the_nearest(nuscenes_root: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="did you mean 'scene-0103'"):
        run("from-nuscenes", nuscenes_root, "--scene", "scene-0130", "--out", tmp_path / "bag")
    with pytest.raises(DatasetError, match=r"tables found: v1\.0-mini"):
        run("from-nuscenes", nuscenes_root, "--list", "--version", "v1.0-tset")


@pytest.mark.parametrize("action", [[], ["info"], ["from-frames"], ["from-nuscenes"]])
def test_help_teaches_by_example(action: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*action, "--help")
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert f"lift3d bag {' '.join(action) or 'info'}" in out


@pytest.mark.parametrize("arguments", [[], ["from-nuscenes", "x"], ["from-frames", "x", "--storage", "zip"]])
def test_wrong_use_exits_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2


def test_objects_of_a_recording_become_captures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import tabletop

    recording = tabletop.Tabletop(frames=3).write(tmp_path / "bag")
    assert (
        run("to-objects", recording, "--object-frame", "base_link", "--label", "ball", "--out", tmp_path / "out") == 0
    )
    assert f"{tmp_path / 'out' / 'ball_7'}: 3 pictures" in capsys.readouterr().out
    assert (tmp_path / "out" / "ball_7" / "transforms.json").is_file()
    with pytest.raises(ConfigError, match=r"--box: there is no 3D box.*--object-frame"):
        run("to-objects", recording, "--box", "1,2,30,40", "--out", tmp_path / "box")
    with pytest.raises(ConfigError, match="--min-score nan: expected 0 to 1"):
        run("to-objects", recording, "--min-score", "nan", "--out", tmp_path / "box")
    with pytest.raises(ConfigError, match=r"--out .*is a file; give a folder"):
        run("to-objects", recording, "--out", tmp_path / "out" / "ball_7" / "transforms.json")
    with pytest.raises(BagError, match=r"--camera-info is '/nope', which is no topic of type"):
        run("to-objects", recording, "--camera-info", "/nope", "--out", tmp_path / "box")


def test_several_cameras_are_told_apart_by_the_option_of_the_command(recording: Path, tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"topics of pictures: .*expected one. Name it with --image$"):
        run("to-objects", recording, "--out", tmp_path / "out")
