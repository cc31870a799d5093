"""Labels of a recording come with the pose of the vehicle when they were made, wherever they lie between poses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drive import SPEED, START_NS, Drive

from lift3d_ros.bags.discover import GROUND_TRUTH_TOPIC, discover
from lift3d_ros.bags.reader import open_bag
from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.replay.bag_labels import read_labels
from lift3d_ros.replay.source import Labels
from lift3d_ros.types import Boxes3D

STAMPS = [START_NS + ms * 1_000_000 for ms in (-900, 0, 123, 512, 9000)]


class Labelled(Drive):
    def more(self) -> Iterable[tuple[int, Callable[[BagWriter], Any]]]:
        empty = Boxes3D.empty("base_link", ("car",))
        for stamp_ns in STAMPS:
            yield stamp_ns, lambda writer, s=stamp_ns: writer.boxes(GROUND_TRUTH_TOPIC, empty, s, s)


def labels_of(path: Path) -> dict[int, Labels]:
    with open_bag(path) as reader:
        return read_labels(reader, discover(reader))


def test_each_label_has_the_pose_of_its_stamp(tmp_path: Path) -> None:
    labels = labels_of(Labelled(frames=2).write(tmp_path / "drive"))
    assert sorted(labels) == STAMPS
    for stamp_ns in STAMPS[1:4]:
        ego = labels[stamp_ns].ego
        assert ego is not None
        assert ego.T_world_base[0, 3] == pytest.approx(SPEED * (stamp_ns - START_NS) * 1e-9)
        np.testing.assert_allclose(ego.T_world_base[:3, :3], np.eye(3))
    assert labels[STAMPS[0]].ego is None, "before the first pose"
    assert labels[STAMPS[-1]].ego is None, "after the last pose"


def test_without_ego_motion_there_are_labels_without_pose(tmp_path: Path) -> None:
    labels = labels_of(Labelled(frames=2, has_ego_motion=False).write(tmp_path / "drive"))
    assert {stamp_ns: entry.ego for stamp_ns, entry in labels.items()} == dict.fromkeys(STAMPS)


def test_a_recording_without_labels_has_none(tmp_path: Path) -> None:
    assert labels_of(Drive(frames=1).write(tmp_path / "drive")) == {}
