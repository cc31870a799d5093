"""The figures of multi-object tracking, computed by motmetrics: CLEAR MOT and identity metrics, by class and over all.

A tracked box and a labelled object may belong together up to 2 m apart, seen from above, as in the tracking benchmark
of nuScenes. Classes are compared each by itself; the figures over all are those of all classes counted together.

Source: Bernardin and Stiefelhagen, "Evaluating Multiple Object Tracking Performance: The CLEAR MOT Metrics" (2008);
Ristani et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking" (2016), IDF1; Weng et al.,
AB3DMOT (2020), AMOTA.
"""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lift3d_ros.errors import Lift3dError
from lift3d_ros.types import BevDetections, Boxes3D, Float64Array

MATCH_DISTANCE_M = 2.0
_FIGURES = (
    "mota",
    "motp",
    "idf1",
    "num_switches",
    "num_fragmentations",
    "num_false_positives",
    "num_detections",
    "num_misses",
    "num_objects",
    "num_unique_objects",
    "mostly_tracked",
    "mostly_lost",
)
_RECALLS = np.arange(1, 11) / 10


@dataclass(frozen=True)
class TrackFigures:
    """Figures of one class, or of all together; None where they are not defined.

    Args:
        mota: 1 - (misses + false positives + switches) / labelled boxes; may be negative.
        motp_m: mean distance between tracked and labelled positions, metres.
        idf1: share of boxes with the right identity, 0..1.
        amota: mean over the recalls 0.1 to 1.0 of 1 - (false positives + switches) / found boxes, 0..1; a recall that
            is not reached counts 0. Over all classes: the mean over those with labels. Like the figure of the nuScenes
            benchmark, which takes 40 recalls.
        num_objects: labelled boxes.
        num_tracks_labelled: labelled objects; `mostly_tracked` of them are found in 80 % of their boxes or more,
            `mostly_lost` in less than 20 %.
    """

    mota: float | None
    motp_m: float | None
    idf1: float | None
    amota: float | None
    num_switches: int
    num_fragmentations: int
    num_false_positives: int
    num_matches: int
    num_misses: int
    num_objects: int
    num_tracks_labelled: int
    mostly_tracked: int
    mostly_lost: int


@dataclass(frozen=True)
class TrackingMetrics:
    """Figures of tracked boxes on labelled scenes; `classes` holds the classes that have labels or tracks."""

    overall: TrackFigures
    classes: Mapping[str, TrackFigures]
    num_frames: int
    num_scenes: int

    def to_json(self) -> dict[str, Any]:
        """Return plain data for ``metrics.json``."""
        return asdict(self)

    def table(self) -> tuple[tuple[str, ...], ...]:
        """Return a header, one row for each class and one over all, for a report; a dash: not defined."""
        header = ("class", "objects", "MOTA", "MOTP m", "IDF1", "AMOTA", "switches", "fragments", "false", "missed")
        rows = [(name, *_cells(figures)) for name, figures in (*self.classes.items(), ("all", self.overall))]
        return (header, *rows)


@dataclass(frozen=True, eq=False)
class _Frame:
    """One class in one frame: ids and positions (K, 2) of labels and of tracks."""

    label_ids: list[int]
    labels: Float64Array
    track_ids: list[int]
    tracks: Float64Array


def tracking_metrics(
    results: Sequence[Sequence[BevDetections]],
    labels: Sequence[Sequence[Boxes3D]],
    class_range_m: Mapping[str, float] | None = None,
) -> TrackingMetrics:
    """Score tracked boxes against labelled instances.

    Args:
        results: the results of each scene in order of time; boxes without track id take no part.
        labels: for each result the labelled boxes at its stamp, in its frame, with instance numbers as track ids;
            boxes without take no part.
        class_range_m: boxes of a class farther from the vehicle take no part; a class that is not named has no limit.

    Raises:
        Lift3dError: motmetrics is missing, results and labels differ in number or frame, an id occurs twice in one
            frame, or no label has an instance number.
    """
    motmetrics = _import_motmetrics()
    _check_pairs(results, labels)
    frames = _by_class(results, labels, class_range_m or {})
    scores = [_track_scores(scene) for scene in results]
    if not any(frame.label_ids for scenes in frames.values() for scene in scenes for frame in scene):
        raise Lift3dError(
            "no labelled box within range has an instance number (track id); expected ids that stay with the object. "
            "Tracking cannot be scored on these labels"
        )
    accumulators = {name: [_accumulated(motmetrics, scene) for scene in scenes] for name, scenes in frames.items()}
    amota = {name: _amota(motmetrics, scenes, scores) for name, scenes in frames.items()}
    known = [value for value in amota.values() if value is not None]
    everything = [accumulator for of_class in accumulators.values() for accumulator in of_class]
    return TrackingMetrics(
        overall=_figures(motmetrics, everything, float(np.mean(known))),
        classes={name: _figures(motmetrics, accumulators[name], amota[name]) for name in frames},
        num_frames=sum(map(len, results)),
        num_scenes=len(results),
    )


