"""Turns what a report shows of a run into the plain data that the scripts of the page draw."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np

from lift3d_ros.types import Boxes3D, Float64Array
from lift3d_ros.viz.palette import GROUND_TRUTH, Color, class_color
from lift3d_ros.viz.report_content import CameraPicture, ReportData, ReportFrame, Trajectory
from lift3d_ros.viz.wireframe import Wireframe


def run_data(report: ReportData) -> dict[str, Any]:
    """Return the data of one run; numbers are rounded to what can be seen, and never NaN."""
    rows = _complete_rows(report)
    names = [name for row in rows for name in row]
    stages = stage_names(report.frames)
    classes = _classes(report)
    first_ns = report.frames[0].stamp_ns if report.frames else 0
    return {
        "cameras": names,
        "rows": [[names.index(name) for name in row] for row in rows],
        "classes": [{"name": name, "color": _css_color(class_color(name))} for name in classes],
        "truthColor": _css_color(GROUND_TRUTH),
        "stages": stages,
        "range": report.bev_range_m,
        "trajectories": _trajectories_data(report, classes, first_ns),
        "curves": [
            {
                "class": classes.index(curve.class_name),
                "distance": curve.distance_m,
                "recall": _rounded(curve.recall, 3),
                "precision": _rounded(curve.precision, 3),
            }
            for curve in report.curves
        ],
        "frames": [
            {
                "stamp": f"{frame.stamp_ns // 10**9}.{frame.stamp_ns % 10**9:09d}",
                "elapsed": _elapsed(frame.stamp_ns, first_ns),
                "cameras": _cameras_data(frame, names),
                "detections": _boxes_data(frame.detections, classes),
                "truth": None if frame.ground_truth is None else _boxes_data(frame.ground_truth, classes),
                "stages": _rounded((frame.stages_ms.get(stage, 0.0) for stage in stages), 2),
                "notes": list(frame.notes),
            }
            for frame in report.frames
        ],
    }


def stage_names(frames: Iterable[ReportFrame]) -> list[str]:
    """Return the stages of all frames in the order in which they run."""
    return list(dict.fromkeys(stage for frame in frames for stage in frame.stages_ms))


def _classes(report: ReportData) -> list[str]:
    """Return every class that is drawn, once."""
    all_boxes = [b for frame in report.frames for b in (frame.detections, frame.ground_truth) if b is not None]
    names = [boxes.class_names[label] for boxes in all_boxes for label in boxes.labels]
    names += [curve.class_name for curve in report.curves]
    if report.trajectories is not None:
        names += [path.class_name for path in (*report.trajectories.detections, *report.trajectories.ground_truth)]
    return list(dict.fromkeys(names))


def _elapsed(stamp_ns: int, first_ns: int) -> float:
    return round((stamp_ns - first_ns) * 1e-9, 3)


def _trajectories_data(report: ReportData, classes: Sequence[str], first_ns: int) -> dict[str, Any] | None:
    """Return ``ego`` as ``[elapsed, x, y, yaw]`` rows, and the paths as ``[elapsed, x, y]`` rows."""
    if report.trajectories is None:
        return None
    poses = zip(report.trajectories.stamps_ns, report.trajectories.ego_poses, strict=True)

    def path(trajectory: Trajectory) -> dict[str, Any]:
        points = zip(trajectory.stamps_ns, trajectory.positions, strict=True)
        return {
            "class": classes.index(trajectory.class_name),
            "track": trajectory.track,
            "score": round(trajectory.score, 3),
            "points": [[_elapsed(stamp_ns, first_ns), *_rounded(point, 2)] for stamp_ns, point in points],
        }

    return {
        "ego": [[_elapsed(stamp_ns, first_ns), *_rounded(pose, 3)] for stamp_ns, pose in poses],
        "detections": [path(trajectory) for trajectory in report.trajectories.detections],
        "truth": [path(trajectory) for trajectory in report.trajectories.ground_truth],
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
