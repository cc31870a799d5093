"""`lift3d replay` goes on after bad pictures and transforms, and never loses results to a wrong command."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drive import Drive

from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.cli.main import main as lift3d
from lift3d_ros.types import CameraImage, CameraModel, Float64Array

pytestmark = pytest.mark.usefixtures("graph_cache")

MODEL = ("--model", "dfa3d_tiny")
FAST = (*MODEL, "--no-pictures", "--no-report")


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Drive(frames=3).write(tmp_path_factory.mktemp("bags") / "drive")


def results(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "detections.jsonl").read_text(encoding="utf-8").splitlines()]


class OneCameraWithDamage(Drive):
    def picture(self, name: str, index: int) -> CameraImage | None:
        image = super().picture(name, index) if name == "front" else None
        if image is None or index != 1:
            return image
        return CameraImage(name, image.stamp_ns, image.frame_id, "jpeg", image.data[: image.data.size // 2])


def test_a_set_without_a_usable_picture_is_left_out_and_the_run_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bag, whole, parts = OneCameraWithDamage(frames=4).write(tmp_path / "drive"), tmp_path / "whole", tmp_path / "parts"
    assert lift3d(["replay", str(bag), "--out", str(whole), *FAST]) == 0
    assert "/front/image/compressed': the JPEG picture of 320x180 is truncated" in caplog.text
    assert lift3d(["replay", str(bag), "--out", str(parts), "--frames", "0:3", *FAST]) == 0
    assert lift3d(["replay", str(bag), "--out", str(parts), "--resume", *FAST]) == 0
    stamps = [result["stamp_ns"] for result in results(whole)]
    assert len(stamps) == 3
    assert [result["stamp_ns"] for result in results(parts)] == stamps


class LastCameraIsAwayForAWhile(Drive):
    def picture(self, name: str, index: int) -> CameraImage | None:
        return None if name == "right" and 1 <= index < 5 else super().picture(name, index)


def test_a_camera_that_was_away_is_used_again(tmp_path: Path) -> None:
    bag = LastCameraIsAwayForAWhile(frames=12, period_s=0.1).write(tmp_path / "drive")
    assert lift3d(["replay", str(bag), "--out", str(tmp_path / "run"), *FAST]) == 0
    is_used = [
        use["is_used"] for result in results(tmp_path / "run") for use in result["cameras"] if use["name"] == "right"
    ]
    assert is_used[:5] == [True, False, False, False, False]
    assert all(is_used[6:])


def test_replay_says_that_there_is_no_ego_motion(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bag = Drive(frames=1, has_ego_motion=False).write(tmp_path / "drive")
    assert lift3d(["replay", str(bag), "--out", str(tmp_path / "run"), *FAST]) == 0
    assert "no ego motion: neither /tf nor an Odometry topic moves 'base_link'" in caplog.text


class LeftIsNotStamped(Drive):
    def stamp_ns(self, name: str, index: int) -> int:
        return 0 if name == "left" else super().stamp_ns(name, index)


def test_pictures_that_are_not_used_are_counted_with_topic_cause_and_remedy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bag = LeftIsNotStamped(frames=6).write(tmp_path / "drive")
    assert lift3d(["replay", str(bag), "--out", str(tmp_path / "run"), *FAST]) == 0
    assert (
        "camera 'left': 5 of its 6 pictures on /left/image/compressed are not used: their stamps are 0; let the driver "
        "stamp every picture with its capture time"
    ) in caplog.text


class LeftLensCannotBe(Drive):
    def model(self, name: str) -> CameraModel:
        model = super().model(name)
        if name != "left":
            return model
        return dataclasses.replace(
            model, intrinsics=np.eye(3), distortion_model="equidistant", distortion=np.array([-0.01, 0.001, 0.0, 0.0])
        )


def test_a_calibration_that_cannot_be_costs_one_camera(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bag = LeftLensCannotBe(frames=2).write(tmp_path / "drive")
    assert lift3d(["replay", str(bag), "--out", str(tmp_path / "run"), *FAST]) == 0
    for result in results(tmp_path / "run"):
        assert {use["name"]: use["is_used"] for use in result["cameras"]} == {
            "front": True,
            "left": False,
            "right": True,
        }
    assert "camera 'left': by its calibration the picture shows nothing" in caplog.text


class OneBadTransform(Drive):
    """The mounting of the left camera has a zero quaternion."""

    def write(self, path: Path) -> Path:
        whole = BagWriter._quaternion

        def damaged(writer: BagWriter, rotation: Float64Array) -> Any:
            if np.allclose(rotation[:, 2], [0.0, 1.0, 0.0]):
                return writer._new("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=0.0)
            return whole(writer, rotation)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(BagWriter, "_quaternion", damaged)
            return super().write(path)


def test_a_transform_that_is_no_rotation_costs_one_camera(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = OneBadTransform(frames=2).write(tmp_path / "drive")
    assert lift3d(["replay", str(bag), "--out", str(tmp_path / "run"), *FAST]) == 0
    for result in results(tmp_path / "run"):
        used = {use["name"]: use["is_used"] for use in result["cameras"]}
        assert used == {"front": True, "left": False, "right": True}
    told = "topic '/tf_static', 'base_link' -> 'left_optical_frame': quaternion [0.0, 0.0, 0.0, 0.0] is not a rotation"
    assert caplog.text.count(told) == 1
    assert lift3d(["bag", "info", str(bag)]) == 0
    assert capsys.readouterr().out.count(told) == 1


def test_a_wrong_model_does_not_cost_earlier_results(bag: Path, tmp_path: Path) -> None:
    assert lift3d(["replay", str(bag), "--out", str(tmp_path), "--frames", "0:1", *FAST]) == 0
    before = (tmp_path / "detections.jsonl").read_bytes()
    assert lift3d(["replay", str(bag), "--out", str(tmp_path), "--overwrite", *FAST, "--model", "dfa3d_tini"]) == 2
    assert (tmp_path / "detections.jsonl").read_bytes() == before


def test_overwriting_leaves_nothing_of_the_earlier_run(bag: Path, tmp_path: Path) -> None:
    assert lift3d(["replay", str(bag), "--out", str(tmp_path), "--frames", "0:2", *MODEL]) == 0
    assert lift3d(["replay", str(bag), "--out", str(tmp_path), "--frames", "0:1", "--overwrite", *FAST]) == 0
    assert not (tmp_path / "report.html").exists()
    assert not list(tmp_path.glob("pictures/*"))


def test_resuming_needs_no_file_that_was_never_written(bag: Path, tmp_path: Path) -> None:
    assert lift3d(["replay", str(bag), "--out", str(tmp_path), "--frames", "0:1", *FAST]) == 0
    for name in ("sets.jsonl", "timing.jsonl", "memory.npz"):
        (tmp_path / name).unlink()
    assert lift3d(["replay", str(bag), "--out", str(tmp_path), "--resume", *FAST]) == 0
    assert len(results(tmp_path)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames", "abc"], "--frames 'abc': expected START:STOP"),
        (["--mount-height", "nan"], "--mount-height nan: expected 0 to 20 metres"),
        (["--out", "/proc/results"], "/proc/results"),
    ],
)
def test_wrong_options_get_one_line(
    arguments: list[str], message: str, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lift3d(["replay", str(bag), "--out", str(tmp_path / "out"), *FAST, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_pictures_of_the_user_in_a_new_output_folder_stay(bag: Path, tmp_path: Path) -> None:
    picture = tmp_path / "pictures" / "holiday.jpg"
    picture.parent.mkdir()
    picture.write_bytes(b"mine")
    assert lift3d(["replay", str(bag), "--out", str(tmp_path), "--frames", "0:1", *FAST]) == 0
    assert picture.read_bytes() == b"mine"


def test_another_recording_of_the_same_name_is_not_resumed(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert lift3d(["replay", str(bag), "--out", str(out), "--frames", "0:1", *FAST]) == 0
    other = Drive(frames=3, start_ns=1_800_000_000_000_000_000).write(tmp_path / bag.name)
    assert lift3d(["replay", str(other), "--out", str(out), "--resume", *FAST]) == 2
    assert "made with different recording" in capsys.readouterr().err
    assert lift3d(["replay", str(bag), "--out", str(out), "--resume", "--mount-height", "2", *FAST]) == 2
    assert "made with different mount height" in capsys.readouterr().err


def test_pictures_are_not_drawn_over_the_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pictures").mkdir()
    assert lift3d(["detect", str(tmp_path / "pictures"), "--out", str(tmp_path)]) == 2
    assert "which is the input; give another folder" in capsys.readouterr().err


@pytest.mark.parametrize("period", ["0", "-1", "nan", "inf"])
def test_a_period_that_is_no_time_is_refused(period: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lift3d(["detect", str(tmp_path), f"--period={period}", "--out", str(tmp_path / "out")]) == 2
    assert "expected 0.001 to 3600 s between pictures" in capsys.readouterr().err


def test_an_export_that_cannot_be_written_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "bev.onnx"
    assert lift3d(["export", "dfa3d", "--out", str(out)]) == 2
    assert f"--out {out}: {out.parent} is a file and not a folder" in capsys.readouterr().err


class OnePictureOfUnknownKind(Drive):
    """One camera, whose second picture is empty and of a format that nobody knows."""

    def picture(self, name: str, index: int) -> CameraImage | None:
        image = super().picture(name, index) if name == "front" else None
        if image is None or index != 1:
            return image
        return CameraImage(name, image.stamp_ns, image.frame_id, "png", np.zeros(0, np.uint8))

    def write(self, path: Path) -> Path:
        whole = BagWriter._new

        def unknown(writer: BagWriter, kind: str, **fields: Any) -> Any:
            if "format" in fields:
                fields["format"] = fields["format"].replace("png", "webp")
            return whole(writer, kind, **fields)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(BagWriter, "_new", unknown)
            return super().write(path)


def test_a_picture_of_unknown_kind_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bag = OnePictureOfUnknownKind(frames=3).write(tmp_path / "drive")
    assert lift3d(["replay", str(bag), "--out", str(tmp_path / "run"), *FAST]) == 0
    assert len(results(tmp_path / "run")) == 2
    assert "topic '/front/image/compressed': compressed picture with format" in caplog.text
    assert "left out: 1 pictures of topic '/front/image/compressed'" in caplog.text