def _import_motmetrics() -> Any:
    try:
        import motmetrics
    except ImportError as error:
        raise Lift3dError(
            f"the tracking metrics need motmetrics, which cannot be imported ({error}); install it with "
            "'pip install motmetrics'"
        ) from None
    return motmetrics


def _check_pairs(results: Sequence[Sequence[BevDetections]], labels: Sequence[Sequence[Boxes3D]]) -> None:
    counts = [len(scene) for scene in results], [len(scene) for scene in labels]
    if counts[0] != counts[1]:
        raise Lift3dError(
            f"tracking metrics: results have {counts[0]} frames in their scenes, labels {counts[1]}; expected labels "
            "for each result, and an empty entry where nothing is labelled"
        )
    for number, (scene, labelled) in enumerate(zip(results, labels, strict=True)):
        for result, boxes in zip(scene, labelled, strict=True):
            where = f"scene {number}, frame at {result.stamp_ns} ns"
            if result.boxes.frame_id != boxes.frame_id:
                raise Lift3dError(
                    f"{where}: results are given in '{result.boxes.frame_id}', labels in '{boxes.frame_id}'; expected "
                    "both in the base frame at that stamp"
                )
            for kind, item in (("result", result.boxes), ("label", boxes)):
                ids, counts_of = np.unique(_ids(item)[_ids(item) >= 0], return_counts=True)
                if (counts_of > 1).any():
                    raise Lift3dError(
                        f"{where}: the {kind}s have the track id {ids[counts_of > 1][0]} more than once; expected each "
                        "object once in a frame"
                    )


def _ids(boxes: Boxes3D) -> Any:
    assert boxes.track_ids is not None
    return boxes.track_ids


def _by_class(
    results: Sequence[Sequence[BevDetections]], labels: Sequence[Sequence[Boxes3D]], ranges: Mapping[str, float]
) -> dict[str, list[list[_Frame]]]:
    """Return the frames of each class, scene by scene, for the classes that have labels or tracks."""
    all_boxes = [boxes for scene in labels for boxes in scene] + [item.boxes for scene in results for item in scene]
    names = dict.fromkeys(boxes.class_names[label] for boxes in all_boxes for label in boxes.labels.tolist())
    by_class = {
        name: [
            [
                _Frame(*_of_class(boxes, name, ranges), *_of_class(result.boxes, name, ranges))
                for result, boxes in zip(scene, labelled, strict=True)
            ]
            for scene, labelled in zip(results, labels, strict=True)
        ]
        for name in names
    }
    return {
        name: scenes
        for name, scenes in by_class.items()
        if any(frame.label_ids or frame.track_ids for frames in scenes for frame in frames)
    }


def _of_class(boxes: Boxes3D, name: str, ranges: Mapping[str, float]) -> tuple[list[int], Float64Array]:
    if name not in boxes.class_names:
        return [], np.zeros((0, 2))
    is_part = (boxes.labels == boxes.class_names.index(name)) & (_ids(boxes) >= 0)
    is_part &= np.linalg.norm(boxes.centers[:, :2], axis=1) <= ranges.get(name, math.inf)
    return _ids(boxes)[is_part].tolist(), boxes.centers[is_part, :2]


def _track_scores(scene: Sequence[BevDetections]) -> dict[int, float]:
    """Return the mean score of each track: the one that a threshold keeps or drops as a whole."""
    scores: defaultdict[int, list[float]] = defaultdict(list)
    for result in scene:
        for track_id, score in zip(_ids(result.boxes).tolist(), result.boxes.scores.tolist(), strict=True):
            scores[track_id].append(score)
    return {track_id: float(np.mean(values)) for track_id, values in scores.items()}


def _accumulated(motmetrics: Any, frames: Sequence[_Frame], kept: frozenset[int] | None = None) -> Any:
    """Return motmetrics' accumulator of one scene, with the tracks in `kept` only."""
    accumulator = motmetrics.MOTAccumulator()
    for number, frame in enumerate(frames):
        track_ids, tracks = frame.track_ids, frame.tracks
        if kept is not None:
            columns = [index for index, track_id in enumerate(track_ids) if track_id in kept]
            track_ids, tracks = [track_ids[index] for index in columns], tracks[columns]
        if not frame.label_ids and not track_ids:
            continue
        distances = np.linalg.norm(frame.labels[:, None] - tracks[None], axis=-1)
        distances[distances > MATCH_DISTANCE_M] = np.nan
        accumulator.update(frame.label_ids, track_ids, distances, frameid=number)
    return accumulator


