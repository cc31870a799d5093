"""Cuts an object out of a picture and frames it as a model wants to see it; imports no torch.

Letters: H, W rows and columns of a picture.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import ImageError
from lift3d_ros.models.backbones.resample import Kernel, resampling_matrix
from lift3d_ros.models.lrm.config import ObjectImageConfig
from lift3d_ros.types import UInt8Array

Float32Array = NDArray[np.float32]


class PixelBox(NamedTuple):
    """Rows `top` to `bottom` and columns `left` to `right`, the last ones not included."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left


def foreground_box(alpha: UInt8Array) -> PixelBox | None:
    """Return the box around all pixels (H, W) that are not 0, None where there are none."""
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    if not len(rows):
        return None
    return PixelBox(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def prepare_object(rgba: UInt8Array, config: ObjectImageConfig) -> Float32Array:
    """Return the picture that enters the network, (3, side, side), RGB 0..255.

    Args:
        rgba: (H, W, 4); alpha 0 is not the object.

    Raises:
        ImageError: no pixel belongs to the object.
    """
    box = foreground_box(rgba[..., 3])
    if box is None:
        raise ImageError(
            f"picture of {rgba.shape[1]}x{rgba.shape[0]} px: no pixel belongs to the object, the mask is empty; give a "
            "mask or box that covers the object"
        )
    if config.framing == "padded":
        framed = pad_object(rgba, box, config.fill)
    else:
        framed = recentre_object(rgba, box, config.canvas, config.fill)
    values = resize_picture(composite(framed, config.background), config)
    return np.ascontiguousarray(255.0 * values.transpose(2, 0, 1), dtype=np.float32)


def pad_object(rgba: UInt8Array, box: PixelBox, fill: float) -> UInt8Array:
    """Return the pixels of the box in a transparent square whose side they take the share `fill` of.

    Source: fact sheet LRM, section 2.2.
    """
    side = max(box.height, box.width)
    padded_side = max(side, int(side / fill))
    # Two steps, each rounding down before the object: first to a square, then to its surroundings.
    top = (side - box.height) // 2 + (padded_side - side) // 2
    left = (side - box.width) // 2 + (padded_side - side) // 2
    return _placed(rgba[box.top : box.bottom, box.left : box.right], padded_side, top, left)


def recentre_object(rgba: UInt8Array, box: PixelBox, canvas: int, fill: float) -> UInt8Array:
    """Return the box scaled into the middle of a transparent square of `canvas` px, of which it takes `fill`.

    Source: fact sheet LRM, section 2.1.
    """
    scale = int(canvas * fill) / max(box.height, box.width)
    height, width = max(1, int(box.height * scale)), max(1, int(box.width * scale))
    pixels = rgba[box.top : box.bottom, box.left : box.right].astype(np.float64)
    scaled = np.rint(_resized(pixels, height, width, "area"))
    top, left = (canvas - height) // 2, (canvas - width) // 2
    return _placed(np.clip(scaled, 0, 255).astype(np.uint8), canvas, top, left)


def composite(rgba: UInt8Array, background: float) -> Float32Array:
    """Return the picture (H, W, 3) over a grey background, values 0..1."""
    alpha = rgba[..., 3:].astype(np.float32) / 255.0
    return np.asarray(rgba[..., :3].astype(np.float32) / 255.0 * alpha + np.float32(background) * (1.0 - alpha))


def resize_picture(picture: Float32Array, config: ObjectImageConfig) -> Float32Array:
    """Return a picture (H, W, C) of values 0..1 in the size of the network's input; other shapes are stretched."""
    if config.resizing == "antialiased_linear":
        resized = _resized(picture, config.side, config.side, "linear", is_antialiased=True)
    else:
        resized = _resized(picture, config.side, config.side, "cubic", aligns_corners=True)
    return np.clip(resized, 0.0, 1.0).astype(np.float32)


def _resized(
    picture: NDArray[Any],
    height: int,
    width: int,
    kernel: Kernel,
    *,
    aligns_corners: bool = False,
    is_antialiased: bool = False,
) -> NDArray[np.float64]:
    down, across = (
        resampling_matrix(source, target, kernel, aligns_corners=aligns_corners, is_antialiased=is_antialiased)
        for source, target in zip(picture.shape[:2], (height, width), strict=True)
    )
    rows = np.tensordot(down, picture, axes=(1, 0))
    return np.ascontiguousarray(np.tensordot(across, rows, axes=(1, 1)).transpose(1, 0, 2))


def _placed(pixels: UInt8Array, side: int, top: int, left: int) -> UInt8Array:
    square = np.zeros((side, side, pixels.shape[2]), dtype=np.uint8)
    square[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return square
