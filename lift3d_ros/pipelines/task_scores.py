"""What a network is used for, as figures: results of an engine against those of float32, with the limits of each.

A build beyond a limit is refused. The limits say what a user would not notice: a box in twenty that moved by half a
metre or whose score changed by 0.05, a hundredth of a skeleton's size, a cosine of 0.99.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.engines.numerics import ComparedRun, ScoreOf, TaskScore
from lift3d_ros.engines.protocol import Arrays
from lift3d_ros.geometry.alignment import align, weighted_mean
from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.pipelines.box_decoding import decode_model_boxes
from lift3d_ros.types import Boxes3D, Float64Array

_LEAST_SCORE = 0.1
_MATCH_M, _MATCH_SCORE = 0.5, 0.05
_CLEAR_SIGN = 0.5  # log odds; below, either mirror image is as good
_FEWEST_CLOUDS = 3  # of which a mean and neighbours can be told
_MOST_DB = 100.0


@dataclass(frozen=True)
class Limit:
    """The worst value of a metric that is accepted, and what the metric is."""

    metric: str
    value: float
    meaning: str
    is_error: bool = False

    def score(self, value: float) -> TaskScore:
        """Return a value with this limit."""
        return TaskScore(self.metric, float(value), self.value, self.is_error)


BOXES_KEPT = Limit(
    "boxes kept", 0.95, "share of the boxes of float32 with a score of at least 0.1 that have one of the same class "
    "within 0.5 m whose score differs by at most 0.05"
)  # fmt: skip
BOXES_CONFIRMED = Limit("boxes confirmed", 0.95, "the same the other way: share of the boxes that float32 has too")
SKELETON_ERROR = Limit(
    "PA-MPJPE / size", 0.01, "mean distance of joints after the best similarity, over the RMS size of the skeleton",
    is_error=True,
)  # fmt: skip
MIRRORS_KEPT = Limit("mirror images kept", 0.97, "share of the instances whose mirror image is decided as in float32")
LEAST_COSINE = Limit(
    "least cosine of descriptors",
    0.99,
    "of any cloud, to the descriptor of float32, both without what all clouds have in common",
)
NEIGHBOURS_KEPT = Limit(
    "nearest neighbours kept", 0.93, "share of the clouds whose most similar other cloud is the same as in float32"
)
PLANES_PSNR = Limit("PSNR of planes, dB", 35.0, "of the triplane, relative to its largest value")
SOLID_IOU = Limit("IoU of the solid", 0.95, "of the points of a grid that are inside the surface")
COLOR_PSNR = Limit("PSNR of colours, dB", 35.0, "of the points of a grid that are inside the surface in float32")

LIMITS: tuple[Limit, ...] = (
    BOXES_KEPT,
    BOXES_CONFIRMED,
    SKELETON_ERROR,
    MIRRORS_KEPT,
    LEAST_COSINE,
    NEIGHBOURS_KEPT,
    PLANES_PSNR,
    SOLID_IOU,
    COLOR_PSNR,
)

# Planes (1, 3, C, R, R) to ``density`` (1, P) and ``color`` (1, P, 3) of the points of a grid.
AskField = Callable[[NDArray[np.float32]], Arrays]


def detector_scores(config: Dfa3dConfig) -> ScoreOf:
    """Return the scores of the BEV detector."""
    return functools.partial(_score_boxes, config)


def skeleton_scores(runs: Sequence[ComparedRun]) -> tuple[TaskScore, ...]:
    """Return the scores of the skeleton lifter."""
    errors, kept = [], []
    for run in runs:
        weights = run.inputs["exists"].astype(np.float64)
        expected, found = run.expected["shape"].astype(np.float64), run.found["shape"].astype(np.float64)
        distance = np.linalg.norm(align(found, expected, weights).apply(found) - expected, axis=2)
        spread = np.square(expected - weighted_mean(expected, weights)[:, None]).sum(axis=2)
        total = np.maximum(weights.sum(axis=1), 1.0)
        size = np.sqrt((weights * spread).sum(axis=1) / total)
        errors.append((weights * distance).sum(axis=1) / total / np.maximum(size, 1e-9))
        right, other = run.expected["sign_logit"], run.found["sign_logit"]
        kept.append((np.sign(right) == np.sign(other)) | (np.abs(right) < _CLEAR_SIGN))
    return (
        SKELETON_ERROR.score(np.concatenate(errors).mean()),
        MIRRORS_KEPT.score(np.concatenate(kept).mean()),
    )


def descriptor_scores(runs: Sequence[ComparedRun]) -> tuple[TaskScore, ...]:
    """Return the scores of the point encoder; all runs together are one set of clouds."""
    right = np.concatenate([run.expected["descriptor"] for run in runs]).astype(np.float64)
    found = np.concatenate([run.found["descriptor"] for run in runs]).astype(np.float64)
    if len(right) < _FEWEST_CLOUDS:
        return (LEAST_COSINE.score((_unit(right) * _unit(found)).sum(axis=1).min()),)
    common = right.mean(axis=0)
    right, found = _unit(right - common), _unit(found - common)
    return (
        LEAST_COSINE.score((right * found).sum(axis=1).min()),
        NEIGHBOURS_KEPT.score((_neighbours(right) == _neighbours(found)).mean()),
    )


def planes_scores(ask: AskField, surface_density: float) -> ScoreOf:
    """Return the scores of the object reconstructor without its field.

    Args:
        ask: the field in float32, at the points of a grid.
        surface_density: density above which a point is inside.
    """

    def score(runs: Sequence[ComparedRun]) -> tuple[TaskScore, ...]:
        right = np.concatenate([run.expected["planes"] for run in runs])
        found = np.concatenate([run.found["planes"] for run in runs])
        asked = [ComparedRun({}, ask(run.expected["planes"]), ask(run.found["planes"])) for run in runs]
        planes = PLANES_PSNR.score(_psnr(right, found, float(np.abs(right).max())))
        return planes, *_score_field(surface_density, asked)

    return score


def field_scores(surface_density: float) -> ScoreOf:
    """Return the scores of the field of the object reconstructor; see :func:`planes_scores`."""
    return functools.partial(_score_field, surface_density)


def _score_boxes(config: Dfa3dConfig, runs: Sequence[ComparedRun]) -> tuple[TaskScore, ...]:
    # Which box is the last one that is reported, rounding may decide: partners are looked for beyond it.
    longer = dataclasses.replace(config, max_detections=2 * config.max_detections)
    kept: list[NDArray[np.bool_]] = []
    confirmed: list[NDArray[np.bool_]] = []
    for run in runs:
        right, found = (_boxes_of(outputs, config) for outputs in (run.expected, run.found))
        kept.append(_matched(right, _boxes_of(run.found, longer)))
        confirmed.append(_matched(found, _boxes_of(run.expected, longer)))
    return BOXES_KEPT.score(_share(kept)), BOXES_CONFIRMED.score(_share(confirmed))


def _boxes_of(outputs: Arrays, config: Dfa3dConfig) -> Boxes3D:
    return decode_model_boxes(outputs["class_logits"][0], outputs["box_codes"][0], config)


def _matched(boxes: Boxes3D, others: Boxes3D) -> NDArray[np.bool_]:
    """Return which of the boxes that count have a partner among the others."""
    wanted = boxes.select(boxes.scores >= _LEAST_SCORE)
    distance = np.linalg.norm(wanted.centers[:, None, :2] - others.centers[None, :, :2], axis=2)
    is_partner = distance <= _MATCH_M
    is_partner &= wanted.labels[:, None] == others.labels[None]
    is_partner &= np.abs(wanted.scores[:, None] - others.scores[None]) <= _MATCH_SCORE
    return np.asarray(is_partner.any(axis=1))


def _share(flags: Sequence[NDArray[np.bool_]]) -> float:
    together = np.concatenate(flags)
    return float(together.mean()) if len(together) else 1.0


def _unit(rows: Float64Array) -> Float64Array:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def _neighbours(unit: Float64Array) -> NDArray[np.int64]:
    """Return the most similar other row of each row."""
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    return np.asarray(similarity.argmax(axis=1))


def _score_field(surface_density: float, runs: Sequence[ComparedRun]) -> tuple[TaskScore, ...]:
    right = np.concatenate([np.ravel(run.expected["density"]) for run in runs]) > surface_density
    found = np.concatenate([np.ravel(run.found["density"]) for run in runs]) > surface_density
    union = (right | found).sum()
    colors = (
        np.concatenate([run.expected["color"][0] for run in runs]),
        np.concatenate([run.found["color"][0] for run in runs]),
    )
    error = _psnr(colors[0][right], colors[1][right], 1.0) if right.any() else _MOST_DB
    return SOLID_IOU.score((right & found).sum() / union if union else 1.0), COLOR_PSNR.score(error)


def _psnr(right: NDArray[np.float32], found: NDArray[np.float32], peak: float) -> float:
    error = float(np.mean(np.square(right.astype(np.float64) - found)))
    if error == 0.0:
        return _MOST_DB
    return float(np.minimum(_MOST_DB, 10.0 * np.log10(peak**2 / error)))  # what is no number stays so, and is refused
