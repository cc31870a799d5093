"""Turns the bytes of a picture, in any usual ROS encoding, into an RGB or a depth array.

Encoding names are those of `sensor_msgs/image_encodings`; ``jpeg`` and ``png`` stand for compressed data.
Rows may be padded (`step`); 16-bit data may be big-endian. Of 16-bit colours the upper eight bits are kept, as
the encoding promises 16 significant bits: a 10- or 12-bit camera has to publish its values shifted up.
YUV is BT.601 with limited range, as camera drivers deliver it.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from lift3d_ros.errors import ImageError, nearest_name_hint
from lift3d_ros.images.compressed import MAX_PIXELS, Reduction, decode_compressed, read_header
from lift3d_ros.types import CameraImage, Float32Array, UInt8Array

# encoding -> (numpy type, channels, OpenCV conversion to RGB or None). A mosaic is named after its first two
# rows' first pixels; OpenCV names it after the second row's second and third, hence the shifted constants.
_PACKED: dict[str, tuple[str, int, int | None]] = {
    "rgb8": ("u1", 3, None),
    "bgr8": ("u1", 3, cv2.COLOR_BGR2RGB),
    "rgba8": ("u1", 4, cv2.COLOR_RGBA2RGB),
    "bgra8": ("u1", 4, cv2.COLOR_BGRA2RGB),
    "mono8": ("u1", 1, cv2.COLOR_GRAY2RGB),
    "rgb16": ("u2", 3, None),
    "bgr16": ("u2", 3, cv2.COLOR_BGR2RGB),
    "rgba16": ("u2", 4, cv2.COLOR_RGBA2RGB),
    "bgra16": ("u2", 4, cv2.COLOR_BGRA2RGB),
    "mono16": ("u2", 1, cv2.COLOR_GRAY2RGB),
    "8UC1": ("u1", 1, cv2.COLOR_GRAY2RGB),
    "8UC3": ("u1", 3, cv2.COLOR_BGR2RGB),
    "8UC4": ("u1", 4, cv2.COLOR_BGRA2RGB),
    "bayer_rggb8": ("u1", 1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": ("u1", 1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": ("u1", 1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": ("u1", 1, cv2.COLOR_BayerGB2RGB),
    "bayer_rggb16": ("u2", 1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr16": ("u2", 1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg16": ("u2", 1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg16": ("u2", 1, cv2.COLOR_BayerGB2RGB),
    "yuv422": ("u1", 2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": ("u1", 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": ("u1", 2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": ("u1", 2, cv2.COLOR_YUV2RGB_YUY2),
}
_SEMI_PLANAR = {"nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21}
_DEPTH = {"16UC1": ("u2", 1e-3), "mono16": ("u2", 1e-3), "32FC1": ("f4", 1.0)}
_COMPRESSED = ("jpeg", "png")
COLOUR_ENCODINGS = (*_PACKED, *_SEMI_PLANAR, *_COMPRESSED)
DEPTH_ENCODINGS = tuple(_DEPTH)


def decode(image: CameraImage, reduction: Reduction = 1) -> UInt8Array:
    """Return the picture as (H, W, 3) uint8 RGB; it may share memory with ``image.data``, so do not change it.

    Args:
        reduction: decode a JPEG at 1/2, 1/4 or 1/8 of its size; other encodings ignore it. The pixels differ
            from decoding and then resizing, so use it only where training did.

    Raises:
        ImageError: unknown encoding, wrong step or length, damaged data, or a depth picture.
    """
    if image.is_compressed:
        return decode_compressed(image, reduction)
    if image.encoding in _SEMI_PLANAR:
        return _decode_semi_planar(image)
    if image.encoding in _PACKED:
        return _decode_packed(image)
    if image.encoding in _DEPTH:
        raise ImageError(
            f"{image.label}: encoding '{image.encoding}' is a depth picture; expected colour. Name the colour topic"
        )
    raise ImageError(
        f"{image.label}: encoding '{image.encoding}' is not known"
        f"{nearest_name_hint(image.encoding, COLOUR_ENCODINGS)} (known: {', '.join(COLOUR_ENCODINGS)}); "
        "convert the topic upstream"
    )


def decode_depth(image: CameraImage) -> Float32Array:
    """Return a depth picture as (H, W) float32 metres; 0 where there was no measurement.

    Raises:
        ImageError: not a depth encoding, or wrong step or length.
    """
    if image.encoding not in _DEPTH:
        raise ImageError(
            f"{image.label}: encoding '{image.encoding}' is not a depth picture; expected {' or '.join(_DEPTH)}. "
            "Name the depth topic"
        )
    dtype, scale = _DEPTH[image.encoding]
    metres = _rows(image, dtype, 1).astype(np.float32) * np.float32(scale)
    return np.asarray(np.nan_to_num(metres, nan=0.0, posinf=0.0, neginf=0.0))


def image_size(image: CameraImage) -> tuple[int, int]:
    """Return (width, height) without decoding the pixels.

    Raises:
        ImageError: compressed data whose header is damaged.
    """
    if not image.is_compressed:
        return image.width, image.height
    header = read_header(image)
    return header.width, header.height


def _decode_packed(image: CameraImage) -> UInt8Array:
    dtype, channels, conversion = _PACKED[image.encoding]
    if channels == 2 and image.width % 2:
        raise ImageError(f"{image.label}: {image.encoding} picture of width {image.width}; expected an even width")
    if image.encoding.startswith("bayer") and min(image.width, image.height) < 4:
        raise ImageError(
            f"{image.label}: {image.encoding} picture of {image.width}x{image.height}; expected at least 4x4 pixels"
        )
    pixels = _rows(image, dtype, channels)
    if dtype == "u2":
        pixels = (pixels >> 8).astype(np.uint8)
    return np.asarray(pixels if conversion is None else cv2.cvtColor(pixels, conversion))


def _decode_semi_planar(image: CameraImage) -> UInt8Array:
    """Decode NV12 and NV21: `height` luma rows, then half as many rows of interleaved chroma with the same step."""
    if image.width % 2 or image.height % 2:
        raise ImageError(
            f"{image.label}: {image.encoding} picture of {image.width}x{image.height}; expected even width and height"
        )
    rows = image.height * 3 // 2
    _check_layout(image, image.width, rows)
    planes = _without_padding(image, image.width, rows)
    return np.asarray(cv2.cvtColor(planes, _SEMI_PLANAR[image.encoding]))


def _rows(image: CameraImage, dtype: str, channels: int) -> Any:
    """Return the pixels (H, W[, channels]) in native byte order and without the padding of their rows."""
    item = np.dtype(dtype)
    row_bytes = image.width * channels * item.itemsize
    _check_layout(image, row_bytes, image.height)
    stored = item.newbyteorder(">" if image.is_bigendian else "<")
    pixels = _without_padding(image, row_bytes, image.height).view(stored).astype(item, copy=False)
    return pixels.reshape((image.height, image.width) if channels == 1 else (image.height, image.width, channels))


def _without_padding(image: CameraImage, row_bytes: int, rows: int) -> UInt8Array:
    """Return the used bytes of each row, (rows, row_bytes); a view where no row is padded."""
    used = np.ascontiguousarray(image.data[: (rows - 1) * image.step + row_bytes])
    if image.step == row_bytes:
        return used.reshape(rows, row_bytes)
    # The last row may lack its padding, so a reshape does not do.
    strided = np.lib.stride_tricks.as_strided(used, (rows, row_bytes), (image.step, 1), writeable=False)
    return np.ascontiguousarray(strided)


def _check_layout(image: CameraImage, row_bytes: int, rows: int) -> None:
    where = f"{image.label}: {image.encoding} picture of {image.width}x{image.height}"
    if image.width <= 0 or image.height <= 0 or image.width * image.height > MAX_PIXELS:
        raise ImageError(
            f"{where}; expected a size between 1x1 and {MAX_PIXELS} pixels. Check width and height of the publisher"
        )
    if image.step < row_bytes:
        raise ImageError(
            f"{where} has step {image.step}; expected at least {row_bytes} bytes for each row. "
            "Check width, encoding and step of the publisher"
        )
    if image.data.size < (rows - 1) * image.step + row_bytes:
        raise ImageError(
            f"{where} has {image.data.size} bytes; expected {rows * image.step} ({rows} rows of {image.step}). "
            "The message is truncated or its height is wrong"
        )
