"""Turns the result folder of a run into pictures, metrics and the report page.

Works from the files of the run (`sets.jsonl`, `detections.jsonl`, `timing.jsonl`) and the recording, so a resumed run
and the output of a node are reported in the same way.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import platform
import shlex
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

import lift3d_ros
from lift3d_ros.errors import CalibrationError, ImageError, Lift3dError
from lift3d_ros.evaluation.detection_figures import DetectionMetrics
from lift3d_ros.evaluation.labels import RunLabels
from lift3d_ros.evaluation.metrics_file import METRICS_FILE, write_metrics
from lift3d_ros.evaluation.run_figures import RunFigures, score_run
from lift3d_ros.evaluation.trajectories import run_trajectories
from lift3d_ros.images.decode import decode
from lift3d_ros.images.preprocess import scaled_to
from lift3d_ros.replay.results import DETECTIONS_FILE, SETS_FILE, TIMING_FILE, read_detections
from lift3d_ros.replay.sets import RecordedSet, read_sets
from lift3d_ros.replay.source import FrameSource
from lift3d_ros.types import BevDetections, Boxes3D, CameraView, Float64Array, FrameSet, UInt8Array
from lift3d_ros.viz.bev import draw_bev
from lift3d_ros.viz.contact_sheet import contact_sheet
from lift3d_ros.viz.overlay import draw_overlay
from lift3d_ros.viz.report import write_report
from lift3d_ros.viz.report_content import CameraPicture, ReportData, ReportFrame, camera_rows
from lift3d_ros.viz.trails import TrackTrails
from lift3d_ros.viz.wireframe import wireframes

REPORT_FILE = "report.html"
PICTURES_FOLDER = "pictures"
_MAX_REPORT_FRAMES = 60
_PICTURE_WIDTH = 640
_JPEG_QUALITY = 80

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReportOptions:
    """What is made, and what the page says about the run.

    Args:
        command: the command line that made the run.
        configuration: everything that was set, for `metrics.json`.
        facts: further name -> value pairs for the page.
        score_threshold: where the slider of the page starts.
        introduction: paragraphs that stand above the run.
    """

    title: str
    command: Sequence[str]
    configuration: Any = dataclasses.field(default_factory=dict)
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    score_threshold: float = 0.0
    introduction: tuple[str, ...] = ()
    has_pictures: bool = True
    has_page: bool = True


@dataclass(frozen=True, eq=False)
class RunSummary:
    """What was made; `model` is its description.

    Args:
        page: what a report page shows of the run, None where none was asked for.
        metrics: None without labels.
    """

    num_frames: int
    model: str
    is_trained: bool
    page: ReportData | None
    metrics: DetectionMetrics | None
    median_ms: float
    report: Path | None = None


def write_run_report(folder: Path, source: FrameSource, options: ReportOptions) -> RunSummary:
    """Draw, score and report the run whose results are in `folder`; the page is written there, too.

    Raises:
        Lift3dError: the results cannot be read, or their pictures are not in `source`.
    """
    summary = summarize_run(folder, source, options)
    if summary.page is None:
        return summary
    report = folder / REPORT_FILE
    write_report(report, summary.page)
    return dataclasses.replace(summary, report=report)


def summarize_run(folder: Path, source: FrameSource, options: ReportOptions) -> RunSummary:
    """Do the same without writing the page, which can then be one tab of a larger one; raises as above."""
    results = list(read_detections(folder / DETECTIONS_FILE, folder / TIMING_FILE))
    if not results:
        raise Lift3dError(
            f"{folder / DETECTIONS_FILE}: no result to report; no frame set was complete enough, see the warnings above"
        )
    recorded = _sets_of(folder, results)
    poses = {item.stamp_ns: item.ego for item in recorded}
    labels = RunLabels(source.labels, poses)
    figures = _score(folder, labels, results, options)
    stride = math.ceil(len(results) / _MAX_REPORT_FRAMES)
    frames, headings, trails = [], dict[str, float](), TrackTrails()
    for index, (frame_set, result) in enumerate(_with_pictures(source, recorded, results)):
        for name, view in frame_set.views.items():
            headings.setdefault(name, float(np.arctan2(view.T_base_cam[1, 2], view.T_base_cam[0, 2])))
        truth = labels.at(frame_set.stamp_ns)
        pictures = decode_views(frame_set)
        if options.has_pictures:
            ways = trails.add(result.boxes, frame_set.stamp_ns, frame_set.ego)
            path = folder / PICTURES_FOLDER / f"{index:06d}.jpg"
            _write_sheet(path, frame_set, pictures, result, truth, headings, ways)
        if options.has_page and index % stride == 0:
            frames.append(_report_frame(frame_set, pictures, result, truth))
    page = None
    if options.has_page:
        page = dataclasses.replace(
            _page(source, results, frames, headings, figures, options, stride),
            trajectories=run_trajectories(results, poses, labels),
        )
    totals = [sum(result.timings_s.values()) * 1e3 for result in results if result.timings_s]
    median_ms = float(np.median(totals)) if totals else math.nan
    metrics = None if figures is None else figures.detection
    model = results[0].model
    return RunSummary(len(results), model.description, model.is_trained, page, metrics, median_ms)


def remove_run_report(folder: Path) -> None:
    """Remove what an earlier run left in `folder`: page, metrics and pictures."""
    for name in (REPORT_FILE, METRICS_FILE):
        (folder / name).unlink(missing_ok=True)
    for picture in (folder / PICTURES_FOLDER).glob("[0-9]" * 6 + ".jpg"):
        picture.unlink()


def _score(
    folder: Path, labels: RunLabels, results: Sequence[BevDetections], options: ReportOptions
) -> RunFigures | None:
    figures = score_run(results, labels)
    if figures is not None:
        write_metrics(
            folder,
            figures.to_json(),
            command=options.command,
            configuration=options.configuration,
            seed=None,
            model=results[0].model.description,
            weights_sha256=results[0].model.weights_sha256,
        )
    return figures


def _sets_of(folder: Path, results: Sequence[BevDetections]) -> list[RecordedSet]:
    stamps = {result.stamp_ns for result in results}
    return [item for item in read_sets(folder / SETS_FILE) if item.stamp_ns in stamps]


def _with_pictures(
    source: FrameSource, recorded: Sequence[RecordedSet], results: Sequence[BevDetections]
) -> Iterator[tuple[FrameSet, BevDetections]]:
    by_stamp = {result.stamp_ns: result for result in results}
    sets = source.recorded_frame_sets(recorded)
    for frame_set in tqdm(sets, total=len(recorded), desc="drawing", unit="set", disable=None):
        yield frame_set, by_stamp[frame_set.stamp_ns]


def decode_views(frame_set: FrameSet) -> dict[str, UInt8Array]:
    """Return the pictures at the width of the report, without those that cannot be decoded."""

    def decode_small(view: CameraView) -> UInt8Array | None:
        try:
            rgb = decode(view.image)
            scaled_to(view.model, rgb.shape[1], rgb.shape[0], view.image.label)
        except (ImageError, CalibrationError):
            return None  # the result names the camera and the reason
        scale = min(1.0, _PICTURE_WIDTH / rgb.shape[1])
        size = (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale))
        return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        pictures = pool.map(decode_small, frame_set.views.values())
        return {name: rgb for name, rgb in zip(frame_set.views, pictures, strict=True) if rgb is not None}


def _write_sheet(
    path: Path,
    frame_set: FrameSet,
    pictures: Mapping[str, UInt8Array],
    result: BevDetections,
    truth: Boxes3D | None,
    headings: Mapping[str, float],
    trails: Mapping[int, Float64Array],
) -> None:
    caption = result.model.description
    drawn = {
        name: draw_overlay(rgb, frame_set.views[name], result.boxes, truth, caption) for name, rgb in pictures.items()
    }
    bev = draw_bev(result.boxes, truth, views=frame_set.views, trails=trails, caption=caption)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg_bytes(contact_sheet(drawn, camera_rows(headings), bev)))


def _report_frame(
    frame_set: FrameSet, pictures: Mapping[str, UInt8Array], result: BevDetections, truth: Boxes3D | None
) -> ReportFrame:
    ages = {use.name: use.age_s for use in result.cameras if use.is_used}
    cameras = []
    for name, rgb in pictures.items():
        view = frame_set.views[name]
        height, width = rgb.shape[:2]
        view = dataclasses.replace(view, model=scaled_to(view.model, width, height, view.image.label))
        drawn = wireframes(view, result.boxes)
        labelled = () if truth is None else wireframes(view, truth)
        cameras.append(CameraPicture(name, jpeg_bytes(rgb), width, height, ages.get(name), drawn, labelled))
    notes = [] if result.temporal_state == "fused" else [f"memory not used: {result.temporal_state.replace('_', ' ')}"]
    return ReportFrame(
        stamp_ns=result.stamp_ns,
        cameras=tuple(cameras),
        detections=result.boxes,
        ground_truth=truth,
        stages_ms={name: seconds * 1e3 for name, seconds in result.timings_s.items()},
        notes=(*notes, *result.problems),
    )


def jpeg_bytes(rgb: UInt8Array) -> bytes:
    """Return a picture as it is put into a page."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return bytes(data)


