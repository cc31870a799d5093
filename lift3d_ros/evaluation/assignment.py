"""Which prediction found which label: the matching of the nuScenes benchmark at one distance, frame by frame.

The devkit gives figures but not the pairs behind them. Pairs are needed for error distributions, for recall over
distance, for visibility levels and for the frames worth looking at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.evaluation.matching import LabelledFrame
from lift3d_ros.types import Boxes3D, Float64Array

MATCH_DISTANCE_M = 2.0
"""Distance from above at which the benchmark takes its true-positive errors."""


@dataclass(frozen=True, eq=False)
class Assignment:
    """The pairs of one frame.

    Args:
        label_of: (P,) for each prediction the label that it found, -1 for a false positive.
        prediction_of: (M,) for each label the prediction that found it, -1 where it was missed.
    """

    label_of: NDArray[np.int64]
    prediction_of: NDArray[np.int64]


def assign(frame: LabelledFrame, distance_m: float = MATCH_DISTANCE_M) -> Assignment:
    """Give each prediction, best score first, the nearest label of its class that is still free and near enough."""
    predicted, labelled = frame.predictions, frame.ground_truth
    label_of = np.full(len(predicted), -1, dtype=np.int64)
    prediction_of = np.full(len(labelled), -1, dtype=np.int64)
    names, label_names = _names(predicted), _names(labelled)
    offsets = predicted.centers[:, None, :2] - labelled.centers[None, :, :2]
    distances = np.where(names[:, None] == label_names[None], np.linalg.norm(offsets, axis=2), np.inf)
    if distances.size:
        # Of equal scores the devkit takes the last one first.
        for index in np.argsort(predicted.scores, kind="stable")[::-1]:
            free = np.where(prediction_of < 0, distances[index], np.inf)
            nearest = int(np.argmin(free))
            if free[nearest] < distance_m:
                label_of[index], prediction_of[nearest] = nearest, index
    return Assignment(label_of, prediction_of)


def within_class_ranges(frame: LabelledFrame, ranges: Mapping[str, float]) -> LabelledFrame:
    """Return a frame with the boxes that the benchmark counts: of its classes, within the range of their class."""
    is_near = _is_within(frame.ground_truth, ranges)
    return LabelledFrame(
        frame.stamp_ns,
        frame.predictions.select(_is_within(frame.predictions, ranges)),
        frame.ground_truth.select(is_near),
        None if frame.visibility is None else frame.visibility[is_near],
        frame.result_ns,
    )


def above_scores(frame: LabelledFrame, scores: Mapping[str, float]) -> LabelledFrame:
    """Return a frame with the predictions that reach the score of their class; classes not named are left out."""
    names = _names(frame.predictions)
    lowest = np.array([scores.get(str(name), np.inf) for name in names], dtype=np.float64)
    return LabelledFrame(
        frame.stamp_ns,
        frame.predictions.select(frame.predictions.scores >= lowest),
        frame.ground_truth,
        frame.visibility,
        frame.result_ns,
    )


def ground_distances(boxes: Boxes3D) -> Float64Array:
    """Return how far the centres are from the vehicle, from above, metres."""
    return np.asarray(np.hypot(boxes.centers[:, 0], boxes.centers[:, 1]))


def class_names_of(boxes: Boxes3D) -> Sequence[str]:
    """Return the class of each box."""
    return [boxes.class_names[label] for label in boxes.labels]


def _names(boxes: Boxes3D) -> NDArray[np.str_]:
    return np.array(class_names_of(boxes), dtype=np.str_)


def _is_within(boxes: Boxes3D, ranges: Mapping[str, float]) -> NDArray[np.bool_]:
    limits = np.array([ranges.get(name, 0.0) for name in class_names_of(boxes)], dtype=np.float64)
    return np.asarray(ground_distances(boxes) < limits)
