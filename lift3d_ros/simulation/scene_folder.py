"""Writes simulated frames as a scene folder (`datasets.frames`)."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from lift3d_ros.datasets.frames import Scene, SceneFrame, SceneImage, write_meta
from lift3d_ros.simulation.frame import SimulatedFrame
from lift3d_ros.types import UInt8Array

LICENCE = "Apache-2.0"


def write_scene_folder(
    directory: Path, frames: Iterable[SimulatedFrame], name: str, description: str, quality: int
) -> Iterator[SimulatedFrame]:
    """Write a scene frame by frame, and yield each frame when it is written.

    The folder has its name only once it is whole; until then it is called ``.<name>.part``. A folder of that name that
    exists is replaced.

    Args:
        quality: of the JPEG files, 1..100.
    """
    draft = directory.with_name(f".{directory.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    written, cameras = [], None
    for frame in frames:
        written.append(_write_frame(draft, frame, quality))
        cameras = frame.cameras
        yield frame
    if cameras is None:
        raise ValueError(f"scene '{name}' has no frames")
    first = next(iter(cameras.values())).model
    write_meta(
        Scene(name, description, LICENCE, cameras, tuple(written)), draft, original_size=(first.width, first.height)
    )
    shutil.rmtree(directory, ignore_errors=True)
    draft.rename(directory)


def encode_jpeg(rgb: UInt8Array, quality: int) -> UInt8Array:
    """Return the JPEG file of a picture; the same bytes for the same picture."""
    parameters = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    return np.asarray(cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), parameters)[1])


def _write_frame(directory: Path, frame: SimulatedFrame, quality: int) -> SceneFrame:
    images = {}
    for name, view in frame.views.items():
        path = directory / "images" / name / f"{frame.index:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_jpeg(view.rgb, quality).tobytes())
        images[name] = SceneImage(path, view.stamp_ns, view.T_world_base)
    points_path = None
    if len(frame.points):
        points_path = directory / "lidar" / f"{frame.index:04d}.npz"
        points_path.parent.mkdir(exist_ok=True)
        xyz = np.round(frame.points, 2).astype(np.float32)
        np.savez_compressed(points_path, xyz=xyz, intensity=frame.intensities)
    return SceneFrame(
        frame.index, frame.stamp_ns, frame.T_world_base, images, frame.boxes, points_path, frame.visibility,
        frame.num_points,
    )  # fmt: skip
