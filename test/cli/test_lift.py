"""`lift3d lift` from files to results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from known_shapes import seen_person

from lift3d_ros.cli.main import main

pytest.importorskip("torch")

MANIFEST = """\
models:
  small: {method: lfm, preset: lift3d-lfm-small, licence: Apache-2.0, source: a test}
"""
RIG = "cameras: {front: {calibration: {width: 1280, height: 720, fx: 900, fy: 900, cx: 640, cy: 360}}}\n"


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "manifest.yaml").write_text(MANIFEST)
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(tmp_path / "models"))


def keypoint_file(folder: Path) -> Path:
    document = []
    for number, place in enumerate([(0.0, 0.0, 4.0), (1.0, 0.0, 5.0)]):
        _, keypoints = seen_person(place)
        flat = np.concatenate([keypoints.points, np.ones((17, 1))], axis=1)
        document.append({"file_name": f"{number}.png", "keypoints": flat.ravel().tolist()})
    path = folder / "keypoints.json"
    path.write_text(json.dumps(document))
    for number in range(2):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((720, 1280, 3), 60, dtype=np.uint8))
    return path


def lift(*arguments: Any) -> int:
    return main(["lift", *map(str, arguments), "--model", "small"])


def skeletons(out: Path) -> list[dict[str, Any]]:
    document = json.loads((out / "skeletons.json").read_text())
    return [skeleton for picture in document["pictures"] for skeleton in picture["skeletons"]]


def test_pictures_and_joints_without_camera_are_normalised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert lift(keypoint_file(tmp_path), "--image", tmp_path, "--out", out) == 0
    assert [skeleton["unit"] for skeleton in skeletons(out)] == ["normalised"] * 2
    assert sorted(path.name for path in (out / "pictures").iterdir()) == ["0.jpg", "1.jpg"]
    said = capsys.readouterr().out
    assert "untrained weights" in said
    assert "not in metres" in said


def test_with_camera_and_a_known_length_joints_are_metric_and_on_their_rays(tmp_path: Path) -> None:
    (tmp_path / "rig.yaml").write_text(RIG)
    out = tmp_path / "out"
    arguments = ["--camera", f"{tmp_path}/rig.yaml:front", "--length", "left_hip:left_knee=0.43", "--pitch", 10]
    assert lift(keypoint_file(tmp_path), *arguments, "--no-pictures", "--out", out) == 0
    first, second = skeletons(out)
    assert (first["unit"], first["scale_source"], len(first["hypotheses"])) == ("m", "bone_length", 2)
    joints = np.array(second["joints"])
    _, keypoints = seen_person((1.0, 0.0, 5.0))
    np.testing.assert_allclose(900 * joints[:, :2] / joints[:, 2:] + [640, 360], keypoints.points, atol=0.2)
    assert not (out / "pictures").exists()


def test_one_picture_of_many_is_lifted_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert lift(keypoint_file(tmp_path), "--image", tmp_path / "1.png", "--out", out) == 0
    assert len(skeletons(out)) == 1


def test_the_people_of_the_reference_data_are_lifted(tmp_path: Path, shared_dir: Path) -> None:
    people = shared_dir / "data" / "people"
    assert lift(people / "keypoints_coco17.json", "--image", people, "--out", tmp_path / "out") == 0
    found = skeletons(tmp_path / "out")
    assert len(found) == 9
    crew = [skeleton for skeleton in found if not all(skeleton["is_observed"][13:])]
    assert len(crew) == 3
    assert len(list((tmp_path / "out" / "pictures").iterdir())) == 7


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--skeleton", "coco_17"], "did you mean 'coco17'"),
        (["--skeleton", "hand21"], "has 21 joints"),
        (["--length", "hip=1"], "expected two joints and metres"),
        (["--length", "left_hipp:left_knee=0.4"], "did you mean 'left_hip'"),
        (["--length", "left_hip:left_knee=430000"], "in metres"),
        (["--image", "missing.png"], "missing.png"),
        (["--camera", "missing.yaml"], "missing.yaml"),
        (["--pitch", "120"], "--pitch 120"),
    ],
)
def test_mistakes_are_explained_without_a_traceback(
    tmp_path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lift(keypoint_file(tmp_path), *arguments, "--out", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
