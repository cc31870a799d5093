"""Draws the page of an evaluation of the skeleton lifter: tables, ratios, reliability, typical and worst frames."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from lift3d_ros.evaluation.lifted_views import LiftedViews
from lift3d_ros.evaluation.run_report import REPORT_FILE, jpeg_bytes, versions
from lift3d_ros.evaluation.skeleton_lifting import CLEAN, FileResult, SkeletonEvaluation
from lift3d_ros.evaluation.skeletons import ReliabilityBin, rms_sizes
from lift3d_ros.types import Float64Array, Skeleton3D, UInt8Array
from lift3d_ros.viz.canvas import DARK, LIGHT, draw_text, place_text
from lift3d_ros.viz.charts import ratio_chart, reliability_chart
from lift3d_ros.viz.evaluation_page import EvaluationPage, PageChart, PagePicture, PictureGroup, write_evaluation_page
from lift3d_ros.viz.report_content import ReportTable
from lift3d_ros.viz.skeletons import VIEWS, draw_keypoints, draw_view

_NUM_WORST = 6
_CELL_PX = 240
_NOT_MEASURED = "-"


def write_skeleton_report(
    evaluation: SkeletonEvaluation, out: Path, *, title: str, command: Sequence[str], facts: Mapping[str, str]
) -> Path:
    """Write ``out/report.html`` and return its path; `facts` are further name -> value pairs for the page.

    Raises:
        Lift3dError: matplotlib is missing.
    """
    model, summary = evaluation.model, evaluation.summary()
    clean = summary[CLEAN]
    frames = sum(result.figures[CLEAN]["frames"] for result in evaluation.files)
    page = EvaluationPage(
        title=title,
        subtitle=f"{_counted(len(evaluation.files), 'file')}, {_counted(frames, 'view')}; {model.description}",
        banner="" if model.is_trained else f"{model.description}: the skeletons mean nothing",
        headline=tuple(
            (f"median ratio, {name}", f"{row['median_ratio_to_flat']:.3f}") for name, row in list(clean.items())[:6]
        ),
        tables=tuple(_tables(evaluation, summary)),
        charts=tuple(_charts(evaluation)),
        groups=_groups(evaluation.files),
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


def comparison_picture(lifted: LiftedViews, row: int) -> UInt8Array:
    """Return 2D input, the lifted skeleton from two directions, and the true one from the same two, side by side."""
    views = lifted.views
    cells = [_input_picture(lifted, row)]
    for name, joints, is_known in (
        ("lifted", lifted.predicted[row], views.is_seen[row]),
        ("true", views.joints[row], views.is_valid[row]),
    ):
        shown = Skeleton3D(
            views.skeleton, joints[None], np.ones(1), is_known, np.zeros(len(joints)), mirror_cue="model"
        )
        for turn_deg, direction in VIEWS:
            cell = draw_view(shown, turn_deg, _CELL_PX)
            draw_text(cell, place_text(cell, f"{name}, {direction}", np.array([0.0, 14.0]), 7.5), LIGHT)
            cells.append(cell)
    return np.concatenate(cells, axis=1)


def _input_picture(lifted: LiftedViews, row: int) -> UInt8Array:
    """Return the seen 2D joints in a square."""
    picture: UInt8Array = np.full((_CELL_PX, _CELL_PX, 3), DARK, dtype=np.uint8)
    views, is_seen = lifted.views, lifted.views.is_seen[row]
    if is_seen.any():
        seen = views.points[row][is_seen]
        middle = 0.5 * (seen.min(axis=0) + seen.max(axis=0))
        extent = max(float(np.ptp(seen, axis=0).max()), 1e-9)
        points = (views.points[row] - middle) * (0.84 * _CELL_PX / extent) + _CELL_PX / 2
        draw_keypoints(picture, np.where(is_seen[:, None], points, 0.0), views.skeleton, is_seen)
    draw_text(picture, place_text(picture, "2D input", np.array([0.0, 14.0]), 7.5), LIGHT)
    return picture


def _tables(
    evaluation: SkeletonEvaluation, summary: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> Iterable[ReportTable]:
    groups = list(summary[CLEAN])
    rows = []
    for condition in evaluation.conditions:
        found = summary[condition.name]
        rows.append((condition.title, *(_pair(found.get(name), "median_ratio_to_flat") for name in groups)))
    yield ReportTable(
        "Median ratio to the flat guess", ("condition", *groups), tuple(rows), "In brackets: the better mirror image."
    )
    columns = ("file", "views", "joints", "PA-MPJPE", "ratio", "better mirror", "MPJPE", "PCK", "bones", "right mirror")
    yield ReportTable(
        "Files, clean views",
        columns,
        tuple(_row(result) for result in evaluation.files),
        " ".join(evaluation.notes)
        + " PCK: joints within 0.3 RMS sizes after alignment; bones: error of their lengths, relative.",
    )
    if len(evaluation.conditions) > 1:
        yield ReportTable(
            "Ratio under each condition",
            ("file", *(condition.title for condition in evaluation.conditions)),
            tuple(
                (result.file.file, *(_pair(result.figures.get(c.name), "ratio_to_flat") for c in evaluation.conditions))
                for result in evaluation.files
            ),
            "In brackets: the better mirror image.",
        )
    yield _bins("Is the stated uncertainty right?", evaluation.uncertainty, "joints", "standard deviation, RMS sizes")
    yield _bins("Is the stated mirror image right?", evaluation.mirror, "views", "probability")
    if evaluation.problems:
        problems = tuple(evaluation.problems.items())
        yield ReportTable("Left out", ("file", "what is wrong"), problems)


def _row(result: FileResult) -> tuple[str, ...]:
    found, unit = result.figures[CLEAN], result.file.unit
    return (
        result.file.file,
        str(found["frames"]),
        str(found["joints"]),
        f"{_significant(found['pa_mpjpe'])} {unit}".strip(),
        _number(found["ratio_to_flat"]),
        _number(found["ratio_to_flat_best"]),
        f"{_significant(found['mpjpe'])} {unit}".strip(),
        _number(found["pck"]),
        _number(found["bone_length_error"]),
        _number(found["sign_rate"]),
    )


def _bins(title: str, bins: Sequence[ReliabilityBin], counted: str, what: str) -> ReportTable:
    rows = tuple((f"{one.stated:.3f}", f"{one.found:.3f}", str(one.count)) for one in bins)
    return ReportTable(title, (f"stated {what}", "found", counted), rows, "Clean views, all files but nc_ ones.")


def _charts(evaluation: SkeletonEvaluation) -> Iterable[PageChart]:
    rows = {}
    for result in evaluation.files:
        entry = {}
        for condition in evaluation.conditions:
            figures = result.figures.get(condition.name)
            entry[condition.title] = np.nan if figures is None else float(figures["ratio_to_flat"])
            if condition.name == CLEAN and figures is not None:
                entry["clean, better mirror image"] = float(figures["ratio_to_flat_best"])
        rows[result.file.file] = entry
    yield PageChart(
        "Error over that of the flat guess",
        ratio_chart(rows, "flat guess"),
        "Below 0.5 is clearly learned, 1 is worthless.",
    )
    panels = {}
    for name, bins in (
        ("standard deviation of joints, RMS sizes", evaluation.uncertainty),
        ("probability of the mirror image", evaluation.mirror),
    ):
        if bins:
            panels[name] = np.array([one.stated for one in bins]), np.array([one.found for one in bins])
    if panels:
        yield PageChart("Is what it says of itself right?", reliability_chart(panels), "Clean views; tables above.")


def _groups(results: Sequence[FileResult]) -> tuple[PictureGroup, ...]:
    typical, errors = [], []
    for result in results:
        part = result.clean[0]
        relative = _relative_errors(part)
        middle = int(np.argsort(relative)[len(relative) // 2])
        caption = f"error {relative[middle]:.2f} RMS sizes, the middle of {_counted(len(relative), 'view')}"
        typical.append(PagePicture(f"{result.file.file}:", jpeg_bytes(comparison_picture(part, middle)), caption))
        errors += [(float(value), result, row) for row, value in enumerate(relative)]
    worst = []
    for value, result, row in sorted(errors, key=lambda entry: -entry[0])[:_NUM_WORST]:
        picture = comparison_picture(result.clean[0], row)
        worst.append(
            PagePicture(f"{result.file.file}, view {row}:", jpeg_bytes(picture), f"error {value:.2f} RMS sizes")
        )
    legend = "The object's own left is orange, its right blue; hollow: a joint that was not seen. "
    return (
        PictureGroup("Typical views", legend + "One of each file, with the median error.", tuple(typical)),
        PictureGroup("Worst views", legend + "Of all files, relative to the size of the skeleton.", tuple(worst)),
    )


def _relative_errors(part: LiftedViews) -> Float64Array:
    """Return mean aligned errors (N,) in RMS sizes."""
    size = np.maximum(rms_sizes(part.views.joints, part.views.is_valid), 1e-12)
    return np.asarray(np.nanmean(part.errors, axis=1) / size)


def _pair(figures: Mapping[str, float] | None, key: str) -> str:
    if figures is None:
        return _NOT_MEASURED
    return f"{_number(figures[key])} ({_number(figures[f'{key}_best'])})"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _number(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else _NOT_MEASURED


def _significant(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else _NOT_MEASURED
