"""Turns the bytes of a picture, in any usual ROS encoding, into an RGB or a depth array.

Encoding names are those of `sensor_msgs/image_encodings`; ``jpeg`` and ``png`` stand for compressed data.
Rows may be padded (`step`); 16-bit data may be big-endian. 16-bit pictures keep their upper eight bits.
"""

from __future__ import annotations

import struct
from typing import Any, Literal

import cv2
import numpy as np

from lift3d_ros.errors import ImageError, nearest_name_hint
from lift3d_ros.types import CameraImage, Float32Array, UInt8Array

MAX_PIXELS = 100_000_000

# encoding -> (numpy type, channels, OpenCV conversion to RGB or None). A mosaic is named after its first two
# rows' first pixels; OpenCV names it after the second row's second and third, hence the shifted constants.
_PACKED: dict[str, tuple[str, int, int | None]] = {
    "rgb8": ("u1", 3, None),
    "bgr8": ("u1", 3, cv2.COLOR_BGR2RGB),
    "rgba8": ("u1", 4, cv2.COLOR_RGBA2RGB),
    "bgra8": ("u1", 4, cv2.COLOR_BGRA2RGB),
    "mono8": ("u1", 1, cv2.COLOR_GRAY2RGB),
    "mono16": ("u2", 1, cv2.COLOR_GRAY2RGB),
    "rgb16": ("u2", 3, None),
    "bgr16": ("u2", 3, cv2.COLOR_BGR2RGB),
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

_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
Reduction = Literal[1, 2, 4, 8]


def decode(image: CameraImage, reduction: Reduction = 1) -> UInt8Array:
    """Return the picture as (H, W, 3) uint8 RGB.

    Args:
        reduction: decode a JPEG at 1/2, 1/4 or 1/8 of its size. The pixels differ from decoding and then
            resizing, so use it only where training did.

    Raises:
        ImageError: unknown encoding, wrong step or length, damaged data, or a depth picture.
    """
    if image.is_compressed:
        return _decode_compressed(image, reduction)
    if image.encoding in _SEMI_PLANAR:
        return _decode_semi_planar(image)
    if image.encoding in _PACKED:
        dtype, channels, conversion = _PACKED[image.encoding]
        pixels = _rows(image, dtype, channels)
        if dtype == "u2":
            pixels = (pixels >> 8).astype(np.uint8)
        if conversion is None:
            return np.ascontiguousarray(pixels)
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), conversion))
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
            f"{image.label}: encoding '{image.encoding}' is not a depth picture; expected {' or '.join(_DEPTH)}"
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
    data = image.data
    size = _png_size(data) if image.encoding == "png" else _jpeg_size(data)
    if size is None:
        found = bytes(data[:8].tobytes()).hex(" ") or "nothing"
        raise ImageError(
            f"{image.label}: not a readable {image.encoding} picture ({data.size} bytes, starting with {found}); "
            "the data are damaged or the format string of the topic is wrong"
        )
    return size


def _rows(image: CameraImage, dtype: str, channels: int) -> Any:
    """Return the (H, W[, channels]) view on the raw data without the padding of its rows."""
    item = np.dtype(dtype)
    row_bytes = image.width * channels * item.itemsize
    _check_layout(image, row_bytes, image.height, image.height)
    used = image.data[: (image.height - 1) * image.step + row_bytes]
    if image.step == row_bytes:
        rows = used.reshape(image.height, row_bytes)
    else:
        rows = np.lib.stride_tricks.as_strided(
            used, (image.height, row_bytes), (image.step, 1), writeable=False
        )  # the last row may lack its padding, so a plain reshape does not do
    pixels = np.ascontiguousarray(rows).view(item.newbyteorder(">" if image.is_bigendian else "<"))
    if item.itemsize > 1:
        pixels = pixels.astype(item)
    shape = (image.height, image.width) if channels == 1 else (image.height, image.width, channels)
    return pixels.reshape(shape)


def _decode_semi_planar(image: CameraImage) -> UInt8Array:
    """Decode NV12 and NV21: full-size luma rows, then half as many rows of interleaved chroma."""
    if image.width % 2 or image.height % 2:
        raise ImageError(f"{image.label}: {image.encoding} picture of {image.width}x{image.height}; sizes must be even")
    rows = image.height * 3 // 2
    _check_layout(image, image.width, image.height, rows)
    planes = image.data[: rows * image.step].reshape(rows, image.step)[:, : image.width]
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(planes), _SEMI_PLANAR[image.encoding]))


def _check_layout(image: CameraImage, row_bytes: int, height: int, rows: int) -> None:
    where = f"{image.label}: {image.encoding} picture of {image.width}x{height}"
    if image.width <= 0 or height <= 0 or image.width * height > MAX_PIXELS:
        raise ImageError(f"{where}; expected a size between 1x1 and {MAX_PIXELS} pixels")
    if image.step < row_bytes:
        raise ImageError(
            f"{where} has step {image.step}; expected at least {row_bytes} bytes for each row. "
            "Check width, encoding and step of the publisher"
        )
    needed = (rows - 1) * image.step + row_bytes
    if image.data.size < needed:
        raise ImageError(
            f"{where} has {image.data.size} bytes; expected {rows * image.step} ({rows} rows of {image.step}). "
            "The message is truncated or its height is wrong"
        )


def _decode_compressed(image: CameraImage, reduction: Reduction) -> UInt8Array:
    width, height = image_size(image)
    if width * height > MAX_PIXELS:
        raise ImageError(f"{image.label}: picture of {width}x{height}; expected at most {MAX_PIXELS} pixels")
    # Decoders fill what is missing with grey and report success, so look for the end of the picture first.
    if not _is_complete(image):
        raise ImageError(
            f"{image.label}: the {image.encoding} picture of {width}x{height} is truncated "
            f"({image.data.size} bytes without its end marker); check the link or the recording"
        )
    pixels = cv2.imdecode(np.asarray(image.data), _REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise ImageError(f"{image.label}: the {image.encoding} picture of {width}x{height} is damaged")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


def _is_complete(image: CameraImage) -> bool:
    padding = int(np.argmax(image.data[::-1] != 0))  # some cameras fill their buffer with zeros
    tail = image.data[: image.data.size - padding][-4096:].tobytes()
    return (b"IEND" if image.encoding == "png" else b"\xff\xd9") in tail


def _png_size(data: UInt8Array) -> tuple[int, int] | None:
    head = data[:24].tobytes()
    if len(head) < 24 or head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", head[16:24])
    return (width, height) if width and height else None


def _jpeg_size(data: UInt8Array) -> tuple[int, int] | None:
    """Walk the segments up to the frame header (SOF), which holds the size."""
    content = data[:1_000_000].tobytes()
    if content[:2] != b"\xff\xd8":
        return None
    position = 2
    while position + 9 < len(content):
        if content[position] != 0xFF:
            return None
        marker = content[position + 1]
        if marker == 0xFF or 0xD0 <= marker <= 0xD7:
            position += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack(">H", content[position + 2 : position + 4])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", content[position + 5 : position + 9])
            return (width, height) if width and height else None
        position += 2 + length
    return None
