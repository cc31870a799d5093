"""`lift3d replay` and `lift3d detect`: same input, same bytes; resumable; clear about what is wrong."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from drive import SPEED, START_NS, Drive

from lift3d_ros.bags.discover import GROUND_TRUTH_TOPIC
from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.cli.main import main as lift3d
from lift3d_ros.evaluation import run_report
from lift3d_ros.replay.results import read_detections
from lift3d_ros.types import Boxes3D, CameraImage

pytestmark = pytest.mark.usefixtures("graph_cache")

# With several threads the runtime does not promise the last digit of a sum; with one it does.
ONE_THREAD = str(Path(__file__).with_name("untrained_one_thread.yaml"))
FAST = ("--params", ONE_THREAD, "--no-pictures", "--no-report")
STABLE_FILES = ("detections.jsonl", "sets.jsonl", "run.json")


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Drive(frames=5).write(tmp_path_factory.mktemp("bags") / "drive")


@pytest.fixture(scope="module")
def reference(bag: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the whole recording."""
    out = tmp_path_factory.mktemp("reference")
    assert lift3d(["replay", str(bag), "--out", str(out / "run"), *FAST]) == 0
    return out / "run"


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def assert_same_bytes(first: Path, second: Path) -> None:
    for name in STABLE_FILES:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_the_same_recording_gives_the_same_bytes(bag: Path, reference: Path, tmp_path: Path) -> None:
    assert lift3d(["replay", str(bag), "--out", str(tmp_path), *FAST]) == 0
    assert_same_bytes(reference, tmp_path)
    results = lines(reference / "detections.jsonl")
    assert [result["temporal_state"] for result in results] == ["first_frame", *["fused"] * 4]
    assert not any(result["is_trained"] for result in results)


