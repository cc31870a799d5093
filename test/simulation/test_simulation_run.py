"""`lift3d simulate` writes scenes that can be read again, goes on after an interruption, and refuses a wrong folder."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lift3d_ros.cli.main import main
from lift3d_ros.datasets.frames import read_scene
from lift3d_ros.datasets.points import read_points
from lift3d_ros.errors import ConfigError, DatasetError
from lift3d_ros.simulation.drive import Simulator
from lift3d_ros.simulation.frame import SimulatedFrame
from lift3d_ros.simulation.run import RunOptions, run_statistics, seeds_to_do, simulate
from lift3d_ros.simulation.scene_folder import write_scene_folder
from lift3d_ros.simulation.settings import SimulationSettings, load_settings
from lift3d_ros.simulation.statistics import frame_statistics, scene_statistics

SMALL = ["--frames", "1", "--width", "160", "--scenes", "2", "--seed", "40"]


@pytest.fixture(scope="module")
def scenes(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "scenes"
    assert main(["simulate", *SMALL, "--out", str(out)]) == 0
    return out


def test_scenes_hold_pictures_points_and_labels_that_can_be_read(scenes: Path) -> None:
    for name in ("simulated_000040", "simulated_000041"):
        scene = read_scene(scenes / name)
        (frame,) = scene.frames
        assert len(frame.images) == 6
        assert all(cv2.imread(str(image.path)).shape == (90, 160, 3) for image in frame.images.values())
        assert frame.boxes is not None
        assert frame.visibility is not None
        assert frame.num_points is not None
        assert ((frame.visibility >= 0) & (frame.visibility <= 1)).all()
        assert frame.num_points.max(initial=0) > 0
        assert frame.points_path is not None
        assert len(read_points(frame.points_path)[0]) > 3000


def test_a_contact_sheet_shows_the_scenes(scenes: Path) -> None:
    sheet = cv2.imread(str(scenes / "contact_sheet.png"))
    assert sheet.shape[0] > 400
    assert sheet.std() > 20


def test_finished_scenes_are_kept_and_missing_ones_made_again(scenes: Path) -> None:
    kept = scenes / "simulated_000040" / "meta.json"
    stamp = kept.stat().st_mtime_ns
    again = read_scene(scenes / "simulated_000041").frames[0]
    first = again.images["front"].path.read_bytes()
    (scenes / ".notes" / "simulated_000041.json").unlink()
    assert main(["simulate", *SMALL, "--out", str(scenes)]) == 0
    assert kept.stat().st_mtime_ns == stamp
    assert again.images["front"].path.read_bytes() == first


def test_a_scene_that_was_removed_is_made_again(scenes: Path) -> None:
    removed = scenes / "simulated_000041"
    shutil.rmtree(removed)
    assert main(["simulate", *SMALL, "--out", str(scenes)]) == 0
    assert len(read_scene(removed).frames) == 1


@pytest.mark.parametrize("content", ["", '{"seed": 41, "stati', "null", '{"statistics": {"frames": 1}}'])
def test_a_scene_whose_note_was_cut_short_is_not_done(scenes: Path, tmp_path: Path, content: str) -> None:
    shutil.copytree(scenes / ".notes", tmp_path / ".notes")
    for name in ("simulated_000040", "simulated_000041"):
        (tmp_path / name).mkdir()
    options = RunOptions(SimulationSettings(seed=40, scenes=2), tmp_path)
    assert list(seeds_to_do(options)) == []
    (tmp_path / ".notes" / "simulated_000041.json").write_text(content, encoding="utf-8")
    assert list(seeds_to_do(options)) == [41]
    counted = run_statistics(options)
    assert counted is not None
    assert counted.frames == 1


def test_a_note_is_written_whole_or_not_at_all(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def switched_off(descriptor: int) -> None:
        raise OSError("switched off")

    options = RunOptions(SimulationSettings(scenes=1, frames=1, width=64, sensor=False, lidar=False), tmp_path)

    def interrupted() -> None:
        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", switched_off)
            list(simulate(options))

    with pytest.raises(OSError, match="switched off"):
        interrupted()
    assert not (tmp_path / "simulation.json").exists()
    assert list(simulate(options)) == [0]
    note = tmp_path / ".notes" / "simulated_000000.json"
    note.unlink()
    with pytest.raises(OSError, match="switched off"):
        interrupted()
    assert not note.exists()


def test_a_damaged_record_of_the_settings_is_named(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(scenes, tmp_path / "scenes")
    (tmp_path / "scenes" / "simulation.json").write_text('{"vers', encoding="utf-8")
    assert main(["simulate", *SMALL, "--out", str(tmp_path / "scenes")]) == 2
    assert "simulation.json: is damaged" in capsys.readouterr().err


def test_after_a_wrong_rig_the_folder_takes_the_right_one(
    simulator: Simulator, repository: Path, tmp_path: Path
) -> None:
    command = ["simulate", *SMALL[:4], "--scenes", "1", "--out", str(tmp_path / "out"), "--rig"]
    assert main([*command, str(tmp_path / "typo.yaml")]) == 2
    assert main([*command, str(repository / "config" / "rigs" / "nuscenes_like.yaml")]) == 0


def test_a_rig_file_that_was_changed_is_not_mixed_with_the_former(
    simulator: Simulator, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = tmp_path / "my_car.yaml"
    text = (repository / "config" / "rigs" / "nuscenes_like.yaml").read_text(encoding="utf-8")
    rig.write_text(text, encoding="utf-8")
    command = ["simulate", *SMALL[:4], "--scenes", "1", "--out", str(tmp_path / "out"), "--rig", str(rig)]
    assert main(command) == 0
    assert main(command) == 0
    elsewhere = tmp_path / "same_car.yaml"
    shutil.copy(rig, elsewhere)
    assert main([*command[:-1], str(elsewhere)]) == 0
    rig.write_text(text.replace("1.51", "1.81"), encoding="utf-8")
    assert main(command) == 2
    assert "different: text of the rig file" in capsys.readouterr().err


def test_scenes_of_other_meshes_in_a_folder_of_the_same_name_are_not_mixed(
    simulator: Simulator, tmp_path: Path
) -> None:
    entry = {"name": "a", "file": "a.glb", "class": "car", "licence": "CC0 1.0", "split": "train"}
    for place, name in (("first", "a"), ("second", "b")):
        (tmp_path / place / "meshes").mkdir(parents=True)
        (tmp_path / place / "meshes" / "a.glb").touch()
        (tmp_path / place / "meshes" / "manifest.json").write_text(json.dumps([{**entry, "name": name}]))
    settings = SimulationSettings(scenes=1, frames=1, width=64, sensor=False, lidar=False, library_share=0.0)
    options = RunOptions(settings, tmp_path / "out", meshes=tmp_path / "first" / "meshes")
    assert list(simulate(options)) == [0]
    assert list(simulate(options)) == []
    with pytest.raises(ConfigError, match=r"\(different: text of the mesh manifest\)"):
        list(simulate(replace(options, meshes=tmp_path / "second" / "meshes")))


def test_scenes_of_a_former_version_are_not_mixed(scenes: Path, tmp_path: Path) -> None:
    shutil.copytree(scenes, tmp_path / "scenes")
    record = tmp_path / "scenes" / "simulation.json"
    facts = json.loads(record.read_text())
    facts["settings"]["a setting of then"] = facts["version"] = 0
    record.write_text(json.dumps(facts))
    settings = SimulationSettings(seed=40, scenes=2, frames=1, width=160)
    with pytest.raises(ConfigError, match=r"\(different: version\)"):
        list(simulate(RunOptions(settings, tmp_path / "scenes")))


def test_a_process_that_is_ended_says_that_scenes_are_kept(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lift3d_ros.simulation.run._start_worker", os._exit)
    options = RunOptions(SimulationSettings(scenes=2, frames=1, width=64), tmp_path)
    with pytest.raises(DatasetError, match=r"a process that rendered a scene was ended.*finished scenes are kept"):
        list(simulate(options, workers=2))


def test_a_folder_of_other_settings_is_refused(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", *SMALL[:2], "--width", "200", "--out", str(scenes)]) == 2
    assert "holds scenes of other settings (different: width)" in capsys.readouterr().err


def test_the_command_prints_the_shares_of_the_protocol(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", *SMALL, "--out", str(scenes)]) == 0
    printed = capsys.readouterr().out
    for text in ("labelled objects within 51.2 m of a frame", "partly hidden", "beyond 30 m", "at night or in rain"):
        assert text in printed


def test_two_processes_write_the_same_scenes(scenes: Path, tmp_path: Path) -> None:
    assert main(["simulate", *SMALL, "--workers", "2", "--out", str(tmp_path / "other")]) == 0
    for name in ("simulated_000040", "simulated_000041"):
        files = sorted(path.relative_to(scenes) for path in (scenes / name).rglob("*.jpg"))
        assert len(files) == 6
        for file in files:
            assert (scenes / file).read_bytes() == (tmp_path / "other" / file).read_bytes(), file


@pytest.mark.skipif(importlib.util.find_spec("rosbags") is None, reason="rosbags is not installed")
def test_a_recording_holds_the_labels(simulator: Simulator, tmp_path: Path) -> None:
    from lift3d_ros.bags.reader import BagReader

    command = [
        "simulate",
        "--frames",
        "2",
        "--width",
        "160",
        "--scenes",
        "1",
        "--format",
        "bag",
        "--out",
        str(tmp_path),
    ]
    assert main(command) == 0
    with BagReader(tmp_path / "simulated_000000") as reader:
        topics = {topic.name: topic.count for topic in reader.topics}
    assert topics["/ground_truth/boxes"] == 2
    assert topics["/points"] == 2
    assert topics["/front/image_raw/compressed"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--meshes", "/nowhere"], "/nowhere/manifest.json: not found"),
        (["--scenes", "0"], "--scenes 0: expected 1 to 1000000"),
        (["--config", "/nowhere.yaml"], "/nowhere.yaml: file not found"),
        (["--seed", "-3"], "--seed -3: expected 0 or more"),
        (["--width", "100000"], "--width 100000: expected 64 to 4096"),
        (["--frames", "1001"], "--frames 1001: expected 1 to 1000"),
        (["--split", "val"], "--split val: is of a folder of meshes; give it with --meshes"),
    ],
)
def test_a_wrong_argument_is_named(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "--out", str(tmp_path / "out"), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_without_opengl_the_command_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "moderngl", None)
    assert main(["simulate", "--out", str(tmp_path / "out")]) == 2
    assert "pip install moderngl" in capsys.readouterr().err


def test_objects_that_no_world_can_hold_are_refused(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lift3d_ros.simulation.drive._ATTEMPTS", 2)
    settings = SimulationSettings(frames=1, width=64, objects=(140, 150), holds_objects=True, class_weights={"bus": 1})
    with Simulator(settings, None) as hopeless, pytest.raises(ConfigError, match="none of 2 worlds has 140 to 150"):
        next(iter(hopeless.drive(0)))


def test_an_interrupted_scene_leaves_no_folder_of_its_name(drive: tuple[SimulatedFrame, ...], tmp_path: Path) -> None:
    steps = write_scene_folder(tmp_path / "scene", iter(drive), "scene", "", 80)
    next(steps)
    assert not (tmp_path / "scene").exists()
    list(steps)
    assert len(read_scene(tmp_path / "scene").frames) == len(drive)


def test_statistics_count_hidden_and_far_objects(drive: tuple[SimulatedFrame, ...], tmp_path: Path) -> None:
    counted = frame_statistics(drive[0].boxes, drive[0].visibility)
    distances = np.linalg.norm(drive[0].boxes.centers[:, :2], axis=1)
    assert counted.far == np.count_nonzero(distances > 30)
    assert counted.hidden == np.count_nonzero(drive[0].visibility < 0.8)
    assert counted.objects == len(drive[0].boxes)
    list(write_scene_folder(tmp_path / "scene", iter(drive), "scene", "", 80))
    stored = scene_statistics(read_scene(tmp_path / "scene").frames)
    assert stored is not None
    assert stored.objects == sum(len(frame.boxes) for frame in drive)
    assert stored.frames == 2


@pytest.mark.parametrize("seed", [9000, 9007])
def test_evaluation_scenes_hold_what_the_protocol_says(simulator: Simulator, repository: Path, seed: int) -> None:
    settings = load_settings(repository / "config" / "simulation" / "eval.yaml")
    small = replace(settings, frames=3, width=320, min_visible_px=3, sensor=False, lidar=False)
    with Simulator(small, None) as evaluation:
        for frame in evaluation.drive(seed):
            counted = frame_statistics(frame.boxes, frame.visibility)
            assert settings.objects[0] <= counted.fewest <= counted.most <= settings.objects[1]
            assert counted.far_share > 0.15
