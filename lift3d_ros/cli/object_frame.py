"""Reads what `lift3d reconstruct` is given: picture, mask, box, camera and depth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lift3d_ros.models.lrm.object_image import PixelBox
    from lift3d_ros.pipelines.object_reconstruction import ObjectFrame
    from lift3d_ros.types import CameraModel, Float32Array


def frame_of(args: argparse.Namespace) -> ObjectFrame:
    """Return what the options say of the picture and of the object in it.

    Raises:
        ConfigError, ImageError: an option or a file that cannot be used; names it.
    """
    from lift3d_ros.geometry.camera_file import load_camera_option
    from lift3d_ros.images.preprocess import scaled_to
    from lift3d_ros.pipelines.object_placement import check_depth_shape
    from lift3d_ros.pipelines.object_reconstruction import ObjectFrame

    picture = _read(args.image, "IMAGE")
    mask = None if args.mask is None else _read(args.mask, "--mask")
    if mask is not None and mask.ndim == 3:
        mask = (
            mask[..., 3]
            if mask.shape[2] == 4 and mask[..., 3].min() < mask[..., 3].max()
            else mask[..., :3].max(axis=2)
        )
    camera: CameraModel | None = None
    depth: Float32Array | None = None
    if args.camera is not None:
        camera = scaled_to(load_camera_option(args.camera), picture.shape[1], picture.shape[0], "IMAGE")
        depth = _read_depth(args.depth)
        check_depth_shape(depth, camera, f"--depth {args.depth}:")
    return ObjectFrame(
        picture,
        mask,
        None if args.box is None else parse_box(args.box),
        "box" if args.whole_box else "rembg" if args.rembg else "grabcut",
        name=str(args.image),
        camera=camera,
        depth=depth,
    )


def parse_box(text: str) -> PixelBox:
    """Return the box of an option ``--box L,T,R,B``; raises ConfigError for another text."""
    from lift3d_ros.errors import ConfigError
    from lift3d_ros.models.lrm.object_image import PixelBox

    try:
        left, top, right, bottom = (round(float(part)) for part in text.split(","))
    except (ValueError, OverflowError):
        raise ConfigError(
            f"--box {text}: expected four numbers, left, top, right and bottom in pixels, as in --box 210,80,390,320"
        ) from None
    return PixelBox(top, left, bottom, right)


def _read_depth(path: Path) -> Float32Array:
    import numpy as np

    from lift3d_ros.errors import ImageError

    values = _read(path, "--depth")
    if values.ndim != 2 or values.dtype != np.uint16:
        raise ImageError(
            f"--depth {path}: is {values.dtype} {values.shape}; expected a 16-bit PNG of one channel, in mm"
        )
    return np.asarray(values * np.float32(1e-3), dtype=np.float32)


def _read(path: Path, option: str) -> Any:
    """Return a picture with its own type and channels, (H, W) or (H, W, C) in the order RGB or RGBA, upright.

    A photograph is turned as its camera noted; other files are taken as they are stored.
    """
    import cv2
    import numpy as np

    from lift3d_ros.errors import ImageError
    from lift3d_ros.images.compressed import MAX_PIXELS, read_header
    from lift3d_ros.types import CameraImage

    try:
        data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise ImageError(f"{option} {path}: cannot be read ({error.strerror}); give an existing picture") from None
    is_jpeg, is_png = data[:2].tobytes() == b"\xff\xd8", data[:4].tobytes() == b"\x89PNG"
    if is_jpeg or is_png:
        header = read_header(CameraImage("", 0, "", "jpeg" if is_jpeg else "png", data, source=str(path)))
        if not header.is_complete:
            raise ImageError(f"{option} {path}: the {header.kind} picture is cut short; get the file again")
        if header.width * header.height > MAX_PIXELS:
            size = f"{header.width}x{header.height}"
            raise ImageError(f"{option} {path}: has {size} px; expected at most {MAX_PIXELS}. Shrink it first")
    try:
        stored = cv2.imdecode(data, cv2.IMREAD_COLOR if is_jpeg else cv2.IMREAD_UNCHANGED) if data.size else None
    except cv2.error:  # more pixels than OpenCV takes
        stored = None
    if stored is None:
        raise ImageError(f"{option} {path}: is no picture that can be decoded; give a JPEG or PNG file")
    if stored.ndim == 2:
        return stored
    order = [2, 1, 0, 3][: stored.shape[2]]
    return np.ascontiguousarray(stored[:, :, order])
