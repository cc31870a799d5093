"""Which prediction found which label: the pairs behind the figures of nuscenes-devkit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from lift3d_ros.evaluation.assignment import above_scores, assign, within_class_ranges
from lift3d_ros.evaluation.detection import class_ranges, score_detections
from lift3d_ros.evaluation.matching import FrameMatches, LabelledFrame
from lift3d_ros.models.dfa3d.config import NUSCENES_CLASSES
from lift3d_ros.types import Boxes3D


def boxes(names: Sequence[str], at: object, scores: Sequence[float] | None = None) -> Boxes3D:
    count = len(names)
    return Boxes3D(
        "base_link", NUSCENES_CLASSES, np.array(at, dtype=float).reshape(-1, 3), np.tile([4.0, 2.0, 1.5], (count, 1)),
        np.zeros(count), np.zeros((count, 2)), np.ones(count) if scores is None else np.array(scores),
        np.array([NUSCENES_CLASSES.index(name) for name in names], dtype=np.int64),
    )  # fmt: skip


def test_the_best_score_takes_the_nearest_free_label_of_its_class() -> None:
    labels = boxes(["car", "bus", "car"], [[10, 0, 0], [10, 1, 0], [13, 0, 0]])
    found = boxes(["car", "car", "car"], [[10.5, 0, 9], [10.2, 0, 0], [11.8, 0, 0]], [0.9, 0.8, 0.7])
    pairs = assign(LabelledFrame(0, found, labels))
    assert pairs.label_of.tolist() == [0, -1, 2], "height does not matter; the second one comes too late"
    assert pairs.prediction_of.tolist() == [0, -1, 2]


def test_two_metres_are_too_far() -> None:
    labels, found = boxes(["car"], [[10, 0, 0]]), boxes(["car"], [[12, 0, 0]])
    assert assign(LabelledFrame(0, found, labels)).label_of.tolist() == [-1]
    assert assign(LabelledFrame(0, found, labels), 2.001).label_of.tolist() == [0]


@pytest.mark.parametrize("num_predictions", [0, 3])
def test_frames_without_labels_or_predictions_have_no_pairs(num_predictions: int) -> None:
    found = boxes(["car"] * num_predictions, np.zeros((num_predictions, 3)))
    pairs = assign(LabelledFrame(0, found, boxes([], [])))
    assert pairs.label_of.tolist() == [-1] * num_predictions
    assert len(pairs.prediction_of) == 0


def test_pairs_are_as_many_as_the_devkit_finds() -> None:
    pytest.importorskip("nuscenes", reason="nuscenes-devkit is not installed")
    generator = np.random.default_rng(5)
    frames, num_pairs = [], 0
    for stamp_ns in range(10):
        at = generator.uniform(-12, 12, (10, 3))
        noise = generator.normal(scale=1.5, size=(10, 3))
        scores = generator.integers(1, 6, 10) / 10  # with ties
        frames.append(LabelledFrame(stamp_ns, boxes(["car"] * 10, at + noise, scores), boxes(["car"] * 10, at)))
        num_pairs += int((assign(frames[-1]).label_of >= 0).sum())
    _, curves = score_detections([FrameMatches(tuple(frames))])
    # Of 100 labels each one is a step of the curve.
    reached = curves["car"][2.0].recall[curves["car"][2.0].precision > 0].max()
    assert num_pairs == round(100 * reached)
    assert 30 < num_pairs < 100


def test_only_boxes_within_the_range_of_their_class_count() -> None:
    pytest.importorskip("nuscenes", reason="nuscenes-devkit is not installed")
    ranges = class_ranges()
    assert (ranges["car"], ranges["pedestrian"], ranges["traffic_cone"]) == (50, 40, 30)
    labels = boxes(["car", "traffic_cone"], [[0, 49, 0], [0, 31, 0]])
    frame = LabelledFrame(0, boxes(["pedestrian"], [[41, 0, 0]]), labels, np.array([0.5, 0.9]))
    near = within_class_ranges(frame, ranges)
    assert (len(near.predictions), len(near.ground_truth)) == (0, 1)
    assert near.visibility is not None
    assert near.visibility.tolist() == [0.5]


def test_predictions_below_the_score_of_their_class_are_left_out() -> None:
    found = boxes(["car", "car", "bus"], np.zeros((3, 3)), [0.5, 0.4, 0.9])
    kept = above_scores(LabelledFrame(0, found, boxes([], [])), {"car": 0.5})
    assert kept.predictions.scores.tolist() == [0.5]
