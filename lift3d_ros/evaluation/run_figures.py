"""Scores a run against the labels of its recording, and lays the figures out for `metrics.json` and the report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lift3d_ros.errors import Lift3dError
from lift3d_ros.evaluation.detection import class_ranges, score_detections
from lift3d_ros.evaluation.detection_figures import Curves, DetectionMetrics
from lift3d_ros.evaluation.labels import RunLabels
from lift3d_ros.evaluation.matching import match_frames
from lift3d_ros.evaluation.tracking import TrackingMetrics, tracking_metrics
from lift3d_ros.types import BevDetections
from lift3d_ros.viz.report_content import Headline, PrecisionRecall, ReportTable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class RunFigures:
    """What the labels say about a run; `tracking` is None where the labels have no instance numbers."""

    detection: DetectionMetrics
    curves: Curves
    tracking: TrackingMetrics | None

    def to_json(self) -> dict[str, Any]:
        """Return plain data for ``metrics.json``."""
        tracking = {} if self.tracking is None else {"tracking": self.tracking.to_json()}
        return {**self.detection.to_json(), **tracking}

    def headlines(self) -> tuple[Headline, ...]:
        """Return the figures that are shown large; what is not defined is left out."""
        figures = self.detection
        car = figures.classes.get("car")
        entries = [
            Headline("mAP", f"{figures.mean_ap:.3f}", "mean average precision of the labelled classes"),
            Headline("NDS", f"{figures.nds:.3f}", "nuScenes detection score, attribute error 1"),
        ]
        if car is not None and car.average_precision is not None:
            entries.append(Headline("AP car", f"{car.average_precision:.3f}", f"{car.num_ground_truth} labelled boxes"))
        for name, text in (("ATE", "mean error of position, m"), ("AVE", "mean error of velocity, m/s")):
            value = figures.tp_errors[name]
            if value is not None:
                entries.append(Headline(f"m{name}", f"{value:.2f}", text))
        if self.tracking is not None and self.tracking.overall.idf1 is not None:
            overall = self.tracking.overall
            switches = "1 switch" if overall.num_switches == 1 else f"{overall.num_switches} switches"
            entries.append(Headline("IDF1", f"{overall.idf1:.3f}", f"boxes under the right id; {switches} of the id"))
        return tuple(entries)

    def tables(self) -> tuple[ReportTable, ...]:
        """Return the tables of the report."""
        header, *rows = self.detection.class_table()
        tables = [
            ReportTable(
                "Metrics (nuScenes)",
                ("figure", "value"),
                self.detection.summary_table(),
                " ".join(self.detection.notes),
            ),
            ReportTable("Metrics by class", header, tuple(rows)),
        ]
        if self.tracking is not None:
            header, *rows = self.tracking.table()
            note = "IDF1: share of boxes that carry the right id. Switches: an object goes on under another id."
            tables.append(ReportTable("Tracking", header, tuple(rows), note))
        return tuple(tables)

    def precision_recall(self) -> tuple[PrecisionRecall, ...]:
        """Return the curves of all classes and matching distances."""
        return tuple(
            PrecisionRecall(name, distance_m, curve.recall, curve.precision)
            for name, curves in self.curves.items()
            for distance_m, curve in curves.items()
        )


def score_run(results: Sequence[BevDetections], labels: RunLabels) -> RunFigures | None:
    """Score the run where labels exist; what prevents it is logged, since the results are good without."""
    if not labels.boxes:
        return None
    try:
        detection, curves = score_detections([match_frames(results, labels.boxes, labels.tolerance_s, labels.moved)])
    except Lift3dError as error:
        logger.warning("no metrics: %s", error)
        return None
    return RunFigures(detection, curves, _tracking(results, labels))


def _tracking(results: Sequence[BevDetections], labels: RunLabels) -> TrackingMetrics | None:
    labelled = [(result, boxes) for result in results if (boxes := labels.at(result.stamp_ns)) is not None]
    if not any((boxes.track_ids >= 0).any() for _, boxes in labelled if boxes.track_ids is not None):
        return None
    try:
        return tracking_metrics(
            [[result for result, _ in labelled]], [[boxes for _, boxes in labelled]], class_ranges()
        )
    except Lift3dError as error:
        logger.warning("no tracking metrics: %s", error)
        return None
