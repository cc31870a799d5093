"""`lift3d features` describes clouds and the objects in them; `lift3d fit-classifier` gives them names."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

from point_clouds import ellipsoid, write_encoder
from point_files import CLASSES, write_clouds

from lift3d_ros.cli.main import main as lift3d


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_encoder(tmp_path_factory.mktemp("model") / "points.safetensors"))


def features(model: str, out: Path, *arguments: str | Path) -> int:
    return lift3d(["features", *map(str, arguments), "--model", model, "--threads", "1", "--out", str(out)])


def test_clouds_are_described_compared_and_drawn(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "slab.npy", ellipsoid(400))
    np.save(tmp_path / "again.npy", ellipsoid(900, seed=1) * 2 + np.float32([5, 5, 0]))
    np.save(tmp_path / "rod.npy", ellipsoid(400, (0.05, 0.05, 1.0)))
    files = [tmp_path / f"{name}.npy" for name in ("slab", "again", "rod")]
    assert features(model, tmp_path / "out", *files, "--compare", "--pictures") == 0
    said = capsys.readouterr().out
    assert "slab: 400 points" in said
    assert "3 objects of 3 clouds (points); results in" in said
    row = next(line for line in said.splitlines() if line.startswith("  0  slab")).split()
    assert float(row[2]) == 1.0
    assert float(row[3]) > float(row[4])  # the same shape is more alike than another one
    centred = said.split("their mean taken away:")[1].splitlines()[2:5]
    assert [len(line.split()) for line in centred] == [5, 5, 5]  # also where a value is negative
    assert any("-" in line for line in centred)
    with np.load(tmp_path / "out" / "features.npz") as arrays:
        assert arrays["descriptors"].shape == (3, 108)
        assert arrays["tokens"].shape == (3, 10, 24)
        assert arrays["token_centers"].shape == (3, 10, 3)
    summary = json.loads((tmp_path / "out" / "features.json").read_text())
    assert [(entry["cloud"], entry["first_row"]) for entry in summary["clouds"]] == [
        ("slab", 0),
        ("again", 1),
        ("rod", 2),
    ]
    assert summary["model"]["is_trained"]
    pictures = sorted((tmp_path / "out" / "pictures").iterdir())
    assert [path.stem for path in pictures] == ["000_slab", "001_again", "002_rod"]
    assert np.ptp(cv2.imread(str(pictures[0]))) > 100


def test_objects_in_boxes_are_described_and_named(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    data = write_clouds(tmp_path / "data", train=8)
    classifier = tmp_path / "classifier.safetensors"
    fit = ["fit-classifier", "--train", str(data), "--model", model, "--threads", "1", "--out", str(classifier)]
    assert lift3d(fit) == 0
    said = capsys.readouterr().out
    assert "3 classes, 24 clouds, features of points" in said
    accuracy = float(said.split("cross-validated accuracy ")[1].split("%")[0])
    assert accuracy > 80
    scene = np.concatenate([ellipsoid(128, (0.15, 0.15, 1)), ellipsoid(128, (1, 1, 0.08)) + np.float32([6, 0, 0])])
    np.save(tmp_path / "scene.npy", scene)
    places = ([0, 0, 0], [6, 0, 0], [20, 0, 0])
    boxes = [{"center": place, "size": [2.5, 2.5, 2.5], "id": 10 + n} for n, place in enumerate(places)]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    options = ("--boxes", tmp_path / "boxes.json", "--classifier", classifier)
    assert features(model, tmp_path / "out", tmp_path / "scene.npy", *options) == 0
    said = capsys.readouterr().out
    assert "scene, box 10: 128 points, rod (" in said
    assert "scene, box 11: 128 points, plate (" in said
    assert "box 12: no point of the cloud lies in it" in said
    with np.load(tmp_path / "out" / "features.npz") as arrays:
        assert arrays["labels"].tolist() == [CLASSES[1], CLASSES[2]]
        assert arrays["instance_ids"].tolist() == [10, 11]


def test_a_classifier_of_other_weights_is_refused_before_the_encoder_is_opened(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lift3d_ros.pipelines.point_classifier import PointFeatureClassifier, save_classifier

    other = PointFeatureClassifier(np.zeros((2, 108), np.float32), np.zeros(2, np.float32), ("a", "b"), "cd" * 32)
    save_classifier(tmp_path / "other.safetensors", other)
    np.save(tmp_path / "a.npy", ellipsoid(100))
    monkeypatch.setattr("lift3d_ros.pipelines.point_encoder.open_point_encoder", lambda _: pytest.fail("opened"))
    assert features(model, tmp_path / "out", tmp_path / "a.npy", "--classifier", tmp_path / "other.safetensors") == 2
    assert "was fitted to the features of weights cdcdcdcdcdcd" in capsys.readouterr().err


def test_wrong_use_is_named(tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "empty.npy", np.zeros((0, 3), np.float32))
    np.save(tmp_path / "one.npy", np.zeros((1, 3), np.float32))
    (tmp_path / "file").write_text("")
    for out, cloud, words in (
        ("out", "none.pcd", "none.pcd: cannot be read"),
        ("out", "empty.npy", "no cloud has an object with points"),
        ("file", "empty.npy", "is a file; give a folder"),
        ("file/sub", "one.npy", "sub: Not a directory; check that"),
    ):
        assert features(model, tmp_path / out, tmp_path / cloud) == 2
        said = capsys.readouterr()
        assert words in said.err
        assert "one: 1 points" not in said.out  # nothing is encoded for a folder that cannot be made
    (tmp_path / "boxes.json").write_text("[]")
    for options, words in (
        (["--boxes", str(tmp_path / "boxes.json")], "boxes.json: holds no box; give at least one"),
        (["--threads", "-1"], "--threads -1: expected 0 to 256"),
    ):
        command = ["features", str(tmp_path / "one.npy"), "--model", model, "--out", str(tmp_path / "out")]
        assert lift3d([*command, *options]) == 2
        assert words in capsys.readouterr().err
    for arguments, words in (
        (["--out", "x.npz"], "expected a file name that ends in .safetensors"),
        (["--out", "x.safetensors", "--seed", "-1"], "--seed -1: expected 0 to"),
        (["--out", "x.safetensors"], "not found; give a file of clouds"),
    ):
        assert lift3d(["fit-classifier", "--train", str(tmp_path / "none"), "--model", model, *arguments]) == 2
        assert words in capsys.readouterr().err


def test_a_classifier_that_cannot_be_fitted_or_written_is_refused_before_anything_is_encoded(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    monkeypatch.setattr("lift3d_ros.evaluation.classifier_fit.describe_set", lambda *_: pytest.fail("encoded"))
    points = np.stack([ellipsoid(100)] * 4)
    np.savez(tmp_path / "unlabelled.npz", points=points)
    np.savez(tmp_path / "single.npz", points=points, labels=np.zeros(4, int))
    np.savez(tmp_path / "two.npz", points=points, labels=np.arange(4) % 2)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.safetensors").mkdir()
    for name, out, words in (
        ("unlabelled.npz", "x.safetensors", "has no label"),
        ("single.npz", "x.safetensors", "have 1 class; expected"),
        ("two.npz", "file/x.safetensors", "file: "),
        ("two.npz", "folder.safetensors", "is a folder; give a file name"),
    ):
        command = ["fit-classifier", "--train", str(tmp_path / name), "--model", model, "--out", str(tmp_path / out)]
        assert lift3d(command) == 2
        assert words in capsys.readouterr().err
