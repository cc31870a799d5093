"""The .npz format of point sets: what is read, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lift3d_ros.datasets.keypoints import read_keypoint_folder, read_keypoint_set
from lift3d_ros.errors import DatasetError


def _content() -> dict[str, np.ndarray]:
    joints = np.random.default_rng(0).standard_normal((6, 3, 3)).astype(np.float16)
    return {
        "joints": joints,
        "edges": np.array([[0, 1], [1, 2]], np.int16),
        "names": np.array(["a", "b", "c"]),
        "side": np.array([0, 1, -1], np.int8),
        "valid": np.ones((6, 3), bool),
        "subject": np.arange(6, dtype=np.int32),
        "split": np.array([0, 0, 0, 0, 1, 1], np.uint8),
    }


def test_a_set_is_read_as_float32_with_its_splits(tmp_path: Path) -> None:
    np.savez(tmp_path / "cat.npz", **_content())
    found = read_keypoint_set(tmp_path / "cat.npz")
    assert found.name == "cat"
    assert found.joints.dtype == np.float32
    assert found.frames(is_validation=True).tolist() == [4, 5]
    assert found.adjacency.tolist() == [[False, True, False], [True, False, True], [False, True, False]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"edges": np.array([[0, 3]])}, "indices 0 to 3; expected 0 to 2"),
        ({"side": np.zeros(2, np.int8)}, "'side' has shape"),
        ({"joints": np.full((6, 3, 3), np.nan)}, "not finite"),
        ({"joints": np.zeros((6, 3))}, "'joints' has shape"),
        ({"names": None}, "has no array 'names"),
    ],
)
def test_a_wrong_set_is_refused(changes: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    content = {key: value for key, value in {**_content(), **changes}.items() if value is not None}
    np.savez(tmp_path / "cat.npz", **content)
    with pytest.raises(DatasetError, match=message):
        read_keypoint_set(tmp_path / "cat.npz")


@pytest.mark.parametrize(
    ("split", "found"),
    [
        (np.array([0, 0, 0, 1, 2, 2], np.uint8), "0, 1, 2;"),
        (np.array([0, 0, 0, 1, 256, 257]), "0, 1, 256, 257;"),
        (np.array([0, 0, 0, 1, -1, 1]), "-1, 0, 1;"),
        (np.array([0, 0, 0, 1, 0.5, 1]), "0.0, 0.5, 1.0;"),
        (np.array([0, 0, 0, 1, np.nan, 1]), "0.0, 1.0, nan;"),
        (np.arange(8), "0, 1, 2, 3, 4 and 3 other values;"),
        (np.array(["train", "train", "train", "val", "val", "val"]), "train, val;"),
    ],
)
def test_frames_that_are_neither_for_training_nor_for_validation_are_refused(
    split: np.ndarray, found: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "cat.npz", **{**_content(), "split": split})
    with pytest.raises(DatasetError, match=rf"cat\.npz: 'split' holds {found} expected .*; write other frames"):
        read_keypoint_set(tmp_path / "cat.npz")


@pytest.mark.parametrize("kind", [bool, np.int64, np.float32])
def test_a_split_is_read_from_any_type_of_number(kind: type, tmp_path: Path) -> None:
    np.savez(tmp_path / "cat.npz", **{**_content(), "split": np.array([0, 0, 0, 0, 1, 1], kind)})
    assert read_keypoint_set(tmp_path / "cat.npz").frames(is_validation=True).tolist() == [4, 5]


def test_objects_in_a_file_are_not_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "cat.npz", **{**_content(), "names": np.array([{}, {}, {}], dtype=object)})
    with pytest.raises(DatasetError, match=r"cannot be read as \.npz"):
        read_keypoint_set(tmp_path / "cat.npz")


def test_non_commercial_sets_are_only_read_when_asked_for(tmp_path: Path) -> None:
    for name in ("cat", "nc_dog"):
        np.savez(tmp_path / f"{name}.npz", **_content())
    assert [one.name for one in read_keypoint_folder(tmp_path)] == ["cat"]
    assert [one.name for one in read_keypoint_folder(tmp_path, has_non_commercial=True)] == ["cat", "nc_dog"]


def test_the_manifest_tells_views_and_groups(tmp_path: Path) -> None:
    np.savez(tmp_path / "cat.npz", **_content())
    record = {"category": "cat", "view_range": "so3", "group": "animal"}
    (tmp_path / "manifest.json").write_text(json.dumps({"categories": [record]}))
    found = read_keypoint_folder(tmp_path)[0]
    assert (found.view_range, found.group) == ("so3", "animal")
    record["view_range"] = "below"
    (tmp_path / "manifest.json").write_text(json.dumps({"categories": [record]}))
    with pytest.raises(DatasetError, match="'cat' has view_range 'below'"):
        read_keypoint_folder(tmp_path)


@pytest.mark.parametrize(("categories", "message"), [((), "no .npz file"), (("cow",), "no category cow")])
def test_a_folder_without_the_sets_is_refused(categories: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=message):
        read_keypoint_folder(tmp_path, categories=categories)


def test_a_manifest_may_leave_out_what_it_does_not_know(tmp_path: Path) -> None:
    np.savez(tmp_path / "cat.npz", **_content())
    (tmp_path / "manifest.json").write_text(json.dumps({"categories": [{"category": "cat", "unit": "m"}]}))
    found = read_keypoint_folder(tmp_path)[0]
    assert (found.view_range, found.group) == ("upright", "other")
    (tmp_path / "manifest.json").write_text(json.dumps({"categories": [{"group": "animal"}]}))
    with pytest.raises(DatasetError, match=r"manifest\.json: cannot be read \('category' is missing\)"):
        read_keypoint_folder(tmp_path)


def test_a_file_whose_compressed_data_are_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cat.npz"
    np.savez_compressed(path, **_content())
    damaged = bytearray(path.read_bytes())
    start = damaged.find(b"joints.npy") + 60
    damaged[start : start + 60] = bytes(value ^ 0x5A for value in damaged[start : start + 60])
    path.write_bytes(damaged)
    with pytest.raises(DatasetError, match=r"cat\.npz: cannot be read as \.npz"):
        read_keypoint_set(path)


def test_an_array_without_names_is_named(tmp_path: Path) -> None:
    with (tmp_path / "cat.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DatasetError, match=r"cannot be read as \.npz \(it holds a single array without"):
        read_keypoint_set(tmp_path / "cat.npz")
