"""Anti-aliased lines, faces and readable text on RGB pictures; every function changes the picture it is given.

Pixel positions are those of the core: (0, 0) is the centre of the first pixel, fractions are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lift3d_ros.types import Float64Array, UInt8Array
from lift3d_ros.viz.palette import WARNING, Color

DARK: Color = (14, 17, 20)
LIGHT: Color = (240, 242, 245)

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_HEIGHT_PX = 21  # capital letters at scale 1
_SUBPIXEL_BITS = 4
_FAR_OUTSIDE_PX = 1e6  # OpenCV's fixed-point pixels overflow beyond


def picture_unit(rgb: UInt8Array) -> float:
    """Return how many pixels stand for one, so that lines and letters look alike on pictures of any size."""
    return max(rgb.shape[1] / 800.0, 0.6)


def draw_lines(
    rgb: UInt8Array,
    lines: Sequence[Float64Array],
    color: Color,
    thickness: float = 1.0,
    *,
    seam: float = 0.0,
    is_closed: bool = False,
) -> None:
    """Draw polylines of (K, 2) pixels each.

    Args:
        seam: strength 0..1 of a dark seam on both sides, which keeps lines visible on bright pixels.
    """
    lines = [line for line in lines if len(line)]
    width = max(1, round(thickness))
    if seam > 0.0 and lines:

        def paint(part: UInt8Array, offset: Float64Array) -> None:
            shifted = [_fixed_point(line - offset) for line in lines]
            cv2.polylines(part, shifted, is_closed, DARK, width + 2, cv2.LINE_AA, _SUBPIXEL_BITS)

        _blend(rgb, np.concatenate(lines), width + 2, seam, paint)
    points = [_fixed_point(line) for line in lines]
    cv2.polylines(rgb, points, is_closed, color, width, cv2.LINE_AA, _SUBPIXEL_BITS)


def fill_polygon(rgb: UInt8Array, outline: Float64Array, color: Color, strength: float) -> None:
    """Tint the inside of an outline (K, 2); `strength` 0 leaves it, 1 covers it."""
    if len(outline) < 3:
        return

    def paint(part: UInt8Array, offset: Float64Array) -> None:
        cv2.fillPoly(part, [_fixed_point(outline - offset)], color, cv2.LINE_AA, _SUBPIXEL_BITS)

    _blend(rgb, outline, 2, strength, paint)


def dashes(line: Float64Array, dash_px: float) -> list[Float64Array]:
    """Cut a polyline (K, 2) into dashes with gaps of the same length."""
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    parts = []
    for start in np.arange(0.0, lengths[-1], 2 * dash_px):
        stop = min(start + dash_px, lengths[-1])
        inner = lengths[(lengths > start) & (lengths < stop)]
        at = np.concatenate([[start], inner, [stop]])
        parts.append(np.stack([np.interp(at, lengths, line[:, axis]) for axis in (0, 1)], axis=1))
    return parts


@dataclass(frozen=True)
class TextBox:
    """A piece of text with its plate at a place in a picture, pixels."""

    text: str
    left: int
    top: int
    width: int
    height: int
    letter_px: float

    def covers(self, other: TextBox) -> bool:
        """Whether the two plates share a pixel."""
        return (
            self.left < other.left + other.width
            and other.left < self.left + self.width
            and self.top < other.top + other.height
            and other.top < self.top + self.height
        )


def place_text(rgb: UInt8Array, text: str, anchor: Float64Array, letter_px: float) -> TextBox:
    """Put a plate centred above the pixel `anchor`, moved so that it lies within the picture.

    Args:
        letter_px: height of capital letters.
    """
    scale = letter_px / _FONT_HEIGHT_PX
    (text_width, text_height), _ = cv2.getTextSize(text, _FONT, scale, 1)
    width, height = text_width + round(0.9 * letter_px), text_height + round(0.9 * letter_px)
    left = int(np.clip(anchor[0] - width / 2, 0, max(0, rgb.shape[1] - width)))
    top = int(np.clip(anchor[1] - height - 1, 0, max(0, rgb.shape[0] - height)))
    return TextBox(text, left, top, width, height, letter_px)


def draw_text(rgb: UInt8Array, box: TextBox, color: Color, plate: Color = DARK, *, strength: float = 0.75) -> None:
    """Write a placed text on its plate."""
    corner = np.array([[box.left, box.top], [box.left + box.width - 1, box.top + box.height - 1]], dtype=np.float64)

    def paint(part: UInt8Array, offset: Float64Array) -> None:
        first, last = np.rint(corner - offset).astype(int).tolist()
        cv2.rectangle(part, first, last, plate, cv2.FILLED)

    _blend(rgb, corner, 0, strength, paint)
    scale = box.letter_px / _FONT_HEIGHT_PX
    padding = round(0.45 * box.letter_px)
    origin = (box.left + padding, box.top + box.height - padding)
    cv2.putText(rgb, box.text, origin, _FONT, scale, color, _stroke(box.letter_px), cv2.LINE_AA)


def draw_caption(rgb: UInt8Array, caption: str, *, at_top: bool = False) -> None:
    """Write lines of text in the lower or upper left corner; one about untrained weights is a banner across the top."""
    lines = caption.splitlines()
    top = 0.0
    for line in (line for line in lines if _is_warning(line)):
        letters = _fitting_letters(rgb, line, 11.0)
        box = place_text(rgb, line, np.array([rgb.shape[1] / 2, 0.0]), letters)
        draw_text(rgb, TextBox("", 0, 0, rgb.shape[1], box.height, letters), DARK, WARNING, strength=0.92)
        draw_text(rgb, box, DARK, WARNING, strength=0.0)
        top = float(box.height)
    plain = [line for line in lines if not _is_warning(line)]
    bottom = float(rgb.shape[0])
    for line in plain if at_top else reversed(plain):
        letters = _fitting_letters(rgb, line, 9.0)
        height = place_text(rgb, line, np.zeros(2), letters).height
        box = place_text(rgb, line, np.array([0.0, top + height + 1 if at_top else bottom + 1]), letters)
        draw_text(rgb, box, LIGHT)
        top, bottom = float(box.top + box.height), float(box.top)


def _is_warning(line: str) -> bool:
    return "untrained" in line.lower()


def _fitting_letters(rgb: UInt8Array, line: str, letter_px: float) -> float:
    """Return the height of letters, `letter_px` on a picture of 800 px or less where the line would be too long."""
    letters = letter_px * picture_unit(rgb)
    return letters * min(1.0, 0.98 * rgb.shape[1] / place_text(rgb, line, np.zeros(2), letters).width)


def _stroke(letter_px: float) -> int:
    return max(1, round(letter_px / 9.0))


def _blend(
    rgb: UInt8Array,
    points: Float64Array,
    margin: int,
    strength: float,
    paint: Callable[[UInt8Array, Float64Array], None],
) -> None:
    """Paint on a copy of the part of the picture around `points` and mix it back with `strength`."""
    first = np.maximum(np.floor(points.min(axis=0)).astype(int) - margin, 0)
    last = np.minimum(np.ceil(points.max(axis=0)).astype(int) + margin + 1, [rgb.shape[1], rgb.shape[0]])
    if (last <= first).any() or strength <= 0.0:
        return
    part = rgb[first[1] : last[1], first[0] : last[0]]
    painted = part.copy()
    paint(painted, first.astype(np.float64))
    part[:] = cv2.addWeighted(painted, strength, part, 1.0 - strength, 0.0)


def _fixed_point(pixels: Float64Array) -> NDArray[np.int32]:
    fixed = np.rint(np.clip(pixels, -_FAR_OUTSIDE_PX, _FAR_OUTSIDE_PX) * (1 << _SUBPIXEL_BITS))
    return np.asarray(fixed.astype(np.int32).reshape(-1, 1, 2))
