"""`lift3d replay` goes on after bad pictures and transforms, and never loses results to a wrong command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drive import Drive

from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.cli.main import main as lift3d
from lift3d_ros.types import CameraImage, Float64Array

pytestmark = pytest.mark.usefixtures("graph_cache")

FAST = ("--no-pictures", "--no-report")


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


def test_a_transform_that_is_no_rotation_costs_one_camera(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bag = OneBadTransform(frames=2).write(tmp_path / "drive")
    assert lift3d(["replay", str(bag), "--out", str(tmp_path / "run"), *FAST]) == 0
    for result in results(tmp_path / "run"):
        used = {use["name"]: use["is_used"] for use in result["cameras"]}
        assert used == {"front": True, "left": False, "right": True}
    assert "topic '/tf_static', 'base_link' -> 'left_optical_frame'" in caplog.text


def test_a_wrong_model_does_not_cost_earlier_results(bag: Path, tmp_path: Path) -> None:
    assert lift3d(["replay", str(bag), "--out", str(tmp_path), "--frames", "0:1", *FAST]) == 0
    before = (tmp_path / "detections.jsonl").read_bytes()
    assert lift3d(["replay", str(bag), "--out", str(tmp_path), "--overwrite", "--model", "dfa3d_tini", *FAST]) == 2
    assert (tmp_path / "detections.jsonl").read_bytes() == before


def test_overwriting_leaves_nothing_of_the_earlier_run(bag: Path, tmp_path: Path) -> None:
    assert lift3d(["replay", str(bag), "--out", str(tmp_path), "--frames", "0:2"]) == 0
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
