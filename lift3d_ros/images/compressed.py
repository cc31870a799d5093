"""Decodes JPEG and PNG streams, after checking from their structure that they are whole and of a sane size.

Decoders fill what is missing with grey and report success, and they allocate whatever size a header states;
so the markers of the stream are walked first. Damage inside the coded pixels that leaves the markers
intact cannot be seen this way.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from lift3d_ros.errors import ImageError
from lift3d_ros.types import CameraImage, UInt8Array

MAX_PIXELS = 100_000_000

Reduction = Literal[1, 2, 4, 8]

_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8"
# In coded pixels FF is followed by 00 or a restart number; anything else is the next marker.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA
_STARTS_OF_FRAME = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD8)}


@dataclass(frozen=True)
class StreamHeader:
    """What the markers of a compressed picture say."""

    kind: Literal["JPEG", "PNG"]
    width: int
    height: int
    is_complete: bool


def read_header(image: CameraImage) -> StreamHeader:
    """Read size and completeness without decoding; the kind is taken from the data, not from the topic.

    Raises:
        ImageError: neither JPEG nor PNG, or no size in the header.
    """
    content = image.data.tobytes()
    header = _read_png(content) if content.startswith(_PNG_SIGNATURE) else _read_jpeg(content)
    if header is None:
        found = content[:8].hex(" ") or "nothing"
        raise ImageError(
            f"{image.label}: not a readable JPEG or PNG picture ({len(content)} bytes, starting with {found}); "
            "the data are damaged or cut off, or the topic carries another format"
        )
    return header


def decode_compressed(image: CameraImage, reduction: Reduction) -> UInt8Array:
    """Return the picture as (H, W, 3) uint8 RGB, as stored: an EXIF orientation is ignored.

    Raises:
        ImageError: truncated, damaged or larger than `MAX_PIXELS`.
    """
    header = read_header(image)
    where = f"{image.label}: the {header.kind} picture of {header.width}x{header.height}"
    if header.width * header.height > MAX_PIXELS:
        raise ImageError(f"{where} is too large; expected at most {MAX_PIXELS} pixels. Lower the camera's resolution")
    if not header.is_complete:
        raise ImageError(
            f"{where} is truncated ({image.data.size} bytes without its end); check the link or the recording"
        )
    try:
        pixels = cv2.imdecode(np.ascontiguousarray(image.data), _REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise ImageError(f"{where} is damaged and cannot be decoded; check the link or the recording")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


def _read_png(content: bytes) -> StreamHeader | None:
    if len(content) < 24 or content[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", content, 16)
    if not width or not height:
        return None
    position = len(_PNG_SIGNATURE)
    while position + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, position)
        if content[position + 4 : position + 8] == b"IEND":
            return StreamHeader("PNG", width, height, True)
        position += 12 + length
    return StreamHeader("PNG", width, height, False)


def _read_jpeg(content: bytes) -> StreamHeader | None:
    if not content.startswith(_JPEG_SIGNATURE):
        return None
    width = height = 0
    position, is_complete = 2, False
    while position + 2 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == _END_OF_IMAGE:
            is_complete = True
            break
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker in _WITHOUT_LENGTH:
            position += 2
            continue
        if position + 9 > len(content):
            break
        (length,) = struct.unpack_from(">H", content, position + 2)
        if marker in _STARTS_OF_FRAME:
            height, width = struct.unpack_from(">HH", content, position + 5)
        position += 2 + length
        if marker == _START_OF_SCAN:
            following = _NEXT_MARKER.search(content, position)
            if following is None:
                break
            position = following.start()
    return StreamHeader("JPEG", width, height, is_complete) if width and height else None
