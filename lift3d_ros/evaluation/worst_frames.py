"""Chooses the frames of an evaluation that are worth looking at: near objects missed, confident boxes of nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lift3d_ros.evaluation.assignment import (
    MATCH_DISTANCE_M,
    above_scores,
    assign,
    class_names_of,
    ground_distances,
    within_class_ranges,
)
from lift3d_ros.evaluation.detection_figures import Curves
from lift3d_ros.evaluation.matching import LabelledFrame
from lift3d_ros.evaluation.scene_results import SceneResults
from lift3d_ros.types import Boxes3D

NEAR_M = 20.0
_SEEN_SHARE = 0.4  # what the pictures hardly show is no surprise when it is missed
_MOST_NAMED = 6


@dataclass(frozen=True, eq=False)
class WorstFrame:
    """A frame, and what is wrong with it.

    Args:
        frame: labels, and the predictions that reach the working score of their class.
        marked: the missed labels, or the false boxes.
        reason: what is marked, in words.
        badness: larger is worse; frames are compared by it.
    """

    scene: str
    frame: LabelledFrame
    marked: Boxes3D
    reason: str
    badness: tuple[float, ...]


def working_scores(curves: Curves) -> dict[str, float]:
    """Return for each class the score at which precision and recall are balanced best at the matching distance."""
    return {name: lines[MATCH_DISTANCE_M].best_score() for name, lines in curves.items()}


def near_misses(
    scenes: Sequence[SceneResults], scores: Mapping[str, float], ranges: Mapping[str, float], count: int
) -> list[WorstFrame]:
    """Return the frames with the most labels missed within `NEAR_M`; hardly visible ones do not count."""

    def look(scene: str, frame: LabelledFrame) -> WorstFrame | None:
        frame = above_scores(frame, scores)
        labels = frame.ground_truth
        is_missed = (assign(frame).prediction_of < 0) & (ground_distances(labels) < NEAR_M)
        if frame.visibility is not None:
            is_missed &= ~(frame.visibility < _SEEN_SHARE)  # NaN, unknown, counts
        missed = labels.select(is_missed)
        if not len(missed):
            return None
        distances = ground_distances(missed)
        named = [f"{name} at {d:.0f} m" for name, d in zip(class_names_of(missed), distances, strict=True)]
        reason = f"missed within {NEAR_M:g} m: {len(missed)} of {int((ground_distances(labels) < NEAR_M).sum())}: "
        return WorstFrame(scene, frame, missed, reason + _listed(named), (len(missed), -float(distances.min())))

    return _worst(scenes, ranges, look, count)


def confident_ghosts(
    scenes: Sequence[SceneResults], scores: Mapping[str, float], ranges: Mapping[str, float], count: int
) -> list[WorstFrame]:
    """Return the frames with the false positives of the highest scores."""

    def look(scene: str, frame: LabelledFrame) -> WorstFrame | None:
        frame = above_scores(frame, scores)
        false = frame.predictions.select(assign(frame).label_of < 0)
        if not len(false):
            return None
        order = np.argsort(-false.scores, kind="stable")
        false = false.select(order)
        distances = ground_distances(false)
        named = [
            f"{name} {score:.2f} at {d:.0f} m"
            for name, score, d in zip(class_names_of(false), false.scores, distances, strict=True)
        ]
        return WorstFrame(scene, frame, false, f"boxes of nothing: {_listed(named)}", (float(false.scores[0]),))

    return _worst(scenes, ranges, look, count)


def _worst(
    scenes: Sequence[SceneResults],
    ranges: Mapping[str, float],
    look: Callable[[str, LabelledFrame], WorstFrame | None],
    count: int,
) -> list[WorstFrame]:
    """Return the worst frames over all scenes, not all of them from one scene: neighbouring frames look alike."""
    most_of_scene = max(1, -(-count // max(len(scenes), 1)))
    chosen: list[WorstFrame] = []
    for scene in scenes:
        found = [look(scene.name, within_class_ranges(frame, ranges)) for frame in scene.matches.frames]
        chosen += sorted(filter(None, found), key=lambda item: item.badness, reverse=True)[:most_of_scene]
    return sorted(chosen, key=lambda item: item.badness, reverse=True)[:count]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
