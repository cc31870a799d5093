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
        (["--length", "left_hip:left_hip=0.4"], "to itself"),
        (["--length", "left_hip:left_knee=0.43"], "--length has no effect without --camera"),
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


def rewritten(folder: Path, **changes: Any) -> Path:
    """Return the file with more in each of its entries, and the picture names that are given."""
    path = keypoint_file(folder)
    entries = json.loads(path.read_text())
    names = changes.pop("names", [entry["file_name"] for entry in entries])
    path.write_text(
        json.dumps([{**entry, **changes, "file_name": name} for entry, name in zip(entries, names, strict=False)])
    )
    return path


def test_without_pictures_the_camera_is_fitted_to_the_sizes_that_the_file_tells(tmp_path: Path) -> None:
    (tmp_path / "rig.yaml").write_text(RIG)
    _, keypoints = seen_person((1.0, 0.0, 5.0))
    half = (keypoints.points + 0.5) / 2 - 0.5  # as a picture of half the size of the calibrated ones shows it
    flat = np.concatenate([half, np.full((17, 1), 2.0)], axis=1)
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 640, "height": 360}],
        "annotations": [{"image_id": 1, "keypoints": flat.ravel().tolist()}],
    }
    path, out = tmp_path / "half.json", tmp_path / "out"
    path.write_text(json.dumps(document))
    camera = ["--camera", f"{tmp_path}/rig.yaml:front", "--no-pictures"]
    assert lift(path, *camera, "--out", out) == 0
    joints = np.array(skeletons(out)[0]["joints"])
    np.testing.assert_allclose(900 * joints[:, :2] / joints[:, 2:] + [640, 360], keypoints.points, atol=0.3)


