"""Files with true skeletons are read; what is wrong with others is said, and costs only them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lifting_files import h3wb_document, write_h3wb, write_pairs, write_set

from lift3d_ros.datasets.keypoints import KeypointSet
from lift3d_ros.errors import DatasetError
from lift3d_ros.evaluation.skeleton_files import FileChoice, read_skeleton_files


def read(path: Path, **choice: Any) -> tuple[list[Any], dict[str, str]]:
    files, problems = read_skeleton_files(path, FileChoice(**choice))
    return files, problems


def test_a_folder_gives_its_files_sorted_with_what_the_manifest_says(tmp_path: Path) -> None:
    write_set(tmp_path / "b.npz")
    write_set(tmp_path / "a.npz")
    record = {"category": "a", "group": "bird", "view_range": "so3", "unit": "mm", "flat_guess_pa": 0.5}
    (tmp_path / "manifest.json").write_text(json.dumps({"categories": [record]}))
    (first, second), problems = read(tmp_path)
    assert problems == {}
    assert (first.file, first.group, first.unit, first.flat_guess_pa) == ("a.npz", "bird", "mm", 0.5)
    assert first.content.view_range == "so3"
    assert (second.file, second.group, second.split) == ("b.npz", "other", "val")


def test_pairs_give_the_views_of_each_camera(tmp_path: Path) -> None:
    (file,), _ = read(write_pairs(tmp_path / "pairs.npz"))
    views = file.content
    assert [one.camera.is_distorted for one in views] == [False, True]
    for one in views:
        assert one.joints.shape == (6, 20, 3)
        np.testing.assert_allclose(one.joints.mean(axis=1), 0.0, atol=1e-9)


@pytest.mark.parametrize("folder", [".", "pairs"])
def test_the_unit_of_pairs_is_that_of_the_file_before_that_of_the_manifest(tmp_path: Path, folder: str) -> None:
    place = tmp_path / folder
    place.mkdir(exist_ok=True)
    write_pairs(place / "rat.npz")
    write_pairs(place / "own.npz", unit=np.array("cm"))
    write_pairs(place / "unknown.npz")
    records = [{"name": "rat", "unit": "mm"}, {"name": "own", "unit": "m"}, {"name": "other", "unit": "km"}]
    (tmp_path / "manifest.json").write_text(json.dumps({"categories": [], "pairs": records}))
    files, problems = read(place)
    assert {file.file: file.unit for file in files} == {"own.npz": "cm", "rat.npz": "mm", "unknown.npz": ""}
    assert problems == {}


@pytest.mark.parametrize("text", ["no json", "[]", '{"pairs": 3}', '{"pairs": ["rat"]}'])
def test_pairs_are_read_below_a_manifest_of_something_else(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    (tmp_path / "pairs").mkdir()
    (file,), problems = read(write_pairs(tmp_path / "pairs" / "rat.npz"))
    assert (file.unit, problems) == ("", {})


def test_a_unit_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "rat.npz", unit=np.array([1.0, 2.0]))
    with pytest.raises(DatasetError, match=r"rat\.npz: 'unit' is float64 of shape \(2,\); expected one text"):
        read(path)


def test_sides_of_pairs_are_those_of_the_file_before_those_of_names(tmp_path: Path) -> None:
    (named,), _ = read(write_pairs(tmp_path / "named.npz"))
    assert set(named.content[0].skeleton.sides.tolist()) == {-1, 0, 1}
    (given,), _ = read(write_pairs(tmp_path / "given.npz", side=np.zeros(20, np.int8)))
    assert not given.content[0].skeleton.sides.any()


def test_h3wb_gives_whole_bodies_and_leaves_missing_joints_unseen(tmp_path: Path) -> None:
    (file,), _ = read(write_h3wb(tmp_path / "2Dto3D_test_3d.json"))
    (views,) = file.content
    assert (file.unit, views.joints.shape) == ("mm", (3, 133, 3))
    assert not views.is_seen[0, 5]
    assert views.is_seen.sum() == 3 * 133 - 1
    (file,), _ = read(tmp_path / "2Dto3D_test_3d.json", most=2)
    assert len(file.content[0]) == 2


BAD_SETS: dict[str, tuple[dict[str, Any], str]] = {
    "no_side": ({"side": None}, "has no array 'side'"),
    "short_names": ({"names": np.array(["a", "b"])}, r"'names' has shape \(2,\); expected \(20,\)"),
    "flat_joints": ({"joints": np.zeros((40, 20))}, r"'joints' has shape \(40, 20\)"),
    "edge_out_of_range": ({"edges": np.array([[0, 20]])}, "indices 0 to 20; expected 0 to 19"),
    "edge_to_itself": ({"edges": np.array([[3, 3]])}, "joins joint 3 to itself"),
    "edges_of_text": ({"edges": np.array([["a", "b"]])}, "cannot be used"),
    "edges_of_nothing": ({"edges": np.float32(1.0)}, "cannot be used"),
    "not_finite": ({"joints": np.full((40, 20, 3), np.nan)}, "not finite"),
    "unknown_side": ({"side": np.full(20, 7, np.int8)}, "side must hold 20 values"),
    "nothing_valid": ({"valid": np.zeros((40, 20), bool)}, "fewer than 4 points in every frame; .* that many$"),
    "pickled": ({"names": np.array([{}] * 20, dtype=object)}, "cannot be read as .npz"),
}


@pytest.mark.parametrize("name", BAD_SETS)
def test_a_bad_file_is_named_with_what_was_found_and_costs_only_itself(tmp_path: Path, name: str) -> None:
    changes, words = BAD_SETS[name]
    write_set(tmp_path / f"{name}.npz", **changes)
    write_set(tmp_path / "good.npz")
    (file,), problems = read(tmp_path)
    assert file.file == "good.npz"
    assert list(problems) == [f"{name}.npz"]
    with pytest.raises(DatasetError, match=words) as raised:
        read(tmp_path / f"{name}.npz")
    assert name in str(raised.value)


def test_a_set_whose_validation_frames_are_sparse_is_not_scored_on_those_of_the_training(tmp_path: Path) -> None:
    is_validation = np.arange(40) >= 30
    valid = np.ones((40, 20), bool)
    valid[is_validation, 3:] = False
    path = write_set(tmp_path / "sparse.npz", valid=valid, split=is_validation.astype(np.uint8))
    with pytest.raises(DatasetError, match=r"fewer than 4 points in every frame of split val; .*; --split all scores"):
        read(path)
    (file,), _ = read(path, split="all")
    assert file.frames.tolist() == list(range(30))


def test_files_of_other_kinds_are_named(tmp_path: Path) -> None:
    write_set(tmp_path / "good.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "good.npz").read_bytes()[:500])
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "text.json").write_text("no json")
    write_h3wb(tmp_path / "coco.json", {"images": [], "annotations": []})
    two_dimensional = h3wb_document()
    del two_dimensional["1"]["keypoints_2d"]
    write_h3wb(tmp_path / "no_2d.json", two_dimensional)
    too_many = h3wb_document()
    too_many["1"]["keypoints_3d"]["133"] = {"x": 0, "y": 0, "z": 0}
    write_h3wb(tmp_path / "too_many.json", too_many)
    files, problems = read(tmp_path)
    assert [file.file for file in files] == ["good.npz"]
    assert {name: next(word for word in (
        "cannot be read as .npz", "cannot be read as JSON", "is no JSON of H3WB", "has no 'keypoints_2d'", "joint 133"
    ) if word in text) for name, text in problems.items()} == {
        "cut.npz": "cannot be read as .npz",
        "empty.npz": "cannot be read as .npz",
        "text.json": "cannot be read as JSON",
        "coco.json": "is no JSON of H3WB",
        "no_2d.json": "has no 'keypoints_2d'",
        "too_many.json": "joint 133",
    }  # fmt: skip


def test_a_damaged_manifest_is_named_and_the_sets_are_read(tmp_path: Path) -> None:
    write_set(tmp_path / "a.npz")
    (tmp_path / "manifest.json").write_text("{}")
    (file,), problems = read(tmp_path, view_range="so3")
    assert list(problems) == ["manifest.json"]
    assert isinstance(file.content, KeypointSet)
    assert file.content.view_range == "so3"


@pytest.mark.parametrize(
    ("path", "choice", "words"),
    [
        ("missing", {}, "no such file or folder"),
        (".", {}, "a folder without an .npz or .json file"),
        ("a.txt", {}, "expected .npz"),
        ("sets", {"categories": ("b",)}, "no file of category b; there are a"),
    ],
)
def test_nothing_to_evaluate_is_explained(tmp_path: Path, path: str, choice: dict[str, Any], words: str) -> None:
    (tmp_path / "sets").mkdir()
    write_set(tmp_path / "sets" / "a.npz")
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DatasetError, match=words):
        read(tmp_path / path, **choice)
