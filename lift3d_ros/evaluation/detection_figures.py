"""What an evaluation of a detector yields: figures, what they rest on, and tables for reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lift3d_ros.types import Float64Array

# Without AAE, the attribute error: attributes are not predicted.
TP_ERRORS = ("ATE", "ASE", "AOE", "AVE")

Table = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class PrecisionCurve:
    """Precision and score over recall, (101,) each from 0 to 1, of one class at one distance threshold.

    Both are zero beyond the recall that is reached.
    """

    recall: Float64Array
    precision: Float64Array
    score: Float64Array

    def best_score(self) -> float:
        """Return the score at which the harmonic mean of precision and recall is highest; 1 where nothing is found."""
        balance = 2 * self.precision * self.recall / np.maximum(self.precision + self.recall, 1e-9)
        index = int(np.argmax(balance))
        return float(self.score[index]) if balance[index] > 0 else 1.0


Curves = Mapping[str, Mapping[float, PrecisionCurve]]


@dataclass(frozen=True)
class ClassMetrics:
    """Figures of one class; None where they are not defined.

    Args:
        average_precision: mean over the distance thresholds, None for a class without labels.
        ap_at: distance threshold in metres -> average precision; empty for a class without labels.
        tp_errors: ATE in m, ASE as 1 - IoU of aligned boxes, AOE in rad, AVE in m/s; of the matches within 2 m.
        num_ground_truth, num_predictions: boxes within the range of the class.
    """

    average_precision: float | None
    ap_at: Mapping[float, float]
    tp_errors: Mapping[str, float | None]
    num_ground_truth: int
    num_predictions: int


@dataclass(frozen=True)
class DetectionMetrics:
    """Figures of a detector on labelled frames.

    `mean_ap`, `nds` and `tp_errors` are means over the classes that have labels. The devkit itself takes the mean
    over all ten classes and gives a class without labels AP 0 and errors 1, which suits its own data set, where
    no class is absent; these figures are `devkit_mean_ap` and `devkit_nds`. With labels of every class, and velocities
    of every class that moves, both are the same.

    Args:
        nds: nuScenes detection score with an attribute error of 1; an error that is None counts as 1, too.
        tp_errors: see :class:`ClassMetrics`; None where no class with labels defines the error.
        num_frames: frames with both predictions and labels.
        num_ground_truth, num_predictions: boxes that took part, within the range of their class.
        notes: one sentence for each thing that a reader has to know to compare these figures.
    """

    mean_ap: float
    nds: float
    tp_errors: Mapping[str, float | None]
    classes: Mapping[str, ClassMetrics]
    devkit_mean_ap: float
    devkit_nds: float
    num_frames: int
    num_ground_truth: int
    num_predictions: int
    notes: tuple[str, ...]

    @property
    def nds_without_aae(self) -> float:
        """The score over mAP and the four errors besides AAE, with the weights of the benchmark: 5 to 4."""
        errors = [1.0 if value is None else min(value, 1.0) for value in self.tp_errors.values()]
        return (5.0 * self.mean_ap + sum(1.0 - error for error in errors)) / (5.0 + len(errors))

    def to_json(self) -> dict[str, Any]:
        """Return plain data for ``metrics.json``."""
        document = asdict(self)
        document["notes"] = list(self.notes)
        for entry in document["classes"].values():
            entry["ap_at"] = {f"{threshold:g}": value for threshold, value in entry["ap_at"].items()}
        return document

    def summary_table(self) -> Table:
        """Return (name, value) rows for a report."""
        return (
            ("mAP", _number(self.mean_ap)),
            ("NDS (AAE = 1)", _number(self.nds)),
            *((f"m{name}", _number(value)) for name, value in self.tp_errors.items()),
            ("mAP, devkit over all classes", _number(self.devkit_mean_ap)),
            ("NDS, devkit over all classes", _number(self.devkit_nds)),
            ("frames", str(self.num_frames)),
            ("labelled boxes", str(self.num_ground_truth)),
            ("predicted boxes", str(self.num_predictions)),
        )

    def class_table(self) -> Table:
        """Return a header and one row for each class, for a report; a dash stands for what is not defined."""
        thresholds = sorted({threshold for entry in self.classes.values() for threshold in entry.ap_at})
        header = ("class", "labels", "predictions", "AP", *(f"AP {t:g} m" for t in thresholds), *TP_ERRORS)
        rows = [
            (
                name,
                str(entry.num_ground_truth),
                str(entry.num_predictions),
                _number(entry.average_precision),
                *(_number(entry.ap_at.get(threshold)) for threshold in thresholds),
                *(_number(entry.tp_errors[metric]) for metric in TP_ERRORS),
            )
            for name, entry in self.classes.items()
        ]
        return (header, *rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