def test_pictures_of_one_name_in_two_folders_do_not_overwrite_each_other(tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = rewritten(tmp_path, names=["x_2.png", "x.png"])
    entries = json.loads(path.read_text())
    path.write_text(json.dumps([*entries, {**entries[0], "file_name": "b/x.png"}]))
    assert lift(path, "--out", out) == 0
    assert len(list((out / "pictures").iterdir())) == 3


def test_pictures_that_are_absent_are_said_before_anything_is_lifted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = keypoint_file(tmp_path)
    (tmp_path / "1.png").unlink()
    assert lift(path, "--image", tmp_path, "--out", tmp_path / "out") == 2
    assert "1 of 2 pictures are not there, '1.png' first" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_damaged_picture_costs_neither_its_skeletons_nor_those_of_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = keypoint_file(tmp_path)
    (tmp_path / "0.png").write_text("no picture")
    assert lift(path, "--image", tmp_path, "--out", tmp_path / "out") == 0
    assert len(skeletons(tmp_path / "out")) == 2
    assert "0.png: is no picture that can be decoded" in capsys.readouterr().out


def test_pictures_have_no_times_so_a_track_carries_nothing_from_one_to_the_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert lift(rewritten(tmp_path, track_id=4), "--no-pictures", "--out", out) == 0
    assert [skeleton["track_id"] for skeleton in skeletons(out)] == [4, 4]
    assert "track" not in [skeleton["mirror_cue"] for skeleton in skeletons(out)]
    tracked = [skeleton["probabilities"] for skeleton in skeletons(out)]
    assert lift(rewritten(tmp_path), "--no-pictures", "--out", out) == 0
    assert [skeleton["probabilities"] for skeleton in skeletons(out)] == tracked
    (tmp_path / "smooth.yaml").write_text("smoothing: {enabled: true}\n")
    assert lift(rewritten(tmp_path), "--params", tmp_path / "smooth.yaml", "--out", out) == 2
    assert "files of keypoints have no times" in capsys.readouterr().err


def test_where_nothing_can_be_lifted_the_status_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = rewritten(tmp_path, keypoints=[1.0, 1.0, 0.0] * 17)
    assert lift(path, "--out", tmp_path / "out") == 2
    said = capsys.readouterr()
    assert "0 seen joints" in said.out
    assert "none of its instances can be lifted" in said.err


def test_keypoints_of_other_pictures_than_the_one_given_are_counted_without_empty_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = keypoint_file(tmp_path)
    cv2.imwrite(str(tmp_path / "other.png"), np.zeros((720, 1280, 3), dtype=np.uint8))
    assert lift(path, "--image", tmp_path / "other.png", "--out", tmp_path / "out") == 2
    assert "has keypoints of 2 pictures, and none of them has this name" in capsys.readouterr().err


def test_a_picture_of_another_shape_is_lifted_without_metres_and_the_others_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rig.yaml").write_text(RIG)
    path = keypoint_file(tmp_path)
    cv2.imwrite(str(tmp_path / "0.png"), np.full((1280, 720, 3), 60, dtype=np.uint8))
    arguments = ["--camera", f"{tmp_path}/rig.yaml:front", "--no-pictures"]
    assert lift(path, "--image", tmp_path, *arguments, "--out", tmp_path / "out") == 0
    assert [skeleton["unit"] for skeleton in skeletons(tmp_path / "out")] == ["normalised", "m"]
    assert "0.png: is 720x1280, and --camera is for 1280x720" in capsys.readouterr().out
    cv2.imwrite(str(tmp_path / "1.png"), np.full((1280, 720, 3), 60, dtype=np.uint8))
    assert lift(path, "--image", tmp_path, *arguments, "--out", tmp_path / "none") == 2
    assert len(skeletons(tmp_path / "none")) == 2
    assert "fits none of the pictures" in capsys.readouterr().err


def numbered(folder: Path, pictures: list[str]) -> Path:
    """Return a file of COCO results of pictures 397133 and 7, beside a folder `pictures` with files of these names."""
    path = keypoint_file(folder)
    entries = json.loads(path.read_text())
    path.write_text(
        json.dumps(
            [{"image_id": n, "keypoints": entry["keypoints"]} for n, entry in zip((397133, 7), entries, strict=True)]
        )
    )
    (folder / "pictures").mkdir()
    for name in pictures:
        cv2.imwrite(str(folder / "pictures" / name), np.full((360, 640, 3), 60, dtype=np.uint8))
    return path


def test_pictures_of_coco_results_are_found_by_their_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = numbered(tmp_path, ["000000397133.jpg", "7.png"])
    (tmp_path / "rig.yaml").write_text(RIG)
    (tmp_path / "pictures" / "7.txt").write_text("no picture")
    folder, out = tmp_path / "pictures", tmp_path / "out"
    assert lift(path, "--image", folder, "--camera", f"{tmp_path}/rig.yaml:front", "--no-pictures", "--out", out) == 0
    assert len(skeletons(out)) == 2
    assert lift(path, "--image", folder / "000000397133.jpg", "--no-pictures", "--out", out) == 0
    assert [picture["picture"] for picture in json.loads((out / "skeletons.json").read_text())["pictures"]] == [
        "397133"
    ]
    capsys.readouterr()
    (folder / "7.png").unlink()
    assert lift(path, "--image", folder, "--out", out) == 2
    said = capsys.readouterr().err
    assert "1 of 2 pictures are not there, '7' first" in said
    assert "has numbers, not names of pictures: add 'file_name'" in said


def test_a_number_that_two_pictures_have_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = numbered(tmp_path, ["397133.jpg", "000000397133.png", "7.png"])
    assert lift(path, "--image", tmp_path / "pictures", "--out", tmp_path / "out") == 2
    assert "picture '397133' may be 397133.jpg or 000000397133.png" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["shop.json", "shop_keypoints.json"])
def test_the_picture_of_an_openpose_file_has_the_name_of_the_file(tmp_path: Path, name: str) -> None:
    _, keypoints = seen_person((0.0, 0.0, 4.0))
    flat = np.concatenate([np.resize(keypoints.points, (25, 2)), np.ones((25, 1))], axis=1)
    path, out = tmp_path / name, tmp_path / "out"
    path.write_text(json.dumps({"people": [{"pose_keypoints_2d": flat.ravel().tolist()}]}))
    cv2.imwrite(str(tmp_path / "shop.jpg"), np.zeros((720, 1280, 3), dtype=np.uint8))
    assert lift(path, "--image", tmp_path, "--out", out) == 0
    assert (out / "pictures" / "shop.jpg").exists()
