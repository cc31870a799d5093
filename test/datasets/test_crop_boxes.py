"""Boxes of objects are read from a JSON file; a box that is not complete is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lift3d_ros.datasets.crop_boxes import read_crop_boxes
from lift3d_ros.errors import ConfigError

BOX = {"center": [1, 2, 3], "size": [4, 5, 6]}


def write(folder: Path, content: Any) -> Path:
    (folder / "boxes.json").write_text(json.dumps(content))
    return folder / "boxes.json"


def test_boxes_are_read_with_their_numbers(tmp_path: Path) -> None:
    boxes, ids = read_crop_boxes(write(tmp_path, [BOX, {**BOX, "yaw": 0.5, "score": 0.25, "id": 9}]), "lidar")
    assert boxes.frame_id == "lidar"
    assert boxes.centers.tolist() == [[1, 2, 3]] * 2
    assert boxes.sizes.tolist() == [[4, 5, 6]] * 2
    assert boxes.yaws.tolist() == [0, 0.5]
    assert boxes.scores.tolist() == [1, 0.25]
    assert ids.tolist() == [0, 9]


def test_a_line_of_a_detector_is_such_a_file(tmp_path: Path) -> None:
    boxes, ids = read_crop_boxes(write(tmp_path, {"stamp_ns": 1, "boxes": [{**BOX, "label": "car", "track_id": 3}]}))
    assert (len(boxes), ids.tolist()) == (1, [0])
    assert len(read_crop_boxes(write(tmp_path, []))[0]) == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("text", "expected a list of boxes"),
        ({"objects": []}, "expected a list of boxes"),
        ([BOX, {"center": [0, 0, 0]}], "box 1 cannot be read \\(KeyError: 'size'\\)"),
        ([{**BOX, "center": [0, 0]}], "box 0 cannot be read"),
        ([{**BOX, "size": [1, 1, 0]}], "sizes above 0"),
        ([{**BOX, "yaw": float("nan")}], "all finite"),
        ([{**BOX, "id": -2}], "id -2, expected a whole number of 0 and above"),
        ([{**BOX, "id": 10**25}], "id 1000.*, expected a whole number"),
        ([{**BOX, "id": 1.7}], r"id 1\.7, expected a whole number"),
        ([{**BOX, "id": "cup"}], "id 'cup', expected a whole number"),
        ([{**BOX, "id": 1}, BOX], "two boxes have the same id"),
    ],
)
def test_wrong_content_is_named(tmp_path: Path, content: Any, words: str) -> None:
    if isinstance(content, list) and "same id" in words:
        content = [content[0], content[0]]
    with pytest.raises(ConfigError, match=words):
        read_crop_boxes(write(tmp_path, content))


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "boxes.json").write_text("[")
    for name in ("boxes.json", "none.json"):
        with pytest.raises(ConfigError, match=f"{name}: cannot be read as JSON"):
            read_crop_boxes(tmp_path / name)
