"""Writes a run as one self-contained HTML page: cameras, bird's-eye view, latencies, metrics and run facts.

The page fetches nothing: pictures, styles and scripts are part of the file, and its content security policy
forbids everything else. What it draws comes from `ReportData`; the scripts lie in ``report_page/``.
Not for running anything or for computing boxes' pixels (see `wireframe`).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
from markupsafe import Markup

from lift3d_ros.geometry.rotations import wrap_angle
from lift3d_ros.types import Boxes3D, Float64Array
from lift3d_ros.viz.palette import GROUND_TRUTH, Color, class_color
from lift3d_ros.viz.wireframe import Wireframe

_PAGE_FOLDER = files("lift3d_ros.viz") / "report_page"
# One script: the files share one scope and are joined in this order.
_SCRIPTS = ("state.js", "cameras.js", "bird_eye_view.js", "latency.js", "controls.js")


@dataclass(frozen=True, eq=False)
class CameraPicture:
    """One camera's part of a frame.

    Args:
        jpeg: the encoded picture, `width` x `height` pixels; None where the camera is missing in this frame.
        age_s: reference stamp minus capture stamp; None where unknown.
        detections, ground_truth: wireframes in pixels of this picture; ``index`` points into the boxes of the frame.
    """

    name: str
    jpeg: bytes | None
    width: int = 0
    height: int = 0
    age_s: float | None = None
    detections: tuple[Wireframe, ...] = ()
    ground_truth: tuple[Wireframe, ...] = ()

    @property
    def is_missing(self) -> bool:
        """Whether this frame has no picture of the camera."""
        return self.jpeg is None


@dataclass(frozen=True, eq=False)
class ReportFrame:
    """What one frame set showed and gave.

    Args:
        cameras: pictures; a camera of the rig that is not listed counts as missing.
        detections, ground_truth: boxes in the base frame (x forward, y left); None where no labels exist.
        stages_ms: stage -> milliseconds, in the order in which they run, without a total.
        notes: sentences about this frame (temporal state, problems).
    """

    stamp_ns: int
    cameras: tuple[CameraPicture, ...]
    detections: Boxes3D
    ground_truth: Boxes3D | None = None
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReportTable:
    """A table of finished texts, for example metrics; `note` says what to know when reading it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True, eq=False)
class ReportData:
    """Everything on the page.

    Args:
        banner: warning that stays in view, for example ``untrained weights: boxes mean nothing``.
        facts: name -> value of the run (model, weights hash, backend, bag, versions, command, machine).
        camera_rows: camera names as the rig stands, front row first (`camera_rows`); cameras that only occur
            in frames are appended as a last row.
        score_threshold: where the threshold slider starts.
        bev_range_m: half of the side of the bird's-eye view.
    """

    title: str
    frames: tuple[ReportFrame, ...]
    camera_rows: tuple[tuple[str, ...], ...]
    subtitle: str = ""
    banner: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[ReportTable, ...] = ()
    score_threshold: float = 0.0
    bev_range_m: float = 52.0


def camera_rows(headings: Mapping[str, float]) -> tuple[tuple[str, ...], ...]:
    """Return camera names as the rig stands: a front row and a back row, the vehicle's left side on the left.

    Args:
        headings: camera name -> direction of the optical axis about +z in the base frame, radians, 0 = forward.
    """
    to_the_left = {name: float(wrap_angle(heading)) for name, heading in headings.items()}
    is_front = {name: abs(heading) < np.pi / 2 + 1e-3 for name, heading in to_the_left.items()}
    front = sorted((name for name in headings if is_front[name]), key=lambda name: -to_the_left[name])
    # From left over straight back to right the direction grows from 90 to 270 degrees.
    back = sorted((name for name in headings if not is_front[name]), key=lambda name: to_the_left[name] % (2 * np.pi))
    return tuple(tuple(row) for row in (front, back) if row)


