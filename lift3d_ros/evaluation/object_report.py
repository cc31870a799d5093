"""Draws an evaluation of object reconstruction: one sheet with all objects, and a page with tables."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from lift3d_ros.evaluation.object_reconstruction import METHODS, MODEL, NOTES, ObjectEvaluation, ObjectResult
from lift3d_ros.evaluation.run_report import REPORT_FILE, jpeg_bytes, versions
from lift3d_ros.types import UInt8Array
from lift3d_ros.viz.canvas import DARK, LIGHT, draw_text, place_text
from lift3d_ros.viz.evaluation_page import EvaluationPage, PagePicture, PictureGroup, write_evaluation_page
from lift3d_ros.viz.report_content import ReportTable

SHEET_FILE = "objects.png"

_CELL_PX = 128
_GAP_PX = 4
_VIEWS = 3
_COLUMNS = (
    ("psnr", "PSNR dB", 2), ("ssim", "SSIM", 3), ("psnr_of_input", "PSNR of the input", 2),
    ("chamfer_aligned", "Chamfer", 4), ("f_score_0.02_aligned", "F 0.02", 3), ("f_score_0.05_aligned", "F 0.05", 3),
    ("f_score_0.1_aligned", "F 0.1", 3), ("chamfer_placed", "Chamfer as placed", 4), ("lpips", "LPIPS", 3),
    ("empty", "no surface", 0),
)  # fmt: skip


def object_strip(result: ObjectResult) -> UInt8Array:
    """Return the picture of an object as the model rendered it, then pairs of true and rendered other views."""
    names = ["input", "model"] + ["true", "model"] * _VIEWS
    cells = []
    for name, picture in zip(names, result.pictures, strict=False):
        cell = cv2.resize(picture, (_CELL_PX, _CELL_PX), interpolation=cv2.INTER_AREA)
        draw_text(cell, place_text(cell, name, np.array([0.0, 10.0]), 6.0), LIGHT, DARK)
        cells.append(cv2.copyMakeBorder(cell, 0, _GAP_PX, 0, _GAP_PX, cv2.BORDER_CONSTANT, value=DARK))
    return np.concatenate(cells, axis=1)


def write_sheet(evaluation: ObjectEvaluation, out: Path, columns: int = 2) -> Path:
    """Write ``out/objects.png`` with all objects, best PSNR first, and return its path."""
    ordered = sorted(evaluation.objects, key=lambda one: -one.figures[MODEL].unseen.psnr)
    strips = []
    for one in ordered:
        strip, figures = object_strip(one), one.figures[MODEL]
        text = f"{one.name}  {figures.unseen.psnr:.1f} dB  CD {figures.aligned.chamfer:.3f}"
        draw_text(strip, place_text(strip, text, np.array([0.0, _CELL_PX - 8.0]), 6.0), LIGHT, DARK)
        strips.append(strip)
    strips += [np.full_like(strips[0], DARK)] * (-len(strips) % columns)
    rows = len(strips) // columns
    sheet = np.concatenate(
        [np.concatenate(strips[column * rows : (column + 1) * rows]) for column in range(columns)], axis=1
    )
    path = out / SHEET_FILE
    out.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".png", np.ascontiguousarray(sheet[:, :, ::-1]))
    path.write_bytes(data.tobytes())
    return path


def write_object_report(
    evaluation: ObjectEvaluation, out: Path, *, title: str, command: Sequence[str], facts: Mapping[str, str]
) -> Path:
    """Write ``out/report.html`` and return its path; `facts` are further name -> value pairs for the page."""
    model, summary = evaluation.model, evaluation.summary()
    headline = [(label, _number(summary[MODEL][key], digits)) for key, label, digits in _COLUMNS[:6]]
    page = EvaluationPage(
        title=title,
        subtitle=f"{len(evaluation.objects)} objects; {model.description}",
        banner="" if model.is_trained else f"{model.description}: the shapes mean nothing",
        headline=tuple(headline),
        tables=_tables(evaluation, summary),
        groups=(
            PictureGroup(
                "Objects",
                "The picture and the model's view of it, then pairs of true and rendered views that it has not seen.",
                tuple(
                    PagePicture(one.name, jpeg_bytes(object_strip(one)), _caption(one)) for one in evaluation.objects
                ),
            ),
        ),
        facts={
            "model": model.description,
            "weights SHA-256": model.weights_sha256,
            "mean shape of": evaluation.known,
            **facts,
            **versions(),
            "command": shlex.join(command),
        },
    )
    path = out / REPORT_FILE
    write_evaluation_page(path, page)
    return path


def _tables(evaluation: ObjectEvaluation, summary: Mapping[str, Mapping[str, float | None]]) -> tuple[ReportTable, ...]:
    labels = tuple(label for _, label, _ in _COLUMNS)
    missing = f" No LPIPS: {evaluation.lpips_problem}." if evaluation.lpips_problem else ""
    methods = tuple(
        (METHODS[method], *(_number(row[key], digits) for key, _, digits in _COLUMNS))
        for method, row in summary.items()
    )
    objects = []
    for one in evaluation.objects:
        figures = one.figures[MODEL]
        scores = figures.aligned.f_scores
        objects.append(
            (
                one.name, one.class_name, f"{figures.unseen.psnr:.2f}", f"{figures.unseen.ssim:.3f}",
                f"{figures.aligned.chamfer:.4f}", f"{scores['0.02']:.3f}", f"{scores['0.05']:.3f}",
            )
        )  # fmt: skip
    columns = ("object", "class", "PSNR dB", "SSIM", "Chamfer", "F 0.02", "F 0.05")
    return (
        ReportTable("Means over all objects", ("method", *labels), methods, " ".join(NOTES) + missing),
        ReportTable("Objects, the model", columns, tuple(objects), "Surfaces aligned."),
    )


def _caption(result: ObjectResult) -> str:
    figures = result.figures[MODEL]
    return f"{figures.unseen.psnr:.1f} dB, Chamfer distance {figures.aligned.chamfer:.3f}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
