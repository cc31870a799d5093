"""Writes frame sets as a scene folder (`datasets/frames.py`): what label tools and the training read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from lift3d_ros.datasets.frames import Scene, SceneCamera, SceneFrame, SceneImage, write_meta
from lift3d_ros.errors import DatasetError, ImageError
from lift3d_ros.images.decode import decode
from lift3d_ros.replay.label_times import label_tolerance_s, moved_labels, nearest_stamp
from lift3d_ros.replay.source import FrameSource
from lift3d_ros.types import Boxes3D, CameraImage, FrameSet

logger = logging.getLogger(__name__)


def write_scene_folder(source: FrameSource, directory: Path, *, every: int = 1) -> int:
    """Write every `every`-th frame set of `source`, with its labels where there are some; return how many.

    JPEG and PNG pictures are copied as they are, others become PNG. Calibration and mounting are those of the first
    picture of each camera. LiDAR is not written; frame sets without a pose of the vehicle are left out and counted.

    Raises:
        DatasetError: the motion of the vehicle is not known, or no frame set can be used.
        ImageError: a picture cannot be decoded.
    """
    cameras: dict[str, SceneCamera] = {}
    frames: list[SceneFrame] = []
    unplaced = 0
    for frame_set in _every(source, every):
        if frame_set.ego is None:
            unplaced += 1
            continue
        index, T_world_base = len(frames), frame_set.ego.T_world_base
        images = {}
        for name, view in frame_set.views.items():
            cameras.setdefault(name, SceneCamera(view.model, view.T_base_cam))
            path = _write_picture(view.image, directory / "images" / name / f"{index:06d}")
            images[name] = SceneImage(path, view.capture_ns, np.asarray(T_world_base @ view.T_reference_capture))
        frames.append(SceneFrame(index, frame_set.stamp_ns, T_world_base, images, _labels_of(source, frame_set)))
    if not frames and unplaced:
        raise DatasetError(
            f"{source.name}: the motion of the vehicle is not known at any of {unplaced} frame sets; expected a pose "
            "for each. Record /tf or an odometry topic with the pictures"
        )
    if not frames:
        raise DatasetError(f"{source.name}: no frame set could be assembled; see the warnings above")
    if unplaced:
        logger.warning("%s: %d frame sets without a pose of the vehicle are left out", source.name, unplaced)
    known = {name: cameras[name] for name in source.cameras if name in cameras}
    first = next(iter(known.values())).model
    scene = Scene(directory.resolve().name, f"recording {source.name}", "", known, tuple(frames))
    write_meta(scene, directory, original_size=(first.width, first.height))
    return len(frames)


def _every(source: FrameSource, every: int) -> Iterator[FrameSet]:
    sets = tqdm(source.frame_sets(), total=source.expected_sets, desc="writing", unit="set", disable=None)
    for index, frame_set in enumerate(sets):
        if index % every == 0:
            yield frame_set


def _write_picture(image: CameraImage, stem: Path) -> Path:
    ending = {"jpeg": ".jpg"}.get(image.encoding, ".png")
    path = stem.with_suffix(ending)
    path.parent.mkdir(parents=True, exist_ok=True)
    if image.is_compressed:
        path.write_bytes(image.data.tobytes())
        return path
    is_encoded, png = cv2.imencode(".png", cv2.cvtColor(decode(image), cv2.COLOR_RGB2BGR))
    if not is_encoded:
        raise ImageError(f"{image.label}: the picture at {image.stamp_ns} ns cannot be written as PNG")
    path.write_bytes(png.tobytes())
    return path


def _labels_of(source: FrameSource, frame_set: FrameSet) -> Boxes3D | None:
    if not source.labels:
        return None
    label_ns = nearest_stamp(sorted(source.labels), frame_set.stamp_ns)
    if abs(label_ns - frame_set.stamp_ns) > label_tolerance_s(source.labels) * 1e9:
        return None
    return moved_labels(source.labels[label_ns], label_ns, frame_set.ego, frame_set.stamp_ns)
