"""Compares variants of a detector that were trained with several seeds and scored on the same scenes.

Two things are uncertain. Another seed would give other weights: intervals over seeds are Student's t of the
differences, paired by seed, and they decide. Other scenes would give other figures: intervals over scenes are
percentiles of a bootstrap, paired by scene, and are given beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lift3d_ros.datasets.pack import PackReader
from lift3d_ros.errors import DatasetError
from lift3d_ros.evaluation.bootstrap import bootstrap_mean_ap
from lift3d_ros.evaluation.detection import class_ranges, detection_metrics
from lift3d_ros.evaluation.detection_files import SceneBoxes
from lift3d_ros.evaluation.intervals import CONFIDENCE, Interval, t_interval
from lift3d_ros.evaluation.matching import FrameMatches, LabelledFrame
from lift3d_ros.training.variants import Pair
from lift3d_ros.types import Boxes3D, Float64Array

FIGURES = ("mAP", "NDS", "mAVE", "car_AP", "car_AVE")
_TITLES = {"mAVE": "mAVE m/s", "car_AP": "car AP", "car_AVE": "car AVE m/s"}
_COMPARED = ("mAP", "NDS", "mAVE", "car_AVE")


@dataclass(frozen=True, eq=False)
class RunScore:
    """Figures of one trained network.

    Args:
        figures: `FIGURES`; NaN where not defined.
        drawn_mean_ap: (D,) mAP over drawn sets of scenes, the same sets for every run.
    """

    figures: Mapping[str, float]
    drawn_mean_ap: Float64Array


Scores = Mapping[str, Mapping[int, RunScore]]
"""Variant -> seed -> figures."""


def pack_labels(folder: Path, frame_id: str) -> dict[str, dict[int, Boxes3D]]:
    """Return the labels of a pack, scene -> stamp_ns -> boxes; those that no LiDAR point hits are left out.

    Raises:
        DatasetError: no pack, or a damaged one.
    """
    reader = PackReader(folder)
    result: dict[str, dict[int, Boxes3D]] = {}
    for scene in reader.scenes:
        found = result.setdefault(scene, {})
        for sample in reader.load(scene):
            boxes = Boxes3D(
                frame_id=frame_id,
                class_names=reader.facts.class_names,
                centers=sample.centers.astype(np.float64),
                sizes=sample.sizes.astype(np.float64),
                yaws=sample.yaws.astype(np.float64),
                velocities=sample.velocities.astype(np.float64),
                scores=np.ones(len(sample.labels)),
                labels=sample.labels,
            )
            found[sample.stamp_ns] = boxes.select(sample.num_points != 0)  # -1: not known
    return result


def score_run(found: SceneBoxes, labels: SceneBoxes, where: str) -> RunScore:
    """Score the detections of one run with nuscenes-devkit.

    Raises:
        DatasetError: detections and labels are not of the same frames; `where` names the detections.
        Lift3dError: nuscenes-devkit is missing, or no label lies within range.
    """
    recordings = []
    for scene, frames in labels.items():
        if scene not in found or found[scene].keys() != frames.keys():
            raise DatasetError(
                f"{where}: holds {len(found.get(scene, ()))} frames of scene '{scene}', the labels have other "
                f"{len(frames)}; expected detections on this data. Give the data that the variants were validated on"
            )
        recordings.append(
            FrameMatches(tuple(LabelledFrame(stamp, found[scene][stamp], boxes) for stamp, boxes in frames.items()))
        )
    metrics = detection_metrics(recordings)
    car = metrics.classes["car"]
    found_figures = (
        metrics.mean_ap,
        metrics.nds,
        metrics.tp_errors["AVE"],
        car.average_precision,
        car.tp_errors["AVE"],
    )
    figures = {name: np.nan if value is None else value for name, value in zip(FIGURES, found_figures, strict=True)}
    return RunScore(figures, bootstrap_mean_ap(recordings, class_ranges()))


def drawn_interval(values: Float64Array) -> Interval:
    """Return the mean of bootstrap draws, and their percentiles."""
    low, high = np.quantile(values, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
    return Interval(float(values.mean()), float(low), float(high))


def summarise(scores: Scores) -> dict[str, Any]:
    """Return plain data: for each variant the mean over its seeds, and each seed with the interval over scenes."""
    result = {}
    for variant, runs in scores.items():
        seeds = {}
        for seed, run in sorted(runs.items()):
            interval = drawn_interval(run.drawn_mean_ap)
            figures = {name: _known(value) for name, value in run.figures.items()}
            seeds[str(seed)] = {**figures, "mAP_over_scenes": [interval.low, interval.high]}
        mean = {name: _known(np.mean([run.figures[name] for run in runs.values()])) for name in FIGURES}
        result[variant] = {"mean": mean, "seeds": seeds}
    return result


def compare(scores: Scores, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return plain data, title of the pair -> differences; pairs without a common seed are left out."""
    result = {}
    for pair in pairs:
        one, other = scores.get(pair.variant, {}), scores.get(pair.other, {})
        seeds = sorted(one.keys() & other.keys())
        if not seeds:
            continue
        entry: dict[str, Any] = {"variant": pair.variant, "other": pair.other, "seeds": seeds}
        for name in FIGURES:
            differences = [one[seed].figures[name] - other[seed].figures[name] for seed in seeds]
            interval = t_interval(differences)
            entry[name] = {
                "each": [_known(difference) for difference in differences],
                "mean": _known(interval.mean),
                "low": _known(interval.low),
                "high": _known(interval.high),
                "text": interval.text,
                "verdict": interval.verdict,
            }
        drawn = np.mean([one[seed].drawn_mean_ap - other[seed].drawn_mean_ap for seed in seeds], axis=0)
        over_scenes = drawn_interval(drawn)
        entry["mAP_over_scenes"] = {
            "low": over_scenes.low,
            "high": over_scenes.high,
            "text": f"[{over_scenes.low:+.3f}, {over_scenes.high:+.3f}]",
            "verdict": over_scenes.verdict,
        }
        result[pair.title] = entry
    return result


def comparison_tables(document: Mapping[str, Any]) -> str:
    """Return the Markdown tables of a document with ``runs`` and ``differences``."""
    rows = [("variant", "what it is", *(_TITLES.get(name, name) for name in FIGURES), "mAP of each seed")]
    for name, entry in document["runs"].items():
        mean = [_number(entry["mean"][figure]) for figure in FIGURES]
        seeds = ", ".join(_number(run["mAP"]) for run in entry["seeds"].values())
        rows.append((f"`{name}`", entry["description"], *mean, seeds))
    over_seeds, over_scenes = f"{CONFIDENCE:.0%} over seeds", f"{CONFIDENCE:.0%} over scenes"
    differences = [
        (
            "difference",
            "seeds",
            *(f"{_TITLES.get(name, name)}, {over_seeds}" for name in _COMPARED),
            f"mAP, {over_scenes}",
        )
    ]
    for title, entry in document["differences"].items():
        cells = [f"{entry[name]['text']} {entry[name]['verdict']}" for name in _COMPARED]
        differences.append((title, str(len(entry["seeds"])), *cells, entry["mAP_over_scenes"]["text"]))
    return "\n\n".join(map(_table, (rows, differences))) + "\n"


def _known(value: Any) -> float | None:
    """Return a number for JSON, None where it is not finite."""
    return float(value) if np.isfinite(value) else None


def _table(rows: Sequence[Sequence[str]]) -> str:
    heading, *others = rows
    lines = [heading, ["---"] * len(heading), *others]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