def _page(
    source: FrameSource,
    results: Sequence[BevDetections],
    frames: Sequence[ReportFrame],
    headings: Mapping[str, float],
    figures: RunFigures | None,
    options: ReportOptions,
    stride: int,
) -> ReportData:
    model = results[0].model
    shown = "" if stride == 1 else f", every {stride}. shown"
    facts = {
        "model": model.description,
        "weights SHA-256": model.weights_sha256,
        **({"backend": model.backend} if model.backend else {}),
        "cameras": ", ".join(source.cameras),
        "box frame": results[0].boxes.frame_id,
        **options.facts,
        **versions(),
        "command": shlex.join(options.command),
    }
    return ReportData(
        title=options.title,
        frames=tuple(frames),
        camera_rows=camera_rows(headings),
        subtitle=f"{source.name}: {len(results)} frame sets{shown}",
        banner="" if model.is_trained else f"{model.description}: the boxes mean nothing",
        facts=facts,
        score_threshold=options.score_threshold,
        introduction=options.introduction,
        tables=() if figures is None else figures.tables(),
        headlines=() if figures is None else figures.headlines(),
        curves=() if figures is None else figures.precision_recall(),
    )


def versions() -> dict[str, str]:
    """Return the versions of package, Python and libraries, and the machine, as name -> text."""
    packages = []
    for name in ("numpy", "opencv-python-headless", "onnxruntime", "torch"):
        try:
            packages.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return {
        "versions": f"lift3d_ros {lift3d_ros.__version__}, Python {platform.python_version()}, {', '.join(packages)}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