@contextlib.contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """Keep to itself how long motmetrics took, which it tells of every computation."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        logger.setLevel(level)


def _summary(motmetrics: Any, accumulators: Sequence[Any], names: Sequence[str]) -> dict[str, float]:
    used = [accumulator for accumulator in accumulators if len(accumulator.events)]
    host = motmetrics.metrics.create()
    with warnings.catch_warnings(), _quiet_root_logger():
        warnings.simplefilter("ignore")  # divisions by 0 where a class has no label: the figure is then NaN
        table = host.compute_many(
            used, names=list(map(str, range(len(used)))), metrics=list(names), generate_overall=True
        )
    summary = {name: float(table.loc["OVERALL", name]) for name in names}
    if "motp" in summary:  # motmetrics lets one scene without a match spoil the figure over all
        scenes = table.drop(index="OVERALL")
        is_matched = scenes["num_detections"].to_numpy() > 0
        weights, distances = scenes["num_detections"].to_numpy()[is_matched], scenes["motp"].to_numpy()[is_matched]
        summary["motp"] = float(weights @ distances / weights.sum()) if is_matched.any() else math.nan
    return summary


def _figures(motmetrics: Any, accumulators: Sequence[Any], amota: float | None) -> TrackFigures:
    values = _summary(motmetrics, accumulators, _FIGURES)
    return TrackFigures(
        mota=_defined(values["mota"]),
        motp_m=_defined(values["motp"]),
        idf1=_defined(values["idf1"]),
        amota=amota,
        num_switches=int(values["num_switches"]),
        num_fragmentations=int(values["num_fragmentations"]),
        num_false_positives=int(values["num_false_positives"]),
        num_matches=int(values["num_detections"]),
        num_misses=int(values["num_misses"]),
        num_objects=int(values["num_objects"]),
        num_tracks_labelled=int(values["num_unique_objects"]),
        mostly_tracked=int(values["mostly_tracked"]),
        mostly_lost=int(values["mostly_lost"]),
    )


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _amota(motmetrics: Any, scenes: Sequence[Sequence[_Frame]], scores: Sequence[Mapping[int, float]]) -> float | None:
    """Return the mean over recalls of 1 - (switches + false positives) / found objects, at least 0 each.

    Misses do not count, since the recall says how many there are. The score of a track is the mean of its boxes;
    thresholds are those at which the recall is just reached.
    """
    num_objects = sum(len(frame.label_ids) for frames in scenes for frame in frames)
    if not num_objects:
        return None
    ids_of = [{track_id for frame in frames for track_id in frame.track_ids} for frames in scenes]
    thresholds = sorted({score[k] for score, ids in zip(scores, ids_of, strict=True) for k in ids}, reverse=True)
    found: dict[float, tuple[float, float]] = {}

    def counted(threshold: float) -> tuple[float, float]:
        """Return recall, and switches and false positives together."""
        if threshold not in found:
            kept = [
                frozenset(k for k in ids if score[k] >= threshold) for score, ids in zip(scores, ids_of, strict=True)
            ]
            accumulators = [_accumulated(motmetrics, *pair) for pair in zip(scenes, kept, strict=True)]
            values = _summary(motmetrics, accumulators, ["num_misses", "num_false_positives", "num_switches"])
            wrong = values["num_false_positives"] + values["num_switches"]
            found[threshold] = (1.0 - values["num_misses"] / num_objects, wrong)
        return found[threshold]

    total = 0.0
    for recall in _RECALLS.tolist():
        first, last = 0, len(thresholds)
        while first < last:  # recall grows with the number of tracks kept
            middle = (first + last) // 2
            first, last = (first, middle) if counted(thresholds[middle])[0] >= recall else (middle + 1, last)
        if first == len(thresholds):
            break
        reached, wrong = counted(thresholds[first])
        total += max(0.0, 1.0 - wrong / (reached * num_objects))
    return total / len(_RECALLS)


def _cells(figures: TrackFigures) -> tuple[str, ...]:
    ratios = (figures.mota, figures.motp_m, figures.idf1, figures.amota)
    counts = (figures.num_switches, figures.num_fragmentations, figures.num_false_positives, figures.num_misses)
    return (str(figures.num_objects), *("-" if v is None else f"{v:.4f}" for v in ratios), *map(str, counts))
