"""Files of clouds become one set, and what cannot be used is named."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from point_files import CLASSES, shapes, write_clouds

from lift3d_ros.datasets.point_clouds import UNKNOWN, find_cloud_files, read_clouds
from lift3d_ros.errors import DatasetError


def write(path: Path, points: Any, **arrays: Any) -> Path:
    np.savez(path, points=points, **arrays)
    return path


def test_files_of_one_data_set_become_one_set_with_named_classes(tmp_path: Path) -> None:
    folder = write_clouds(tmp_path / "clouds")
    clouds = read_clouds([folder / "train_0.npz", folder / "val.npz"])
    assert (len(clouds), clouds.points.shape[1:], clouds.points.dtype) == (27, (128, 3), np.float32)
    assert (clouds.class_names, clouds.num_classes, clouds.up_axis, clouds.has_labels) == (CLASSES, 3, 2, True)
    assert [clouds.class_name(label) for label in clouds.labels[:3]] == list(CLASSES)


def test_of_files_with_different_numbers_of_points_as_many_are_taken_as_all_have(tmp_path: Path) -> None:
    few = write(tmp_path / "few.npz", shapes(1, 50)[0], labels=np.arange(3))
    many = write(tmp_path / "many.npz", shapes(1, 70)[0], labels=np.arange(3))
    clouds = read_clouds([few, many])
    assert clouds.points.shape == (6, 50, 3)
    np.testing.assert_array_equal(clouds.points[3:], shapes(1, 70)[0][:, :50].astype(np.float32))


def test_clouds_without_labels_can_be_read(tmp_path: Path) -> None:
    clouds = read_clouds([write(tmp_path / "plain.npz", shapes(2)[0])])
    assert (set(clouds.labels.tolist()), clouds.has_labels, clouds.num_classes) == ({UNKNOWN}, False, 0)


def test_points_that_are_not_finite_are_replaced_by_others_of_their_cloud(tmp_path: Path) -> None:
    points = shapes(1)[0]
    points[1, :100] = np.nan
    points[2, 5, 1] = np.inf
    clouds = read_clouds([write(tmp_path / "holes.npz", points)])
    assert np.isfinite(clouds.points).all()
    kept = {tuple(point) for point in points[1, 100:].astype(np.float32).tolist()}
    assert {tuple(point) for point in clouds.points[1].tolist()} == kept
    np.testing.assert_array_equal(clouds.points[0], points[0])


@pytest.mark.parametrize(
    ("points", "arrays", "words"),
    [
        (np.full((2, 5, 3), np.nan), {}, "cloud 0 has no finite point"),
        (np.zeros((0, 5, 3)), {}, "holds 0 clouds of 5 points"),
        (np.zeros((4, 0, 3)), {}, "holds 4 clouds of 0 points"),
        (np.zeros((4, 5, 4)), {}, r"of shape \(4, 5, 4\); expected numbers of shape \(clouds, points, 3\)"),
        (np.zeros((4, 5, 3), "U4"), {}, "expected numbers"),
        (np.zeros((4, 5, 3)), {"labels": np.zeros(3, int)}, "'labels' are int64 of shape .*expected whole numbers, 4"),
        (np.zeros((4, 5, 3)), {"labels": np.zeros(4)}, "expected whole numbers"),
        (np.zeros((4, 5, 3)), {"labels": np.full(4, -2)}, "a label is -2"),
        (np.zeros((4, 5, 3)), {"labels": np.array([0, 1, 2, 10**8])}, "a label is 100000000; .* fewer than 10000"),
        (np.float32(1.0), {}, r"of shape \(\); expected numbers"),
        (np.array([object()]), {}, "cannot be read as .npz"),
    ],
)
def test_unusable_arrays_are_named(points: Any, arrays: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=words):
        read_clouds([write(tmp_path / "bad.npz", points, **arrays)])


def test_unusable_files_are_named(tmp_path: Path) -> None:
    folder = write_clouds(tmp_path / "clouds")
    (tmp_path / "cut.npz").write_bytes((folder / "val.npz").read_bytes()[:200])
    (tmp_path / "cloud.ply").write_text("ply")
    np.savez(tmp_path / "other.npz", joints=np.zeros(3))
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, np.zeros((4, 5, 3)))
    for name, words in (
        ("cut.npz", "cannot be read as .npz"),
        ("none.npz", "file not found"),
        ("cloud.ply", "the ending '.ply' is not known"),
        ("other.npz", "no array 'points' but joints"),
        ("array.npz", "cannot be read as .npz \\(it holds a single array"),
    ):
        with pytest.raises(DatasetError, match=words):
            read_clouds([tmp_path / name])
    with pytest.raises(DatasetError, match="no file of clouds"):
        read_clouds([])


def test_labels_beyond_the_class_names_and_files_of_other_classes_are_refused(tmp_path: Path) -> None:
    folder = write_clouds(tmp_path / "clouds")
    more = write(folder / "more.npz", shapes(1)[0], labels=np.array([0, 1, 3]))
    with pytest.raises(DatasetError, match="a label is 3, and there are 3 class names"):
        read_clouds([more])
    other = write_clouds(tmp_path / "other")
    (other / "classes.json").write_text(json.dumps({"classes": ["cup", "pot", "pan"]}))
    with pytest.raises(DatasetError, match="files with different classes"):
        read_clouds([folder / "val.npz", other / "val.npz"])
    (other / "classes.json").write_text("{}")
    with pytest.raises(DatasetError, match="expected a list of names as 'classes'"):
        read_clouds([other / "val.npz"])


def test_a_folder_gives_the_files_of_a_split(tmp_path: Path) -> None:
    folder = write_clouds(tmp_path / "clouds")
    assert [path.name for path in find_cloud_files(folder, "train")] == ["train_0.npz"]
    assert [path.name for path in find_cloud_files(folder, "held_out")] == ["val.npz"]
    assert find_cloud_files(folder / "val.npz", "train") == [folder / "val.npz"]
    (folder / "modelnet40_train.txt").write_text("a_1\n")
    with pytest.raises(DatasetError, match="the same clouds in several forms"):
        find_cloud_files(folder, "train")
    (tmp_path / "empty").mkdir()
    assert find_cloud_files(tmp_path / "empty", "held_out") == []
    with pytest.raises(DatasetError, match="no file with 'train' in its name"):
        find_cloud_files(tmp_path / "empty", "train")
    with pytest.raises(DatasetError, match="not found"):
        find_cloud_files(tmp_path / "nowhere", "train")


# Published layouts


@pytest.mark.parametrize(
    ("others", "train", "test"),
    [
        (
            ("ply_data_train0.h5", "ply_data_train1.h5", "ply_data_test0.h5", "train_files.txt", "test_files.txt"),
            ["ply_data_train0.h5", "ply_data_train1.h5"],
            ["ply_data_test0.h5"],
        ),
        (("modelnet40_train.txt", "modelnet40_test.txt"), ["modelnet40_train.txt"], ["modelnet40_test.txt"]),
        (
            ("training_objectdataset.h5", "test_objectdataset.h5"),
            ["training_objectdataset.h5"],
            ["test_objectdataset.h5"],
        ),
    ],
)
def test_a_folder_as_it_is_published_gives_its_splits(
    others: tuple[str, ...], train: list[str], test: list[str], tmp_path: Path
) -> None:
    for name in (*others, "shape_names.txt", "modelnet40_shape_names.txt"):
        (tmp_path / name).write_text("")
    assert [path.name for path in find_cloud_files(tmp_path, "train")] == train
    assert [path.name for path in find_cloud_files(tmp_path, "held_out")] == test


@pytest.mark.parametrize(
    "names",
    [
        ("modelnet10_train.txt", "modelnet40_train.txt"),
        ("modelnet40_train_1024pts_fps.dat", "modelnet40_train_8192pts_fps.dat"),
        ("training_objectdataset.h5", "training_objectdataset_augmentedrot_scale75.h5"),
    ],
)
def test_variants_of_a_published_set_are_not_taken_for_parts_of_it(names: tuple[str, ...], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_text("")
    with pytest.raises(DatasetError, match=f"{names[0]}, {names[1]} hold most likely the same clouds"):
        find_cloud_files(tmp_path, "train")


def test_modelnet10_has_its_own_classes_beside_those_of_modelnet40(tmp_path: Path) -> None:
    (tmp_path / "cup").mkdir()
    np.savetxt(tmp_path / "cup" / "cup_0001.txt", np.zeros((4, 3)), "%.6f", ",")
    (tmp_path / "modelnet10_train.txt").write_text("cup_0001\n")
    (tmp_path / "modelnet10_shape_names.txt").write_text("cup\n")
    (tmp_path / "modelnet40_shape_names.txt").write_text("bowl\ncup\n")
    assert read_clouds([tmp_path / "modelnet10_train.txt"]).class_names == ("cup",)


def test_a_text_split_of_modelnet_lists_its_shapes(tmp_path: Path) -> None:
    points = shapes(1, 20)[0].astype(np.float64)
    for number, name in enumerate(("cup_0001", "night_stand_0002", "cup_0003")):
        (tmp_path / name.rpartition("_")[0]).mkdir(exist_ok=True)
        np.savetxt(tmp_path / name.rpartition("_")[0] / f"{name}.txt", np.tile(points[number], 2), "%.6f", ",")
    (tmp_path / "modelnet40_train.txt").write_text("cup_0001\nnight_stand_0002\ncup_0003\n")
    (tmp_path / "modelnet40_shape_names.txt").write_text("night_stand\ncup\n")
    clouds = read_clouds([tmp_path / "modelnet40_train.txt"])
    np.testing.assert_allclose(clouds.points, points, atol=1e-6)
    assert (clouds.labels.tolist(), clouds.class_names, clouds.up_axis) == ([1, 0, 1], ("night_stand", "cup"), 1)
    for line, words in (("boat_0001", "of no known class"), ("cup_0009", "expected lines x,y,z"), ("", "is empty")):
        (tmp_path / "modelnet40_test.txt").write_text(line)
        with pytest.raises(DatasetError, match=words):
            read_clouds([tmp_path / "modelnet40_test.txt"])


def pickled(path: Path, content: Any, protocol: int = 4) -> Path:
    with path.open("wb") as file:
        pickle.dump(content, file, protocol=protocol)
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickled_list_of_modelnet_is_read_without_running_anything(protocol: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first = rng.random((3000, 6), np.float32)
    second = np.asfortranarray(rng.random((3000, 6)).astype(">f8"))
    path = pickled(tmp_path / "a.dat", [[first, second], [np.array([3], np.int32), np.int64(1)]], protocol)
    clouds = read_clouds([path])
    np.testing.assert_allclose(clouds.points, np.stack([first, second])[:, :2048, :3], atol=1e-7)
    assert clouds.labels.tolist() == [3, 1]


class _Runs:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("it_ran"),)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([[_Runs()], [0]], "which clouds have no need for; nothing was run"),
        ([[np.array([object()])], [0]], "arrays of 'O8' are not read"),
        ([[np.zeros((5, 6))], []], "a list of clouds and a list of as many labels"),
        ([[np.zeros(5)], [0]], "expected clouds of shape"),
        ([["text"], [0]], "holds str where an array of numbers is expected"),
        ([[np.zeros((5, 3)), np.zeros((6, 3))], [0, 1]], "clouds of 5 to 6 points"),
        ({"a": 1}, "a list of clouds"),
    ],
)
def test_anything_else_in_a_pickled_file_is_refused(
    content: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match=words):
        read_clouds([pickled(tmp_path / "a.dat", content)])
    assert not Path("it_ran").exists()


def test_a_damaged_pickled_file_is_named(tmp_path: Path) -> None:
    whole = pickled(tmp_path / "a.dat", [[np.zeros((9, 6))], [0]]).read_bytes()
    (tmp_path / "cut.dat").write_bytes(whole[:-40])
    with pytest.raises(DatasetError, match="no list of clouds"):
        read_clouds([tmp_path / "cut.dat"])


def test_hdf5_files_need_h5py_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.h5").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DatasetError, match="reading HDF5 needs h5py, which is not installed"):
        read_clouds([tmp_path / "a.h5"])


class _Arrays(dict[str, Any]):
    def __enter__(self) -> _Arrays:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("name", "first"), [("test_objectdataset.h5", "bag"), ("ply_data_test0.h5", "0")])
def test_hdf5_files_are_read_in_both_layouts(
    name: str, first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stands in for h5py, which need not be installed."""
    points, labels = shapes(1, 30)
    content = _Arrays(data=points.astype(np.float32), label=labels.reshape(-1, 1).astype(np.uint8))
    (tmp_path / name).write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", SimpleNamespace(File=lambda *_: content))
    clouds = read_clouds([tmp_path / name])
    assert (clouds.points.shape, clouds.labels.tolist(), clouds.up_axis) == ((3, 30, 3), [0, 1, 2], 1)
    assert clouds.class_name(0) == first
    del content["label"]
    with pytest.raises(DatasetError, match="no array 'label' but data"):
        read_clouds([tmp_path / name])
    content["label"] = np.array(3)
    with pytest.raises(DatasetError, match=r"'labels' are int64 of shape \(\); expected whole numbers, 3"):
        read_clouds([tmp_path / name])


