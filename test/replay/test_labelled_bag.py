"""Frame sets of a labelled recording carry the labels as they are at the stamp of the set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drive import SPEED, START_NS, Drive
from labelled_drive import MS, Labelled, box

from lift3d_ros.datasets.class_map import ClassMap
from lift3d_ros.datasets.prepared import prepare_sample
from lift3d_ros.errors import BagError, DatasetError
from lift3d_ros.images.preprocess import InputSpec
from lift3d_ros.replay.labelled_bag import LabelledBags
from lift3d_ros.types import Boxes3D


def test_labels_are_moved_to_the_stamp_of_the_nearest_set(tmp_path: Path) -> None:
    data = LabelledBags([Labelled(frames=4).write(tmp_path / "drive")])
    assert data.scenes == ("drive",)
    assert data.num_frames("drive") == 2, "two of the four sets have labels near them"
    for index, label_ms in enumerate((60, 560)):
        found = data.load("drive", index)
        seconds = (START_NS + label_ms * MS - found.frame_set.stamp_ns) * 1e-9
        assert 0.0 < seconds < 0.1
        # Earlier the vehicle was farther back by its own way, and the car by its own.
        assert found.boxes.centers[0, 0] == pytest.approx(20.0 + (SPEED - 3.0) * seconds, abs=1e-3)
        sample = prepare_sample(found, InputSpec(128, 64), data.class_names)
        assert sample.labels.tolist() == [0]
        assert sample.has_pose
        assert np.isnan(sample.visibility).all()
        assert np.isinf(sample.cell_depths).all()


def test_going_back_reads_the_recording_again(tmp_path: Path) -> None:
    data = LabelledBags([Labelled(frames=2).write(tmp_path / "drive")])
    stamps = [data.load("drive", index).frame_set.stamp_ns for index in (1, 0, 1)]
    assert stamps[0] == stamps[2] > stamps[1]
    with pytest.raises(DatasetError, match=r"'drive' has 2 items; asked for item 2"):
        data.load("drive", 2)


def test_a_recording_without_labels_is_refused(tmp_path: Path) -> None:
    path = Drive(frames=1).write(tmp_path / "drive")
    with pytest.raises(DatasetError, match=r"drive: no labels; expected a topic '/ground_truth/boxes'.*/front/image"):
        LabelledBags([path])


def test_recordings_without_a_single_box_are_refused(tmp_path: Path) -> None:
    path = Labelled(frames=1, label_ms=(0,), labels=Boxes3D.empty("base_link", ("car",))).write(tmp_path / "drive")
    with pytest.raises(DatasetError, match=r"drive: not one box is labelled; expected boxes on topic"):
        LabelledBags([path])


def test_wrong_labels_name_recording_topic_and_field(tmp_path: Path) -> None:
    flat = Labelled(frames=1, label_ms=(0,), labels=box(9.0, length=0.0)).write(tmp_path / "flat")
    with pytest.raises(DatasetError, match=r"flat: topic '/ground_truth/boxes' at \d+ ns: field 'size' of box 0"):
        LabelledBags([flat])
    strange = Labelled(frames=1, label_ms=(0,), labels=box(9.0, "cars")).write(tmp_path / "strange")
    with pytest.raises(DatasetError, match=r"strange: topic .*class 'cars' is not known; did you mean 'car'"):
        LabelledBags([strange])
    assert LabelledBags([strange], ClassMap(table={"cars": "car"})).num_frames("strange") == 1


def test_labels_without_calibration_are_refused(tmp_path: Path) -> None:
    data = LabelledBags([Labelled(frames=1, label_ms=(0,), calibrated=()).write(tmp_path / "drive")])
    with pytest.raises(BagError, match=r"drive: no camera can be used.*rig file"):
        data.num_frames("drive")


def test_without_ego_motion_only_labels_of_the_same_moment_are_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    drive = Labelled(frames=2, label_ms=(0, 700), has_ego_motion=False)
    data = LabelledBags([drive.write(tmp_path / "drive")])
    assert data.num_frames("drive") == 1
    assert not prepare_sample(data.load("drive", 0), InputSpec(128, 64), data.class_names).has_pose
    assert "1 of 2 labelled moments are left out" in caplog.text
