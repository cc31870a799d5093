"""How far the mAP of a detector depends on which scenes it was measured on.

Matching does not cross frames, so it is done once; only precision over recall is computed again for each drawn set of
scenes, by the rules of the nuScenes benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.evaluation.assignment import assign, class_names_of, within_class_ranges
from lift3d_ros.evaluation.matching import FrameMatches
from lift3d_ros.types import Float64Array

NUM_DRAWS = 500
_DISTANCES_M = (0.5, 1.0, 2.0, 4.0)
_FIRST_COUNTED = 11  # of 101 places of recall: 10 % and below count as nothing
_LEAST_PRECISION = 0.1


def bootstrap_mean_ap(
    scenes: Sequence[FrameMatches], ranges: Mapping[str, float], num_draws: int = NUM_DRAWS, seed: int = 0
) -> Float64Array:
    """Return the mAP of `num_draws` sets of as many scenes, drawn with replacement, (num_draws,).

    The mean is over the classes that have labels in the drawn scenes. The same number of scenes and the same seed give
    the same sets, so that results of two detectors are paired.

    Args:
        ranges: class -> how far its boxes count, metres.
    """
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(scenes), np.full(len(scenes), 1.0 / len(scenes)), size=num_draws).astype(np.float64)
    return _drawn_mean_ap(scenes, ranges, weights)


def mean_ap(scenes: Sequence[FrameMatches], ranges: Mapping[str, float]) -> float:
    """Return the mAP of all scenes, as the benchmark computes it, over the classes with labels."""
    return float(_drawn_mean_ap(scenes, ranges, np.ones((1, len(scenes))))[0])


def _drawn_mean_ap(scenes: Sequence[FrameMatches], ranges: Mapping[str, float], weights: Float64Array) -> Float64Array:
    frames = [
        (number, within_class_ranges(frame, ranges)) for number, scene in enumerate(scenes) for frame in scene.frames
    ]
    names = np.array([name for _, frame in frames for name in class_names_of(frame.predictions)], dtype=np.str_)
    scores = np.concatenate([frame.predictions.scores for _, frame in frames])
    scene_of = np.concatenate([np.full(len(frame.predictions), number) for number, frame in frames])
    labelled = [(name, number) for number, frame in frames for name in class_names_of(frame.ground_truth)]
    hits = [np.concatenate([assign(frame, distance).label_of >= 0 for _, frame in frames]) for distance in _DISTANCES_M]
    precisions = []
    for name in sorted({name for name, _ in labelled}):
        of_scene = np.bincount([number for found, number in labelled if found == name], minlength=weights.shape[1])
        rows = np.flatnonzero(names == name)
        rows = rows[np.argsort(scores[rows], kind="stable")[::-1]]  # of equal scores the devkit takes the last first
        each = [_average_precision(hit[rows], scene_of[rows], of_scene, weights) for hit in hits]
        precisions.append(np.mean(each, axis=0))
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nanmean(np.array(precisions), axis=0), dtype=np.float64)


def _average_precision(
    hit: NDArray[np.bool_], scene_of: NDArray[np.int64], labels_of_scene: NDArray[np.int64], weights: Float64Array
) -> Float64Array:
    """Return the average precision for each row of weights (D, scenes); NaN where the drawn scenes have no label."""
    places = np.linspace(0.0, 1.0, 101)
    result = np.full(len(weights), np.nan)
    for row, weight in enumerate(weights):
        total = float(weight @ labels_of_scene)
        if not total:
            continue
        of_prediction = weight[scene_of]
        is_drawn = of_prediction > 0
        counted = of_prediction[is_drawn]
        true = np.cumsum(counted * hit[is_drawn])
        if not len(true) or not true[-1]:
            result[row] = 0.0
            continue
        precision = np.interp(places, true / total, true / np.cumsum(counted), right=0.0)[_FIRST_COUNTED:]
        result[row] = np.maximum(precision - _LEAST_PRECISION, 0.0).mean() / (1.0 - _LEAST_PRECISION)
    return result
