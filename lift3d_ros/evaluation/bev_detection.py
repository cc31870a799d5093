"""Evaluates the BEV detector on labelled scenes: replay, metrics, and the figures of `metrics.json`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lift3d_ros.datasets.class_map import ClassMap
from lift3d_ros.errors import Lift3dError
from lift3d_ros.evaluation.detection import class_ranges, score_detections
from lift3d_ros.evaluation.detection_figures import Curves, DetectionMetrics
from lift3d_ros.evaluation.matching import FrameMatches
from lift3d_ros.evaluation.robustness import RobustnessRow
from lift3d_ros.evaluation.scene_results import SceneResults, read_all_results, result_folder
from lift3d_ros.evaluation.scene_runs import DetectorPool, RunChoice, run_scenes
from lift3d_ros.evaluation.scenes import SceneEntry
from lift3d_ros.evaluation.slices import (
    DEFAULT_RANGES,
    VISIBILITY_LEVELS,
    DistanceRange,
    num_labels,
    seen_between,
    within_range,
)
from lift3d_ros.evaluation.tracking import TrackingMetrics, tracking_metrics
from lift3d_ros.geometry.rig import Rig
from lift3d_ros.pipelines.bev_detection import BevDetectionConfig
from lift3d_ros.types import ModelIdentity

SCENES_FOLDER = "scenes"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What an evaluation found.

    Args:
        scenes: results and labels of each scene.
        folders: where the results of each scene lie, by its name.
        ranges, visibility: name of a part -> its metrics; parts without labels are left out.
        tracking: None where boxes or labels have no ids.
        ignored_labels: class of the data -> labels that do not count.
    """

    metrics: DetectionMetrics
    curves: Curves
    scenes: tuple[SceneResults, ...]
    folders: Mapping[str, Path]
    ranges: Mapping[str, DetectionMetrics]
    visibility: Mapping[str, DetectionMetrics]
    tracking: TrackingMetrics | None
    ignored_labels: Mapping[str, int]
    robustness: tuple[RobustnessRow, ...] = ()

    @property
    def model(self) -> ModelIdentity:
        """Return which model made the results."""
        return self.scenes[0].results[0].model

    def to_json(self) -> dict[str, Any]:
        """Return the figures for ``metrics.json``."""
        figures = summary_figures(self.metrics)
        figures["per_range"] = {name: summary_figures(part) for name, part in self.ranges.items()}
        figures["per_visibility"] = {name: summary_figures(part) for name, part in self.visibility.items()}
        figures["scenes"] = {
            scene.name: {
                "num_frames": len(scene.matches.frames),
                "num_labels": sum(len(frame.ground_truth) for frame in scene.matches.frames),
            }
            for scene in self.scenes
        }
        tables: dict[str, list[dict[str, Any]]] = {}
        for row in self.robustness:
            tables.setdefault(row.table, []).append(row.to_json())
        figures["robustness"] = tables
        if self.tracking is not None:
            figures["tracking"] = self.tracking.to_json()
        figures["notes"] = list(self.notes)
        return figures

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know to compare these figures, one sentence each."""
        if not self.ignored_labels:
            return self.metrics.notes
        listed = ", ".join(f"{name} ({count})" for name, count in sorted(self.ignored_labels.items()))
        return (*self.metrics.notes, f"Labels of these classes are ignored: {listed}.")


def summary_figures(metrics: DetectionMetrics) -> dict[str, Any]:
    """Return the figures of one set of labels under the names of the benchmark."""
    per_class = {
        name: {
            "AP": entry.average_precision,
            "AP_at": {f"{threshold:g}": value for threshold, value in entry.ap_at.items()},
            **entry.tp_errors,
            "num_labels": entry.num_ground_truth,
            "num_predictions": entry.num_predictions,
        }
        for name, entry in metrics.classes.items()
    }
    return {
        "mAP": metrics.mean_ap,
        "NDS": metrics.nds,
        "NDS_without_AAE": metrics.nds_without_aae,
        **{f"m{name}": value for name, value in metrics.tp_errors.items()},
        "devkit_mean_ap": metrics.devkit_mean_ap,
        "devkit_nds": metrics.devkit_nds,
        "num_frames": metrics.num_frames,
        "num_labels": metrics.num_ground_truth,
        "num_predictions": metrics.num_predictions,
        "per_class": per_class,
    }


def replay_scenes(
    scenes: Sequence[SceneEntry], config: BevDetectionConfig, rig: Rig | None, out: Path, choice: RunChoice
) -> dict[str, Path]:
    """Replay every scene into ``out/scenes`` and return the result folder of each.

    Raises:
        Lift3dError: as :func:`~lift3d_ros.evaluation.scene_runs.run_scenes`.
    """
    run_scenes(scenes, DetectorPool(config, rig), out / SCENES_FOLDER, choice, "evaluating")
    return {entry.name: out / SCENES_FOLDER / entry.name for entry in scenes}


def given_results(scenes: Sequence[SceneEntry], root: Path) -> dict[str, Path]:
    """Return the folder of each scene under a folder of results; raises Lift3dError where one has none."""
    return {entry.name: result_folder(root, entry.name, is_only_scene=len(scenes) == 1) for entry in scenes}


def evaluate_results(
    scenes: Sequence[SceneEntry],
    folders: Mapping[str, Path],
    class_map: ClassMap,
    ranges: Sequence[DistanceRange] = DEFAULT_RANGES,
) -> Evaluation:
    """Score results against the labels of their scenes.

    Args:
        scenes: with labels, see :func:`~lift3d_ros.evaluation.scenes.labelled_scenes`.
        folders: where the results of each scene lie, by its name.
        class_map: from the classes of the labels to those of the benchmark.

    Raises:
        Lift3dError: results cannot be read, nothing is labelled within range, or nuscenes-devkit is missing.
    """
    found = read_all_results(scenes, folders, class_map)
    matches = [scene.matches for scene in found]
    metrics, curves = score_detections(matches)
    by_range = {part.name: within_range(matches, part) for part in ranges}
    by_level = {f"{100 * low:g}-{100 * high:g} %": seen_between(matches, low, high) for low, high in VISIBILITY_LEVELS}
    return Evaluation(
        metrics,
        curves,
        tuple(found),
        folders,
        _scores_of_parts(by_range),
        _scores_of_parts(by_level),
        _tracking(found),
        dict(class_map.ignored),
    )


def _tracking(scenes: Sequence[SceneResults]) -> TrackingMetrics | None:
    """Score the ids of the boxes; None where boxes or labels have none, or motmetrics is missing."""
    results, labels = [], []
    for scene in scenes:
        by_stamp = {result.stamp_ns: result for result in scene.results}
        frames = sorted(scene.matches.frames, key=lambda frame: frame.result_ns)
        results.append([by_stamp[frame.result_ns] for frame in frames])
        labels.append([frame.ground_truth for frame in frames])
    tracked = [result.boxes for scene in results for result in scene]
    labelled = [boxes for scene in labels for boxes in scene]
    if not all(any((boxes.track_ids >= 0).any() for boxes in items) for items in (tracked, labelled)):  # type: ignore[operator, union-attr]
        return None
    try:
        return tracking_metrics(results, labels, class_ranges())
    except Lift3dError as error:
        logger.warning("no tracking metrics: %s", error)
        return None


def _scores_of_parts(parts: Mapping[str, list[FrameMatches]]) -> dict[str, DetectionMetrics]:
    scores = {}
    for name, part in parts.items():
        if num_labels(part):
            try:
                scores[name] = score_detections(part)[0]
            except Lift3dError as error:
                logger.info("no figures for %s: %s", name, error)
    return scores
