"""What lies at a path is recognised, and what is missing is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from given_results import label, write_scene
from labelled_drive import Labelled

from lift3d_ros.datasets.class_map import ClassMap
from lift3d_ros.errors import DatasetError
from lift3d_ros.evaluation.scenes import DataChoice, find_scenes, labelled_scenes
from lift3d_ros.replay.labelled_data import LabelledChoice, open_labelled_data


def test_one_scene_folder_is_one_scene(tmp_path: Path) -> None:
    write_scene(tmp_path / "street", [[label("car", 10.0, visibility=0.5, num_lidar_pts=7)]])
    (entry,) = find_scenes(tmp_path / "street", DataChoice())
    assert entry.name == "street"
    with entry.open() as scene:
        ((stamp_ns, facts),) = scene.label_facts.items()
        assert stamp_ns in scene.source.labels
        assert (facts.visibility.tolist(), facts.num_points.tolist()) == ([0.5], [7])


def test_scenes_and_recordings_of_a_folder_are_found_in_the_order_in_which_people_count(tmp_path: Path) -> None:
    for name in ("scene10", "scene2"):
        write_scene(tmp_path / name, [[label("car", 10.0)]])
    (tmp_path / "notes.txt").write_text("not a scene", encoding="utf-8")
    assert [entry.name for entry in find_scenes(tmp_path, DataChoice())] == ["scene2", "scene10"]
    assert [entry.name for entry in find_scenes(tmp_path, DataChoice(scenes=("scene10",)))] == ["scene10"]
    with pytest.raises(DatasetError, match=r"scene 'scene1' is not in it; did you mean 'scene1?[02]'"):
        find_scenes(tmp_path, DataChoice(scenes=("scene1",)))


def test_a_scene_that_is_named_twice_counts_once(tmp_path: Path, nuscenes_root: Path) -> None:
    write_scene(tmp_path / "street", [[label("car", 10.0)]])
    for data, name in ((tmp_path, "street"), (nuscenes_root, "scene-0103")):
        assert [entry.name for entry in find_scenes(data, DataChoice(scenes=(name, name)))] == [name]
        assert list(open_labelled_data(data, choice=LabelledChoice(scenes=(name, name))).scenes) == [name]


def test_two_recordings_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("drive.bag", "drive.mcap", "other.mcap"):
        (tmp_path / name).touch()
    for scenes in ((), ("drive",)):
        with pytest.raises(DatasetError, match=r"drive\.bag and drive\.mcap are both the scene 'drive'"):
            find_scenes(tmp_path, DataChoice(scenes=scenes))
    assert [entry.name for entry in find_scenes(tmp_path, DataChoice(scenes=("other",)))] == ["other"]


def test_a_scene_without_frames_is_left_out_like_one_without_labels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, frames in {"cleared": [], "street": [[label("car", 10.0)]], "unlabelled": [None]}.items():
        write_scene(tmp_path / name, frames)
    assert [entry.name for entry in labelled_scenes(find_scenes(tmp_path, DataChoice()), ClassMap())] == ["street"]
    for name in ("cleared", "unlabelled"):
        assert f"scene '{name}' has no labels and does not count" in caplog.text


def test_a_recording_gives_its_labels(tmp_path: Path) -> None:
    bag = Labelled(frames=2).write(tmp_path / "drive")
    (entry,) = find_scenes(bag, DataChoice())
    with entry.open() as scene:
        assert len(scene.source.labels) == 2
        assert scene.identity["recording"]["messages"] > 0


def test_nuscenes_needs_no_version_where_there_is_one(nuscenes_root: Path) -> None:
    (entry,) = find_scenes(nuscenes_root, DataChoice())
    with entry.open() as scene:
        assert entry.name == "scene-0103"
        assert len(scene.source.labels) == 3
        assert len(scene.label_facts) == 3
    with pytest.raises(DatasetError, match=r"scene-0100.*did you mean 'scene-0103'"):
        find_scenes(nuscenes_root, DataChoice(scenes=("scene-0100",)))
    with pytest.raises(DatasetError, match="split 'mini_train': none of its"):
        find_scenes(nuscenes_root, DataChoice(split="mini_train"))
    assert len(find_scenes(nuscenes_root, DataChoice(split="mini_val"))) == 1


def test_what_is_no_data_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere: does not exist; expected a scene folder"):
        find_scenes(tmp_path / "nowhere", DataChoice())
    with pytest.raises(DatasetError, match=r"no labelled scene in it; expected a scene folder"):
        find_scenes(tmp_path, DataChoice())
    write_scene(tmp_path / "street", [[]])
    with pytest.raises(DatasetError, match=r"--split 'val': .* is no nuScenes folder"):
        find_scenes(tmp_path, DataChoice(split="val"))
