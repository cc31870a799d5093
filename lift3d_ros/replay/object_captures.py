"""Cuts objects out of a recording as posed pictures, one folder with ``transforms.json`` for each: data to train on.

All transforms are read before the pictures, so that each camera is where it was when its picture was taken, between
the transforms before and after it.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lift3d_ros.bags.discover import TF_MESSAGE, TF_MESSAGE_ROS1
from lift3d_ros.bags.messages import add_transforms
from lift3d_ros.bags.reader import BagReader
from lift3d_ros.datasets.object_captures import TRANSFORMS, PosedPicture, write_picture, write_transforms
from lift3d_ros.errors import BagError, CalibrationError, DatasetError, ImageError, TransformError
from lift3d_ros.geometry.rigid import invert, make_transform
from lift3d_ros.geometry.rotations import yaw_matrix
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.images.rectify import Rectification
from lift3d_ros.models.lrm.object_image import foreground_box
from lift3d_ros.pipelines.object_foreground import BoxCutting, find_object
from lift3d_ros.pipelines.object_sets import ObjectRequest
from lift3d_ros.types import CameraModel, Float64Array, UInt8Array

PICTURES = "rgba"

_WHOLE_RECORDING_S = 1e7
_LEAST_PICTURES = 2
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CaptureSettings:
    """What becomes a capture.

    Args:
        object_frame: transform frame that is fixed to the objects: cameras are told in it. Empty: the 3D box of each
            picture is the frame of its object.
        track_id: only the object with this number; -1: all.
        every: only every so many pictures of an object.
        box_cutting: how an object without a mask is told from what is around it in its box.
    """

    object_frame: str = ""
    track_id: int = -1
    every: int = 1
    box_cutting: BoxCutting = "grabcut"


@dataclass(frozen=True)
class WrittenCaptures:
    """What was written: folder -> number of pictures, and how many pictures were left out, by reason."""

    pictures: dict[Path, int]
    left_out: Counter[str]


def read_all_transforms(reader: BagReader) -> TransformTree:
    """Return every transform of a recording, however long it is."""
    tree, reported = TransformTree(_WHOLE_RECORDING_S), set[tuple[str, str]]()
    topics = [topic.name for topic in reader.topics_of(TF_MESSAGE, TF_MESSAGE_ROS1)]
    on_problem = partial(logger.warning, "%s")
    for message in reader.messages(topics) if topics else ():
        is_static = message.topic.endswith("tf_static")
        add_transforms(
            tree, message.message, message.topic, is_static=is_static, on_problem=on_problem, reported=reported
        )
    return tree


def write_captures(
    requests: Iterator[ObjectRequest],
    tree: TransformTree,
    out: Path,
    settings: CaptureSettings,
    on_picture: Callable[[ObjectRequest], object] = lambda request: None,
) -> WrittenCaptures:
    """Write the objects of all requests; an object needs two pictures at least.

    Args:
        tree: with the transforms of the whole recording.
        out: receives one folder for each object, called after its label and track.

    Raises:
        BagError: no object has two pictures that can be used; says why they could not.
        DatasetError: a folder holds a capture already, or cannot be written.
    """
    counts, left_out = Counter[str](), Counter[str]()
    captures: dict[Path, list[PosedPicture]] = {}
    examples: dict[str, str] = {}
    for request in requests:
        if settings.track_id not in (-1, request.track_id):
            continue
        folder = out / _NOT_IN_NAMES.sub("_", "_".join(filter(None, (request.label, request.track))))
        counts[str(folder)] += 1
        if (counts[str(folder)] - 1) % settings.every:
            continue
        if folder not in captures and (folder / TRANSFORMS).exists():
            raise DatasetError(f"{folder}: holds a capture already; remove it, or name another folder")
        on_picture(request)
        try:
            T_object_camera = _pose(request, tree, settings.object_frame)
            rgba, intrinsics = _cut(request, settings.box_cutting)
        except _LeftOutError as error:
            left_out[str(error)] += 1
        except (ImageError, CalibrationError, TransformError) as error:
            reason = next(text for kind, text in _REASONS.items() if isinstance(error, kind))
            left_out[reason] += 1
            examples.setdefault(reason, str(error))
        else:
            posed = captures.setdefault(folder, [])
            posed.append(write_picture(folder / PICTURES / f"{len(posed):04}.png", rgba, T_object_camera, intrinsics))
    for reason, example in examples.items():
        logger.warning("%d pictures are left out, %s; the first: %s", left_out[reason], reason, example)
    written = {folder: pictures for folder, pictures in captures.items() if len(pictures) >= _LEAST_PICTURES}
    for folder, pictures in captures.items():
        if folder not in written:
            logger.warning("%s: %d picture, which is too few; it gets no %s", folder, len(pictures), TRANSFORMS)
    if not written:
        reasons = "; ".join(f"{count} {reason}" for reason, count in left_out.items()) or "there are none"
        raise BagError(
            f"{out}: no object has {_LEAST_PICTURES} pictures that can be used ({reasons}); see the warnings above, "
            "and name topics and the frame of the object"
        )
    for folder, pictures in written.items():
        write_transforms(folder, pictures)
    return WrittenCaptures({folder: len(pictures) for folder, pictures in written.items()}, left_out)


class _LeftOutError(Exception):
    """A picture that is of no use, by a reason that needs no further word."""


_REASONS: dict[type[Exception], str] = {
    ImageError: "as the object cannot be cut out",
    CalibrationError: "as the calibration cannot be used",
    TransformError: "as the place of the camera is not known",
}


def _pose(request: ObjectRequest, tree: TransformTree, object_frame: str) -> Float64Array:
    """Return T_object_camera at the time of the picture."""
    camera_frame, stamp_ns = request.image.frame_id, request.stamp_ns
    if object_frame:
        return tree.lookup(object_frame, camera_frame, stamp_ns)
    box = request.box_3d
    if box is None:
        raise _LeftOutError("without a 3D box or a frame of the object")
    T_box_camera = tree.lookup(box.frame_id, camera_frame, stamp_ns)
    T_box_object = make_transform(yaw_matrix(float(box.yaws[0])), box.centers[0])
    return np.asarray(invert(T_box_object) @ T_box_camera)


def _cut(request: ObjectRequest, box_cutting: BoxCutting) -> tuple[UInt8Array, Float64Array]:
    """Return the object's part of an undistorted picture (h, w, 4), and the intrinsics of that part."""
    frame, problems = request.frame(box_cutting)
    camera = frame.camera
    if camera is None:
        raise CalibrationError(problems[0] if problems else "no CameraInfo in the frame of the pictures; record one")
    picture = np.asarray(frame.picture)
    found = find_object(picture, mask=frame.mask, box=frame.box, box_cutting=box_cutting, name=frame.name)
    if found.is_cut_off:
        raise _LeftOutError("in which the object touches the border")
    box = found.box
    if not camera.is_distorted and camera.intrinsics[0, 1] == 0.0:
        return found.rgba, _shifted(camera.intrinsics, box.left, box.top)
    whole = np.dstack([picture[..., :3], np.zeros(picture.shape[:2], np.uint8)])
    whole[box.top : box.bottom, box.left : box.right] = found.rgba
    rectified, intrinsics = _rectified(whole, camera)
    kept = foreground_box(rectified[..., 3])
    if kept is None:
        raise _LeftOutError("in which the object is too far from the optical axis")
    cut = rectified[kept.top : kept.bottom, kept.left : kept.right]
    return cut, _shifted(intrinsics, kept.left, kept.top)


def _rectified(rgba: UInt8Array, camera: CameraModel) -> tuple[UInt8Array, Float64Array]:
    rectification = Rectification.fit(camera, camera.width, camera.height, 0.0)
    return rectification.apply(rgba), rectification.intrinsics


def _shifted(intrinsics: Float64Array, left: int, top: int) -> Float64Array:
    moved = np.array(intrinsics)
    moved[:2, 2] -= (left, top)
    return moved