def write_report(path: Path, report: ReportData) -> None:
    """Write the page of `report` to `path`; its folder is created."""
    script = "\n".join(["(() => {", '"use strict";', *map(_page_file, _SCRIPTS), "})();"])
    style = _page_file("page.css")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page = environment.from_string(_page_file("page.html.j2")).render(
        report=report,
        data=Markup(_script_safe_json(_page_data(report))),
        script=Markup(script),
        style=Markup(style),
        script_hash=_source_hash(script),
        style_hash=_source_hash(style),
        stages=_stage_summary(report.frames),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _page_file(name: str) -> str:
    return _PAGE_FOLDER.joinpath(name).read_text(encoding="utf-8")


def _source_hash(source: str) -> str:
    """Return the content-security-policy source of an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()


def _script_safe_json(document: Any) -> str:
    """Return JSON that cannot end the script element it is written into."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _page_data(report: ReportData) -> dict[str, Any]:
    rows = _complete_rows(report)
    names = [name for row in rows for name in row]
    stages = _stage_names(report.frames)
    all_boxes = [b for frame in report.frames for b in (frame.detections, frame.ground_truth) if b is not None]
    classes = list(dict.fromkeys(boxes.class_names[label] for boxes in all_boxes for label in boxes.labels))
    first_ns = report.frames[0].stamp_ns if report.frames else 0
    return {
        "cameras": names,
        "rows": [[names.index(name) for name in row] for row in rows],
        "classes": [{"name": name, "color": _css_color(class_color(name))} for name in classes],
        "truthColor": _css_color(GROUND_TRUTH),
        "stages": stages,
        "range": report.bev_range_m,
        "frames": [
            {
                "stamp": f"{frame.stamp_ns // 10**9}.{frame.stamp_ns % 10**9:09d}",
                "elapsed": round((frame.stamp_ns - first_ns) * 1e-9, 3),
                "cameras": _cameras_data(frame, names),
                "detections": _boxes_data(frame.detections, classes),
                "truth": None if frame.ground_truth is None else _boxes_data(frame.ground_truth, classes),
                "stages": _rounded((frame.stages_ms.get(stage, 0.0) for stage in stages), 2),
                "notes": list(frame.notes),
            }
            for frame in report.frames
        ],
    }


def _css_color(color: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def _complete_rows(report: ReportData) -> list[Sequence[str]]:
    known = {name for row in report.camera_rows for name in row}
    others = dict.fromkeys(c.name for frame in report.frames for c in frame.cameras if c.name not in known)
    return [*report.camera_rows, *([tuple(others)] if others else [])]


def _cameras_data(frame: ReportFrame, names: Sequence[str]) -> list[dict[str, Any] | None]:
    """Return one entry for each of `names`, None where the camera is missing."""
    pictures = {picture.name: picture for picture in frame.cameras if not picture.is_missing}
    return [_picture_data(pictures[name]) if name in pictures else None for name in names]


def _picture_data(picture: CameraPicture) -> dict[str, Any]:
    assert picture.jpeg is not None
    return {
        "jpeg": base64.b64encode(picture.jpeg).decode(),
        "size": [picture.width, picture.height],
        "age": None if picture.age_s is None else round(picture.age_s, 4),
        "detections": [_wireframe_data(wireframe) for wireframe in picture.detections],
        "truth": [_wireframe_data(wireframe) for wireframe in picture.ground_truth],
    }


def _wireframe_data(wireframe: Wireframe) -> list[Any]:
    """Return ``[box index, lines, front face, label anchor]``, pixels rounded to 0.1."""
    lines = [_rounded(_simplified(line, is_closed=False).reshape(-1), 1) for line in wireframe.polylines]
    front = _rounded(_simplified(wireframe.front, is_closed=True).reshape(-1), 1)
    return [wireframe.index, lines, front, _rounded(wireframe.label_anchor, 1)]


def _simplified(line: Float64Array, *, is_closed: bool) -> Any:
    """Leave out pixels that move a line by less than 0.2; lines through lenses have many of them."""
    return cv2.approxPolyDP(line.astype(np.float32), 0.2, is_closed) if len(line) > 2 else line


def _boxes_data(boxes: Boxes3D, classes: Sequence[str]) -> list[list[Any]]:
    """Return ``[x, y, z, length, width, height, yaw, vx, vy, score, class, track]`` for each box."""
    assert boxes.track_ids is not None
    return [
        [
            *_rounded(boxes.centers[i], 2),
            *_rounded(boxes.sizes[i], 2),
            *_rounded([boxes.yaws[i]], 3),
            *_rounded(boxes.velocities[i], 2),
            *_rounded([boxes.scores[i]], 3),
            classes.index(boxes.class_names[boxes.labels[i]]),
            int(boxes.track_ids[i]),
        ]
        for i in range(len(boxes))
    ]


def _rounded(values: Iterable[float], digits: int) -> list[Any]:
    """Return the values for JSON: rounded, None where not finite, whole numbers without a fraction."""
    rounded = (round(float(value), digits) if np.isfinite(value) else None for value in values)
    return [int(v) if v is not None and v == int(v) else v for v in rounded]


def _stage_names(frames: Iterable[ReportFrame]) -> list[str]:
    return list(dict.fromkeys(stage for frame in frames for stage in frame.stages_ms))


def _stage_summary(frames: Sequence[ReportFrame]) -> list[tuple[str, float, float]]:
    """Return ``(stage, median, 95th percentile)`` in ms over the frames that ran it; the last row is their sum."""
    timed = [frame.stages_ms for frame in frames if frame.stages_ms]
    columns = {stage: [ms[stage] for ms in timed if stage in ms] for stage in _stage_names(frames)}
    if len(columns) > 1:
        columns["all stages"] = [sum(ms.values()) for ms in timed]
    return [(stage, float(np.median(ms)), float(np.percentile(ms, 95))) for stage, ms in columns.items()]
