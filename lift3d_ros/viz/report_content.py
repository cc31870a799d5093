"""What a report page shows of a run: frames with pictures and boxes, paths seen from above, tables and curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lift3d_ros.geometry.rotations import wrap_angle
from lift3d_ros.types import Boxes3D, Float64Array
from lift3d_ros.viz.wireframe import Wireframe


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


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The path of one object seen from above, in a frame that stands still.

    Args:
        track: id of the object, -1 where it has none.
        stamps_ns: (N,) int64, rising.
        positions: (N, 2) float64, metres.
        score: the highest score of its boxes; 1 for labels.
    """

    class_name: str
    track: int
    stamps_ns: tuple[int, ...]
    positions: Float64Array
    score: float = 1.0


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Where vehicle and objects went during a run; x is where the vehicle headed at its first frame, y its left.

    Args:
        stamps_ns: (N,) stamps at which the pose of the vehicle is known.
        ego_poses: (N, 3) float64 x, y in metres and yaw in radians of the vehicle.
        detections, ground_truth: one path for each track.
    """

    stamps_ns: tuple[int, ...]
    ego_poses: Float64Array
    detections: tuple[Trajectory, ...] = ()
    ground_truth: tuple[Trajectory, ...] = ()


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """The curve of one class at one matching distance; precision is 0 beyond the recall that is reached."""

    class_name: str
    distance_m: float
    recall: Float64Array
    precision: Float64Array


@dataclass(frozen=True)
class ReportTable:
    """A table of finished texts, for example metrics; `note` says what to know when reading it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Headline:
    """One figure that is shown large; `meaning` explains it in a few words."""

    name: str
    value: str
    meaning: str = ""


@dataclass(frozen=True, eq=False)
class ReportData:
    """Everything that is shown of one run: a page, or one tab of a page.

    Args:
        banner: warning that stays in view, for example ``untrained weights: boxes mean nothing``.
        introduction: paragraphs to read before looking at the run, in plain text.
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
    introduction: tuple[str, ...] = ()
    headlines: tuple[Headline, ...] = ()
    curves: tuple[PrecisionRecall, ...] = ()
    trajectories: Trajectories | None = None


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
