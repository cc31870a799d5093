"""Pictures of reconstructed objects: the mesh from any side, a sheet of input, views and mesh, a film of a turn."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import ConfigError, Lift3dError
from lift3d_ros.geometry.depth_buffer import draw_depth
from lift3d_ros.geometry.rigid import invert, transform_points
from lift3d_ros.geometry.triangles import vertex_normals
from lift3d_ros.types import Float64Array, UInt8Array
from lift3d_ros.viz.canvas import DARK, LIGHT, draw_caption, draw_text, place_text

FILM_ENDINGS = (".mp4", ".gif")
FRAMES_PER_SECOND = 24

_GUESSED = np.array([110.0, 130.0, 230.0])
_CLAY = np.array([205.0, 205.0, 200.0])
# From the camera's upper left, so that all that is seen has some light.
_LIGHT_AT = np.array([-0.4, -0.6, -1.0]) / np.linalg.norm([-0.4, -0.6, -1.0])
_GAP_PX = 6
_CAPTION_PX = 34


def mesh_picture(
    vertices: Float64Array,
    faces: NDArray[np.int64],
    colors: UInt8Array,
    T_object_camera: Float64Array,
    intrinsics: Float64Array,
    side: int,
    is_seen: NDArray[np.bool_] | None = None,
) -> UInt8Array:
    """Return a shaded picture (side, side, 3) of a mesh over white.

    Args:
        colors: (V, 3) sRGB.
        intrinsics: (3, 3) in units of the side.
        is_seen: (V,) paints the mesh grey, and blue where it is guessed, in place of its colours.
    """
    picture: UInt8Array = np.full((side, side, 3), 255, dtype=np.uint8)
    points = transform_points(invert(T_object_camera), vertices)
    buffer = draw_depth(points, faces, intrinsics, (side, side))
    hit = buffer.is_hit
    if not hit.any():
        return picture
    corners, weights = faces[buffer.face[hit]], buffer.weights[hit]
    normals = np.einsum("pk,pki->pi", weights, vertex_normals(points, faces)[corners])
    light = normals @ _LIGHT_AT / np.maximum(np.linalg.norm(normals, axis=1), 1e-9)
    paint = colors.astype(np.float64)
    if is_seen is not None:
        paint = np.where(is_seen[:, None], _CLAY, _GUESSED)
    color = np.einsum("pk,pki->pi", weights, paint[corners])
    ambient = 0.35 if is_seen is not None else 0.6
    shade = ambient + (1.0 - ambient) * np.clip(light, 0.0, 1.0)
    picture[hit] = np.clip(np.rint(color * shade[:, None]), 0, 255).astype(np.uint8)
    return picture


def object_sheet(
    pictures: Sequence[tuple[str, UInt8Array]], caption: str, columns: int = 4, cell: int = 256
) -> UInt8Array:
    """Return square pictures with their names in a grid, under a caption.

    Args:
        pictures: (name, (S, S, 3)) in reading order.
    """
    rows = -(-len(pictures) // columns)
    step = cell + _GAP_PX
    strip = _CAPTION_PX * max(1, len(caption.splitlines()))
    sheet: UInt8Array = np.full((strip + rows * step - _GAP_PX, columns * step - _GAP_PX, 3), DARK, dtype=np.uint8)
    for number, (name, picture) in enumerate(pictures):
        top, left = strip + (number // columns) * step, (number % columns) * step
        shrinks = picture.shape[0] > cell
        small = cv2.resize(picture, (cell, cell), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        draw_text(small, place_text(small, name, np.array([0.0, 14.0]), 8.0), LIGHT)
        sheet[top : top + cell, left : left + cell] = small
    draw_caption(sheet, caption, at_top=True)
    return sheet


def check_film_path(path: Path) -> None:
    """Refuse a film that could not be written, before much work is done.

    Raises:
        ConfigError: its ending is not known.
        Lift3dError: a package that writes it is not installed.
    """
    if path.suffix.lower() not in FILM_ENDINGS:
        raise ConfigError(f"{path}: expected a film that ends in {' or '.join(FILM_ENDINGS)}")
    if path.suffix.lower() == ".gif" and importlib.util.find_spec("PIL") is None:
        raise Lift3dError(f"{path}: writing it needs Pillow; 'pip install Pillow', or write .mp4")


def write_film(path: Path, frames: Sequence[UInt8Array], frames_per_second: int = FRAMES_PER_SECOND) -> None:
    """Write pictures of one size (H, W, 3) as a film that repeats where its format can.

    Raises:
        ConfigError, Lift3dError: as :func:`check_film_path`, or OpenCV cannot write films here.
    """
    check_film_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".gif":
        from PIL import Image

        first, *others = [Image.fromarray(frame) for frame in frames]
        first.save(path, save_all=True, append_images=others, duration=round(1000 / frames_per_second), loop=0)
        return
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), frames_per_second, (width, height))
    if not writer.isOpened():
        raise Lift3dError(f"{path}: OpenCV has no encoder for MP4 here; write .gif")
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
    writer.release()