def test_a_resumed_run_gives_the_bytes_of_an_uninterrupted_one(bag: Path, reference: Path, tmp_path: Path) -> None:
    assert lift3d(["replay", str(bag), "--out", str(tmp_path), "--frames", "0:2", *FAST]) == 0
    assert len(lines(tmp_path / "detections.jsonl")) == 2
    assert lift3d(["replay", str(bag), "--out", str(tmp_path), "--resume", *FAST]) == 0
    assert_same_bytes(reference, tmp_path)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_how_far_it_is_and_a_file_does_not(
    bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stream in (terminal := Terminal(), file := io.StringIO()):
        monkeypatch.setattr(sys, "stderr", stream)
        assert lift3d(["replay", str(bag), "--out", str(tmp_path), "--frames", "1:3", "--overwrite", *FAST]) == 0
    assert re.search(r"detecting: +0%.* 0/2 .*detecting: +100%.* 2/2 .*boxes=\d", terminal.getvalue(), re.DOTALL)
    assert "detecting" not in file.getvalue()


def test_recorded_sets_give_the_same_boxes_again(bag: Path, reference: Path, tmp_path: Path) -> None:
    sets = reference / "sets.jsonl"
    assert lift3d(["replay", str(bag), "--out", str(tmp_path), "--sets", str(sets), *FAST]) == 0
    assert (tmp_path / "detections.jsonl").read_bytes() == (reference / "detections.jsonl").read_bytes()


def test_pictures_and_report_are_made(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lift3d(["replay", str(bag), "--out", str(tmp_path), "--frames", "1:3", "--params", ONE_THREAD]) == 0
    pictures = sorted((tmp_path / "pictures").iterdir())
    assert [path.name for path in pictures] == ["000000.jpg", "000001.jpg"]
    assert cv2.imread(str(pictures[0])).std() > 10
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "untrained weights" in page
    assert f"report: {tmp_path / 'report.html'}" in capsys.readouterr().out


def test_results_are_not_overwritten_unasked(bag: Path, reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lift3d(["replay", str(bag), "--out", str(reference), *FAST]) == 2
    assert (
        "already holds results; continue them with --resume, replace them with --overwrite" in capsys.readouterr().err
    )


def test_a_run_with_other_settings_is_not_resumed(
    bag: Path, reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["replay", str(bag), "--out", str(reference), "--resume", "--score-threshold", "0.5", *FAST]
    assert lift3d(command) == 2
    assert "made with different settings" in capsys.readouterr().err


class LeftStampsAreLate(Drive):
    def stamp_ns(self, name: str, index: int) -> int:
        return super().stamp_ns(name, index) + (70_000_000 if name == "left" else 0)


def test_ages_count_from_when_a_picture_was_taken_not_from_a_late_stamp(tmp_path: Path) -> None:
    bag, rig = LeftStampsAreLate(frames=2).write(tmp_path / "drive"), tmp_path / "rig.yaml"
    rig.write_text("cameras: {front: {}, left: {offset_s: 0.07}, right: {}}\n")
    command = ["replay", str(bag), "--rig", str(rig), *FAST]
    assert lift3d([*command, "--out", str(tmp_path / "run")]) == 0
    for result in read_detections(tmp_path / "run" / "detections.jsonl"):
        assert [round(use.age_s, 6) for use in result.cameras] == [0.03, 0.015, 0.0]
    assert lift3d([*command, "--sets", str(tmp_path / "run" / "sets.jsonl"), "--out", str(tmp_path / "again")]) == 0
    first, second = (tmp_path / name / "detections.jsonl" for name in ("run", "again"))
    assert first.read_bytes() == second.read_bytes()


class OneCamera(Drive):
    def picture(self, name: str, index: int) -> CameraImage | None:
        return super().picture(name, index) if name == "front" else None


def test_a_lone_camera_without_transforms_is_taken_to_look_ahead(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bag = OneCamera(frames=1, mounted=(), has_ego_motion=False).write(tmp_path / "phone")
    assert lift3d(["replay", str(bag), "--out", str(tmp_path / "run"), *FAST]) == 0
    (recorded,) = lines(tmp_path / "run" / "sets.jsonl")
    view = recorded["views"]["front"]  # type: ignore[index]
    np.testing.assert_allclose(np.array(view["T_base_cam"])[:3, 3], [0.0, 0.0, 1.5])
    assert "taken to look straight ahead from 1.50 m" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["replay", "/nowhere/drive.mcap"], "/nowhere/drive.mcap"),
        (["replay", "BAG", "--rig", "RIG"], "unknown name 'cameras.front.topicc'; did you mean 'topic'?"),
        (["replay", "BAG", "--score-threshold", "7"], "'score_threshold' is 7; expected 0 to 1"),
        (["replay", "BAG", "--model", "dfa3d_tini"], "did you mean 'dfa3d_tiny'"),
        (["replay", "BAG", "--params", "PARAMS"], "unknown name 'synk'; did you mean 'sync'?"),
        (["replay", "BAG", "--sets", "/nowhere/sets.jsonl"], "/nowhere/sets.jsonl"),
        (["replay", "BAG", "--frames", "90:99"], "no frame set was run"),
        (["detect", "EMPTY"], "has no meta.json, so the cameras are not known; give a rig file with --rig"),
        (["detect", "EMPTY", "--rig", "RIG_OK"], "expected one sub-folder for each camera of the rig"),
    ],
)
def test_bad_input_gets_one_line_that_names_it(
    arguments: list[str], message: str, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rig.yaml").write_text("cameras: {front: {topicc: /front/image/compressed}}\n", encoding="utf-8")
    (tmp_path / "params.yaml").write_text("synk: {window_s: 0.1}\n", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    rig_ok = tmp_path / "rig_ok.yaml"
    write_rig(rig_ok)
    places = {
        "BAG": str(bag),
        "RIG": str(tmp_path / "rig.yaml"),
        "RIG_OK": str(rig_ok),
        "PARAMS": str(tmp_path / "params.yaml"),
        "EMPTY": str(tmp_path / "empty"),
    }
    command = [places.get(argument, argument) for argument in arguments]
    assert lift3d([*command, "--out", str(tmp_path / "out"), "--no-pictures", "--no-report"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def write_rig(path: Path) -> None:
    blocks = ["cameras:"]
    for name, yaw in (("front", 0), ("back", 180)):
        blocks += [
            f"  {name}:",
            "    calibration: {width: 320, height: 180, fx: 220.0, fy: 220.0, cx: 159.5, cy: 89.5}",
            f"    mounting: {{position: [1.0, 0.0, 1.5], rpy_deg: [0.0, 0.0, {yaw}.0]}}",
        ]
    path.write_text("\n".join(blocks) + "\n", encoding="utf-8")


def test_a_folder_of_pictures_is_detected_with_a_rig_file(tmp_path: Path) -> None:
    write_rig(tmp_path / "rig.yaml")
    for name, numbers in (("front", (1, 2, 3)), ("back", (1, 3))):
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for number in numbers:
            pixels = np.random.default_rng(number).integers(0, 255, (180, 320, 3), dtype=np.uint8)
            assert cv2.imwrite(str(folder / f"{number:04d}.png"), pixels)
    command = [
        "detect",
        str(tmp_path / "pictures"),
        "--rig",
        str(tmp_path / "rig.yaml"),
        "--out",
        str(tmp_path / "run"),
    ]
    assert lift3d([*command, *FAST]) == 0
    results = lines(tmp_path / "run" / "detections.jsonl")
    used = [{use["name"]: use["is_used"] for use in result["cameras"]} for result in results]  # type: ignore[attr-defined]
    assert used == [{"front": True, "back": True}, {"front": True, "back": False}, {"front": True, "back": True}]
    assert [result["stamp_ns"] for result in results] == [500_000_000, 1_000_000_000, 1_500_000_000]


def test_a_scene_folder_needs_no_rig_and_is_scored(repository: Path, tmp_path: Path) -> None:
    pytest.importorskip("nuscenes", reason="nuscenes-devkit is not installed")
    command = ["detect", str(repository / "demo" / "street"), "--frames", "0:2", "--out", str(tmp_path)]
    assert lift3d([*command, *FAST]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["figures"]["num_frames"] == 2
    assert len(metrics["weights_sha256"]) == 64


class LabelledLater(Drive):
    """A parked car 20 m ahead of the start, labelled 90 ms after the last camera."""

    def more(self) -> Iterable[tuple[int, Callable[[BagWriter], Any]]]:
        for index in range(self.frames):
            stamp_ns = self.stamp_ns("right", index) + 90_000_000
            x = 20.0 - SPEED * (stamp_ns - self.start_ns) * 1e-9
            car = Boxes3D(
                "base_link", ("car",), np.array([[x, 0.0, 0.8]]), np.array([[4.0, 2.0, 1.6]]), np.zeros(1),
                np.zeros((1, 2)), np.ones(1), np.zeros(1, np.int64),
            )  # fmt: skip
            yield stamp_ns, lambda w, car=car, s=stamp_ns: w.boxes(GROUND_TRUTH_TOPIC, car, s, s)


def test_labels_beside_the_stamps_of_the_pictures_are_scored_and_drawn_where_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nuscenes", reason="nuscenes-devkit is not installed")
    drawn: list[Boxes3D | None] = []
    monkeypatch.setattr(
        run_report, "_write_sheet", lambda path, frame_set, pictures, result, truth, *_: drawn.append(truth)
    )
    bag = LabelledLater(frames=3).write(tmp_path / "drive")
    assert lift3d(["replay", str(bag), "--out", str(tmp_path / "run"), "--params", ONE_THREAD, "--no-report"]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["figures"]["num_frames"], metrics["figures"]["num_ground_truth"]) == (3, 3)
    for truth, result in zip(drawn, lines(tmp_path / "run" / "detections.jsonl"), strict=True):
        assert truth is not None
        assert truth.centers[0, 0] == pytest.approx(20.0 - SPEED * (int(str(result["stamp_ns"])) - START_NS) * 1e-9)


def test_help_of_every_verb_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("replay", "detect", "bag", "export", "doctor"):
        with pytest.raises(SystemExit) as stop:
            lift3d([verb, "--help"])
        assert stop.value.code == 0
        assert f"lift3d {verb}" in capsys.readouterr().out
