"""Frame sets as JSON lines, without pixels: which pictures, calibrations and poses made each result.

A node records them, replay writes and reads them back, so that both can be compared on exactly the same
input. Numbers are written with all their digits; `source` of a picture, its topic or file, is for people.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lift3d_ros.errors import BagError, Lift3dError
from lift3d_ros.types import CameraImage, CameraModel, CameraView, EgoMotion, Float64Array, FrameSet

# A recorder may write pictures of one camera a little out of order.
_REORDERED_NS = 1_000_000_000


@dataclass(frozen=True, eq=False)
class RecordedView:
    """One camera of a recorded set."""

    stamp_ns: int
    frame_id: str
    model: CameraModel
    T_base_cam: Float64Array
    T_reference_capture: Float64Array
    offset_ns: int = 0


@dataclass(frozen=True, eq=False)
class RecordedSet:
    """A frame set without its pictures."""

    stamp_ns: int
    base_frame: str
    cameras: tuple[str, ...]
    missing: tuple[str, ...]
    ego: EgoMotion | None
    views: Mapping[str, RecordedView]

    def with_images(self, images: Mapping[str, CameraImage]) -> FrameSet:
        """Return the frame set with the pictures put back; `images` must hold every recorded camera."""
        views = {
            name: CameraView(images[name], view.model, view.T_base_cam, view.T_reference_capture, view.offset_ns)
            for name, view in self.views.items()
        }
        return FrameSet(self.stamp_ns, views, self.missing, self.base_frame, self.ego, cameras=self.cameras)


def frame_set_to_json(frame_set: FrameSet) -> str:
    """Return one line of JSON that describes `frame_set` without its pixels."""
    ego = frame_set.ego
    document = {
        "stamp_ns": frame_set.stamp_ns,
        "base_frame": frame_set.base_frame,
        "cameras": list(frame_set.cameras),
        "missing": list(frame_set.missing),
        "ego": None if ego is None else _ego_to_json(ego),
        "views": {name: _view_to_json(view) for name, view in frame_set.views.items()},
    }
    return json.dumps(document)


def _view_to_json(view: CameraView) -> dict[str, Any]:
    return {
        "source": view.image.source,
        "stamp_ns": view.image.stamp_ns,
        "frame_id": view.image.frame_id,
        "width": view.model.width,
        "height": view.model.height,
        "intrinsics": view.model.intrinsics.tolist(),
        "distortion_model": view.model.distortion_model,
        "distortion": view.model.distortion.tolist(),
        "T_base_cam": view.T_base_cam.tolist(),
        "T_reference_capture": view.T_reference_capture.tolist(),
        "offset_ns": view.offset_ns,
    }


def read_sets(path: Path) -> Iterator[RecordedSet]:
    """Read recorded sets in file order.

    Raises:
        Lift3dError: the file is missing, or a line is not a recorded set; names file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Lift3dError(f"{path}: cannot be read ({error}); give the file that a node wrote (record_sets)") from None
    for number, line in enumerate(lines, start=1):
        try:
            yield _set_from_json(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Lift3dError(
                f"{path}, line {number}: not a recorded frame set ({type(error).__name__}: {error}); "
                "expected the JSON lines that a node writes (record_sets) or replay's sets.jsonl"
            ) from None


def _set_from_json(document: Mapping[str, Any]) -> RecordedSet:
    stamp_ns, ego = int(document["stamp_ns"]), document["ego"]
    return RecordedSet(
        stamp_ns=stamp_ns,
        base_frame=document["base_frame"],
        cameras=tuple(document["cameras"]),
        missing=tuple(document["missing"]),
        ego=None if ego is None else _ego_from_json(stamp_ns, ego),
        views={name: _view_from_json(name, view) for name, view in document["views"].items()},
    )


def _ego_to_json(ego: EgoMotion) -> dict[str, Any]:
    velocities = {"linear_velocity": ego.linear_velocity, "angular_velocity": ego.angular_velocity}
    known = {name: value.tolist() for name, value in velocities.items() if value is not None}
    return {"world_frame": ego.world_frame, "T_world_base": ego.T_world_base.tolist(), **known}


def _ego_from_json(stamp_ns: int, document: Mapping[str, Any]) -> EgoMotion:
    known = {name: np.array(document[name]) for name in ("linear_velocity", "angular_velocity") if name in document}
    return EgoMotion(stamp_ns, np.array(document["T_world_base"]), document["world_frame"], **known)


def _view_from_json(name: str, document: Mapping[str, Any]) -> RecordedView:
    model = CameraModel(
        name=name,
        frame_id=document["frame_id"],
        width=document["width"],
        height=document["height"],
        intrinsics=np.array(document["intrinsics"]),
        distortion_model=document["distortion_model"],
        distortion=np.array(document["distortion"]),
    )
    return RecordedView(
        stamp_ns=int(document["stamp_ns"]),
        frame_id=document["frame_id"],
        model=model,
        T_base_cam=np.array(document["T_base_cam"]),
        T_reference_capture=np.array(document["T_reference_capture"]),
        offset_ns=int(document.get("offset_ns", 0)),
    )


def fill_sets(wanted: Sequence[RecordedSet], images: Iterable[CameraImage], place: str) -> Iterator[FrameSet]:
    """Yield the sets of `wanted` in their order, filled with the pictures in order of recording.

    Raises:
        BagError: a picture is not there: its camera has gone on without it, or `images` end; names `place`.
    """
    needed = Counter(key for item in wanted for key in _keys_of(item))
    found: dict[tuple[str, int], CameraImage] = {}
    newest_ns: dict[str, int] = {}  # by camera, since the set at `position` is waited for
    position = 0
    for image in images if wanted else ():
        key = (image.camera, image.stamp_ns)
        newest_ns[image.camera] = image.stamp_ns
        if needed[key] > 0:
            found[key] = image
        while all(key in found for key in _keys_of(wanted[position])):
            keys = _keys_of(wanted[position])
            needed.subtract(keys)
            yield wanted[position].with_images({name: found.pop((name, stamp_ns)) for name, stamp_ns in keys})
            position += 1
            newest_ns.clear()
            if position == len(wanted):
                return
        # Where the sets go back in time the recording does so too, but maybe later: nothing can be told yet.
        is_going_back = position > 0 and wanted[position].stamp_ns <= wanted[position - 1].stamp_ns
        lacking = [key for key in _keys_of(wanted[position]) if key not in found]
        if not is_going_back and any(newest_ns.get(name, ns) > ns + _REORDERED_NS for name, ns in lacking):
            break
    if position < len(wanted):
        lacking = [key for key in _keys_of(wanted[position]) if key not in found]
        listed = ", ".join(f"'{name}' at {stamp_ns} ns" for name, stamp_ns in lacking)
        raise BagError(
            f"{place}: the set at {wanted[position].stamp_ns} ns needs pictures that are not in the recording: "
            f"{listed}; give the recording that was played when the sets were recorded"
        )


def _keys_of(item: RecordedSet) -> list[tuple[str, int]]:
    return [(name, view.stamp_ns) for name, view in item.views.items()]