@pytest.mark.parametrize("damage", [KeyError("object (ran off end)"), RuntimeError("bad heap"), TypeError("a group")])
def test_a_damaged_hdf5_file_is_named(damage: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Damaged(_Arrays):
        def __getitem__(self, name: str) -> Any:
            raise damage

    (tmp_path / "a.h5").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", SimpleNamespace(File=lambda *_: Damaged(data=1, label=1)))
    with pytest.raises(DatasetError, match=r"a\.h5: cannot be read as HDF5"):
        read_clouds([tmp_path / "a.h5"])


def test_a_real_hdf5_file_is_read(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    points, labels = shapes(1, 30)
    with h5py.File(tmp_path / "training_objectdataset.h5", "w") as file:
        file["data"], file["label"] = points.astype(np.float32), labels
    assert read_clouds([tmp_path / "training_objectdataset.h5"]).labels.tolist() == [0, 1, 2]
    (tmp_path / "bad.h5").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match="cannot be read as HDF5"):
        read_clouds([tmp_path / "bad.h5"])


def test_the_reference_parts_are_read(shared_dir: Path) -> None:
    folder = shared_dir / "data" / "pointclouds" / "cad"
    clouds = read_clouds(find_cloud_files(folder, "held_out"))
    assert (clouds.points.shape, clouds.num_classes, clouds.class_name(37)) == ((362, 2048, 3), 38, "windscreen")
