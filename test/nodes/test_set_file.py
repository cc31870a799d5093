"""What a node records is added to the file, whatever else happens to it meanwhile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lift3d_ros.errors import ConfigError
from lift3d_ros.nodes.set_file import SetFile
from lift3d_ros.replay.sets import read_sets
from lift3d_ros.types import CameraImage, CameraModel, CameraView, FrameSet


def frame_set(stamp_ns: int) -> FrameSet:
    model = CameraModel("front", "f", 8, 8, np.diag([5.0, 5.0, 1.0]))
    image = CameraImage("front", stamp_ns, "f", "jpeg", np.zeros(1, np.uint8))
    return FrameSet(stamp_ns, {"front": CameraView(image, model, np.eye(4))})


def test_sets_are_added_to_those_of_an_earlier_run(tmp_path: Path) -> None:
    path = tmp_path / "new" / "sets.jsonl"
    for stamps in ((1, 2), (3,)):  # configured twice
        file = SetFile(path)
        for stamp_ns in stamps:
            file.add(frame_set(stamp_ns))
    assert [recorded.stamp_ns for recorded in read_sets(path)] == [1, 2, 3]


def test_a_file_that_cannot_be_written_is_named_and_used_again_when_it_can(tmp_path: Path) -> None:
    path, away = tmp_path / "sets.jsonl", tmp_path / "away"
    file = SetFile(path)
    file.add(frame_set(1))
    path.rename(away)
    path.mkdir()
    with pytest.raises(ConfigError, match=r"sets.jsonl cannot be written \(Is a directory\); check permissions"):
        file.add(frame_set(2))
    with pytest.raises(ConfigError, match="parameter 'record_sets'"):
        SetFile(path)
    path.rmdir()
    away.rename(path)
    file.add(frame_set(3))
    assert [recorded.stamp_ns for recorded in read_sets(path)] == [1, 3]
