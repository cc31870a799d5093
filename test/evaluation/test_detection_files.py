"""Detections that were stored come back, and a damaged file is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lift3d_ros.errors import DatasetError
from lift3d_ros.evaluation.detection_files import MAX_BOXES, MIN_SCORE, read_detections, write_detections
from lift3d_ros.types import Boxes3D

NAMES = ("car", "pedestrian")


def boxes(count: int, seed: int = 0) -> Boxes3D:
    rng = np.random.default_rng(seed)
    return Boxes3D(
        "base_link",
        NAMES,
        centers=rng.uniform(-50, 50, (count, 3)),
        sizes=rng.uniform(0.5, 10, (count, 3)),
        yaws=rng.uniform(-3, 3, count),
        velocities=rng.uniform(-15, 15, (count, 2)),
        scores=np.linspace(0.9, 0.02, count) if count else np.zeros(0),
        labels=rng.integers(0, 2, count),
    )


def test_stored_detections_come_back_in_their_frames(tmp_path: Path) -> None:
    scenes = {"one": {10**18 + 1: boxes(5), 10**18 + 2: boxes(0)}, "two": {7: boxes(3, 1)}}
    write_detections(tmp_path / "new" / "found.safetensors", scenes)
    found = read_detections(tmp_path / "new" / "found.safetensors")
    assert {scene: list(frames) for scene, frames in found.items()} == {
        scene: list(frames) for scene, frames in scenes.items()
    }
    stored, given = found["two"][7], scenes["two"][7]
    assert (stored.class_names, stored.frame_id) == (NAMES, "base_link")
    np.testing.assert_allclose(stored.centers, given.centers, atol=0.02)  # half precision at 50 m
    np.testing.assert_allclose(stored.scores, given.scores, rtol=1e-6)
    assert np.array_equal(stored.labels, given.labels)
    assert len(found["one"][10**18 + 2]) == 0


def test_only_the_best_boxes_of_a_frame_are_stored(tmp_path: Path) -> None:
    many = boxes(MAX_BOXES + 30)
    weak = Boxes3D(
        **{name: getattr(boxes(2), name) for name in ("frame_id", "class_names", "centers", "sizes", "yaws")},
        velocities=np.zeros((2, 2)),
        scores=np.array([MIN_SCORE / 2, 0.5]),
        labels=np.array([0, 1]),
    )
    write_detections(tmp_path / "found.safetensors", {"one": {1: many, 2: weak}})
    found = read_detections(tmp_path / "found.safetensors")["one"]
    assert len(found[1]) == MAX_BOXES
    assert found[1].scores.min() >= many.scores[MAX_BOXES - 1] - 1e-6
    assert found[2].labels.tolist() == [1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.full(4, 9, dtype=np.uint8)}, "label 9 of 2 classes"),
        ({"num_boxes": np.array([-1, 5])}, "do not fit the frames"),
        ({"num_boxes": np.array([3, 3])}, r"shape \(4, 3\), expected \(6, 3\)"),
        ({"stamp_ns": np.array([1])}, "do not fit the frames"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path, change: dict[str, np.ndarray], message: str) -> None:
    path = tmp_path / "found.safetensors"
    write_detections(path, {"one": {1: boxes(2), 2: boxes(2)}})
    facts = {"frame_id": "base_link", "class_names": NAMES, "scenes": [["one", 2]]}
    save_file({**load_file(path), **change}, path, metadata={"detections": json.dumps(facts)})
    with pytest.raises(DatasetError, match=message) as caught:
        read_detections(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="absent"):
        read_detections(tmp_path / "absent.safetensors")
    (tmp_path / "text.safetensors").write_text("no detections")
    with pytest.raises(DatasetError, match="not readable as detections"):
        read_detections(tmp_path / "text.safetensors")
