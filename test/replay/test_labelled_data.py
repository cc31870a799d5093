"""Labelled data are recognised by what lies at a path; anything else is told apart by what was expected."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from labelled_drive import Labelled

from lift3d_ros.bags.from_frames import bag_from_frames
from lift3d_ros.datasets.class_map import ClassMap
from lift3d_ros.datasets.scene_data import SceneFolders
from lift3d_ros.errors import DatasetError
from lift3d_ros.replay.labelled_bag import LabelledBags
from lift3d_ros.replay.labelled_data import LabelledChoice, open_labelled_data


@pytest.fixture
def street(repository: Path) -> Path:
    return repository / "demo" / "street"


def test_a_scene_folder_and_a_folder_of_them_are_recognised(street: Path, tmp_path: Path) -> None:
    data = open_labelled_data(street)
    assert isinstance(data, SceneFolders)
    assert data.scenes == ("street",)
    for name in ("scene_10", "scene_2"):
        shutil.copytree(street, tmp_path / name)
    assert open_labelled_data(tmp_path).scenes == ("scene_2", "scene_10")
    assert open_labelled_data(tmp_path, choice=LabelledChoice(scenes=("scene_10",))).scenes == ("scene_10",)
    with pytest.raises(DatasetError, match=r"scene 'scene_1' is not in it; did you mean 'scene_10'"):
        open_labelled_data(tmp_path, choice=LabelledChoice(scenes=("scene_1",)))


def test_a_recording_and_a_folder_of_them_are_recognised(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Labelled(frames=1, label_ms=(0,)).write(tmp_path / name)
    data = open_labelled_data(tmp_path / "a")
    assert isinstance(data, LabelledBags)
    assert data.scenes == ("a",)
    assert open_labelled_data(tmp_path).scenes == ("a", "b")


def test_own_classes_come_through_a_recording_as_through_a_folder(street: Path, tmp_path: Path) -> None:
    folder, bag = tmp_path / "folder", tmp_path / "bag"
    shutil.copytree(street, folder)
    meta = json.loads((folder / "meta.json").read_text())
    meta["frames"] = meta["frames"][:2]
    labels = [label for frame in meta["frames"] for label in frame["boxes"]]
    for label in labels:
        label["class"] = label["class"].replace("car", "van")
    (folder / "meta.json").write_text(json.dumps(meta))
    bag_from_frames(folder, bag)
    expected = Counter(label["class"].replace("van", "truck") for label in labels)
    assert expected["truck"] > Counter(label["class"] for label in labels)["truck"]
    for path in (folder, bag):
        with pytest.raises(DatasetError, match=r"class 'van' is not known"):
            open_labelled_data(path)
        data = open_labelled_data(path, ClassMap(table={"van": "truck"}))
        found = [data.load(data.scenes[0], index).boxes for index in range(data.num_frames(data.scenes[0]))]
        assert Counter(boxes.class_names[label] for boxes in found for label in boxes.labels) == expected


def test_both_kinds_in_one_folder_are_refused(street: Path, tmp_path: Path) -> None:
    shutil.copytree(street, tmp_path / "street")
    Labelled(frames=1, label_ms=(0,)).write(tmp_path / "drive")
    with pytest.raises(DatasetError, match=r"holds scene folders \(street\) and recordings \(drive\)"):
        open_labelled_data(tmp_path)


def test_what_is_no_labelled_data_is_told_what_was_expected(street: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"absent: does not exist; expected a scene folder"):
        open_labelled_data(tmp_path / "absent")
    with pytest.raises(DatasetError, match=r"no labelled data \(found: nothing\); expected a scene folder"):
        open_labelled_data(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DatasetError, match=r"found: notes.txt"):
        open_labelled_data(tmp_path)
    with pytest.raises(DatasetError, match=r"found: a file .txt"):
        open_labelled_data(tmp_path / "notes.txt")
    with pytest.raises(DatasetError, match=r"split 'train' is asked for, but this is no nuScenes folder"):
        open_labelled_data(street, choice=LabelledChoice(split="train"))
    for version in ("v1.0-mini", "v1.0-test"):
        (tmp_path / version).mkdir()
    with pytest.raises(DatasetError, match=r"versions v1.0-mini, v1.0-test; name one with --nuscenes-version"):
        open_labelled_data(tmp_path)
