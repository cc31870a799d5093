"""Draws the page of an evaluation: tables, curves, errors, recall over distance, and the worst frames."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lift3d_ros.evaluation.assignment import assign, class_names_of, ground_distances, within_class_ranges
from lift3d_ros.evaluation.bev_detection import Evaluation
from lift3d_ros.evaluation.detection import class_ranges
from lift3d_ros.evaluation.detection_figures import DetectionMetrics
from lift3d_ros.evaluation.matching import LabelledFrame
from lift3d_ros.evaluation.robustness import DEPTH, RobustnessRow
from lift3d_ros.evaluation.run_report import REPORT_FILE, decode_views, jpeg_bytes, versions
from lift3d_ros.evaluation.scene_results import frame_sets_of
from lift3d_ros.evaluation.scenes import SceneEntry
from lift3d_ros.evaluation.worst_frames import WorstFrame, confident_ghosts, near_misses, working_scores
from lift3d_ros.geometry.rotations import wrap_angle
from lift3d_ros.types import Float64Array, FrameSet, UInt8Array
from lift3d_ros.viz.bev import draw_bev
from lift3d_ros.viz.charts import distance_chart, histogram_chart, precision_recall_chart
from lift3d_ros.viz.contact_sheet import contact_sheet
from lift3d_ros.viz.evaluation_page import EvaluationPage, PageChart, PagePicture, PictureGroup, write_evaluation_page
from lift3d_ros.viz.marks import FALSE, MISSED, mark_from_above, mark_in_picture
from lift3d_ros.viz.overlay import draw_overlay
from lift3d_ros.viz.palette import Color
from lift3d_ros.viz.report_content import ReportTable, camera_rows

_NUM_WORST = 6
_BIN_M = 5.0
_FEWEST_LABELS = 5  # of a class in a bin, for a point in the chart of recall
_NOT_MEASURED = "-"

_DEPTH_NOTE = (
    "The depth scores inside of the network are changed before its cells look into the pictures; pictures and features "
    "stay. The first row is the same network with torch and is what the others are compared with."
)


def write_evaluation_report(
    evaluation: Evaluation,
    scenes: Sequence[SceneEntry],
    out: Path,
    *,
    title: str,
    command: Sequence[str],
    facts: Mapping[str, str],
) -> Path:
    """Write ``out/report.html`` and return its path.

    Args:
        scenes: those of the evaluation; pictures of the worst frames are read again.
        facts: further name -> value pairs for the page.

    Raises:
        Lift3dError: matplotlib is missing, or pictures cannot be read.
    """
    metrics, model = evaluation.metrics, evaluation.model
    scores = working_scores(evaluation.curves)
    ranges = class_ranges()
    missed = near_misses(evaluation.scenes, scores, ranges, _NUM_WORST)
    ghosts = confident_ghosts(evaluation.scenes, scores, ranges, _NUM_WORST)
    pictures = _draw_frames(evaluation, scenes, [*missed, *ghosts], [MISSED] * len(missed) + [FALSE] * len(ghosts))
    page = EvaluationPage(
        title=title,
        subtitle=f"{_counted(len(evaluation.scenes), 'scene')}, {_counted(metrics.num_frames, 'frame')}, "
        f"{_counted(metrics.num_ground_truth, 'label')}; {model.description}",
        banner="" if model.is_trained else f"{model.description}: the boxes mean nothing",
        headline=(
            ("mAP", f"{metrics.mean_ap:.3f}"),
            ("NDS (AAE = 1)", f"{metrics.nds:.3f}"),
            *((f"m{name}", _number(value)) for name, value in metrics.tp_errors.items()),
        ),
        tables=_tables(evaluation, scores),
        charts=_charts(evaluation, ranges),
        groups=tuple(_groups(pictures, len(missed))),
        facts={
            "model": model.description,
            "weights SHA-256": model.weights_sha256,
            **({"backend": model.backend} if model.backend else {}),
            **facts,
            **versions(),
            "command": shlex.join(command),
        },
    )
    path = out / REPORT_FILE
    write_evaluation_page(path, page)
    return path


def _groups(pictures: Sequence[PagePicture], num_missed: int) -> Iterable[PictureGroup]:
    legend = "Labels are dashed white; boxes are those that reach the working score of their class (table above). "
    if num_missed:
        note = legend + "Marked red: labels without a box of their class within 2 m."
        yield PictureGroup("Near objects missed", note, tuple(pictures[:num_missed]))
    if len(pictures) > num_missed:
        note = legend + "Marked magenta: boxes without a label of their class within 2 m."
        yield PictureGroup("Confident boxes of nothing", note, tuple(pictures[num_missed:]))


def _tables(evaluation: Evaluation, scores: Mapping[str, float]) -> tuple[ReportTable, ...]:
    metrics = evaluation.metrics
    header, *rows = metrics.class_table()
    working = [(*row, _number(scores.get(row[0]))) for row in rows]
    tables = [
        ReportTable("Classes", (*header, "working score"), tuple(working), " ".join(evaluation.notes)),
        ReportTable("All classes", ("figure", "value"), metrics.summary_table()),
    ]
    if evaluation.ranges:
        note = "Labels and boxes belong to a range by their own centres, seen from above."
        tables.append(_parts_table("AP over distance, m", metrics, evaluation.ranges, note))
    if evaluation.visibility:
        note = "A box that found a label of another level is left out; false boxes count in every level."
        tables.append(_parts_table("AP by visible share", metrics, evaluation.visibility, note))
    if evaluation.tracking is not None:
        head, *lines = evaluation.tracking.table()
        note = "IDF1: share of boxes that carry the right id. Switches: an object goes on under another id."
        tables.append(ReportTable("Tracking", head, tuple(lines), note))
    by_table: dict[str, list[RobustnessRow]] = {}
    for row in evaluation.robustness:
        by_table.setdefault(row.table, []).append(row)
    tables += [_robustness_table(name, rows) for name, rows in by_table.items()]
    return tuple(tables)


def _parts_table(
    title: str, metrics: DetectionMetrics, parts: Mapping[str, DetectionMetrics], note: str
) -> ReportTable:
    names = [name for name, entry in metrics.classes.items() if entry.num_ground_truth]
    rows = [
        ("mean", *(f"{part.mean_ap:.3f}" for part in parts.values())),
        *((name, *(_cell(part, name) for part in parts.values())) for name in names),
    ]
    return ReportTable(title, ("class", *parts), tuple(rows), f"{note} In brackets: labels.")


def _cell(part: DetectionMetrics, name: str) -> str:
    entry = part.classes[name]
    return f"{_number(entry.average_precision)} ({entry.num_ground_truth})"


def _robustness_table(name: str, rows: Sequence[RobustnessRow]) -> ReportTable:
    columns = ("disturbance", "mAP", "change", "NDS", "change")
    cells = [("none", f"{rows[0].clean_mean_ap:.3f}", "", f"{rows[0].clean_nds:.3f}", "")]
    cells += [
        (
            row.name,
            f"{row.mean_ap:.3f}",
            f"{row.mean_ap - row.clean_mean_ap:+.3f}",
            f"{row.nds:.3f}",
            f"{row.nds - row.clean_nds:+.3f}",
        )
        for row in rows
    ]
    is_depth = name == DEPTH
    note = _DEPTH_NOTE if is_depth else ""
    return ReportTable(f"Robustness: {name}", columns, tuple(cells[1:] if is_depth else cells), note)


def _charts(evaluation: Evaluation, ranges: Mapping[str, float]) -> tuple[PageChart, ...]:
    frames = [within_class_ranges(frame, ranges) for scene in evaluation.scenes for frame in scene.matches.frames]
    curves = {
        name: {threshold: (line.recall, line.precision) for threshold, line in lines.items()}
        for name, lines in evaluation.curves.items()
    }
    edges, recall = _recall_over_distance(frames)
    return (
        PageChart(
            "Precision over recall",
            precision_recall_chart(curves),
            "A box counts as right within the given distance of a label, from above. Average precision is the mean "
            "height above 0.1 between recall 0.1 and 1.",
        ),
        PageChart(
            "Labels found over distance",
            distance_chart(edges, recall, "recall"),
            "Share of the labels that any box of their class, however low its score, lies within 2 m of; "
            f"points of at least {_FEWEST_LABELS} labels.",
        ),
        PageChart("Errors of the boxes that found a label", histogram_chart(_errors(frames)), "Pairs within 2 m."),
    )


def _recall_over_distance(frames: Sequence[LabelledFrame]) -> tuple[Float64Array, dict[str, Float64Array]]:
    distances = np.concatenate([ground_distances(frame.ground_truth) for frame in frames])
    is_found = np.concatenate([assign(frame).prediction_of >= 0 for frame in frames])
    names = np.array([name for frame in frames for name in class_names_of(frame.ground_truth)], dtype=np.str_)
    edges = np.arange(0.0, max(float(distances.max(initial=0.0)), _BIN_M) + _BIN_M, _BIN_M)
    lines = {}
    for name in ("all", *sorted(set(names.tolist()))):
        chosen = np.full(len(names), True) if name == "all" else names == name
        total, _ = np.histogram(distances[chosen], edges)
        found, _ = np.histogram(distances[chosen & is_found], edges)
        lines[name] = np.where(total >= _FEWEST_LABELS, found / np.maximum(total, 1), np.nan)
    return edges, {name: line for name, line in lines.items() if np.isfinite(line).any()}


def _errors(frames: Sequence[LabelledFrame]) -> dict[str, Float64Array]:
    """Return the errors of all pairs, class by class together; cones have no heading and barriers two."""
    distance, size, heading, velocity = [], [], [], []
    for frame in frames:
        label_of = assign(frame).label_of
        pairs = np.flatnonzero(label_of >= 0)
        predicted, labelled = frame.predictions.select(pairs), frame.ground_truth.select(label_of[pairs])
        distance.append(np.linalg.norm(predicted.centers[:, :2] - labelled.centers[:, :2], axis=1))
        smaller = np.minimum(predicted.sizes, labelled.sizes).prod(axis=1)
        union = predicted.sizes.prod(axis=1) + labelled.sizes.prod(axis=1) - smaller
        size.append(1.0 - smaller / union)
        names = np.array(class_names_of(labelled), dtype=np.str_)
        turned = np.abs(wrap_angle(predicted.yaws - labelled.yaws))
        turned = np.where(names == "barrier", np.minimum(turned, np.pi - turned), turned)
        heading.append(turned[names != "traffic_cone"])
        is_mobile = (names != "traffic_cone") & (names != "barrier")
        velocity.append(np.linalg.norm(predicted.velocities - labelled.velocities, axis=1)[is_mobile])
    return {
        "distance of centres, m": np.concatenate(distance),
        "size, 1 - IoU of aligned boxes": np.concatenate(size),
        "heading, degrees": np.degrees(np.concatenate(heading)),
        "velocity, m/s": np.concatenate(velocity),
    }


def _draw_frames(
    evaluation: Evaluation, scenes: Sequence[SceneEntry], chosen: Sequence[WorstFrame], colors: Sequence[Color]
) -> list[PagePicture]:
    """Draw the chosen frames, in their order; each scene is opened once."""
    pictures: dict[int, PagePicture] = {}
    wanted = [entry for entry in scenes if any(item.scene == entry.name for item in chosen)]
    for entry in tqdm(wanted, desc="drawing", unit="scene", disable=None):
        stamps = frozenset(item.frame.result_ns for item in chosen if item.scene == entry.name)
        with entry.open() as scene:
            for frame_set in frame_sets_of(scene, evaluation.folders[entry.name], stamps):
                views = decode_views(frame_set)
                for index, item in enumerate(chosen):
                    if item.scene == entry.name and item.frame.result_ns == frame_set.stamp_ns:
                        pictures[index] = _picture(item, frame_set, views, colors[index])
    return [pictures[index] for index in sorted(pictures)]


def _picture(item: WorstFrame, frame_set: FrameSet, views: Mapping[str, UInt8Array], color: Color) -> PagePicture:
    boxes, labels = item.frame.predictions, item.frame.ground_truth
    drawn = {}
    for name, rgb in views.items():
        drawn[name] = draw_overlay(rgb, frame_set.views[name], boxes, labels)
        mark_in_picture(drawn[name], frame_set.views[name], item.marked, color)
    bev = draw_bev(boxes, labels, views=frame_set.views)
    mark_from_above(bev, item.marked, color)
    headings = {
        name: float(np.arctan2(view.T_base_cam[1, 2], view.T_base_cam[0, 2])) for name, view in frame_set.views.items()
    }
    sheet = contact_sheet(drawn, camera_rows(headings), bev)
    seconds = f"{item.frame.stamp_ns // 10**9}.{item.frame.stamp_ns % 10**9 // 10**6:03d} s"
    return PagePicture(f"{item.scene}, {seconds}:", jpeg_bytes(sheet), item.reason)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _number(value: float | None) -> str:
    return _NOT_MEASURED if value is None else f"{value:.3f}"
