"""Finds the object in a picture and frames it as a model wants it: by a mask, by alpha, or by a box.

Of a box alone GrabCut finds the object inside; whether its answer is to be trusted is said in a sentence. A matting
network finds it in a box, or without one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import ImageError
from lift3d_ros.geometry.object_pose import PictureSquare
from lift3d_ros.images.compressed import MAX_PIXELS
from lift3d_ros.images.shrink import shrink
from lift3d_ros.models.lrm.config import ObjectImageConfig
from lift3d_ros.models.lrm.object_image import (
    Float32Array,
    PixelBox,
    foreground_box,
    pad_object,
    prepare_object,
    recentre_object,
)
from lift3d_ros.pipelines.object_grabcut import grabcut, grabcut_window
from lift3d_ros.pipelines.object_matting import matting
from lift3d_ros.types import UInt8Array

Cutting = Literal["mask", "alpha", "grabcut", "rembg", "box"]
BoxCutting = Literal["grabcut", "rembg", "box"]

# An object smaller than this along both sides, or a box narrower, shows nothing that could be reconstructed.
MIN_OBJECT_PX = 4
# Larger objects are shrunk before they are framed; no model's picture has more than half as many pixels along a side.
_LARGEST_OBJECT_PX = 1024
# What a lossy file leaves of a mask's 0.
_MASK_FLOOR = 16
_BLURRED_SHARE = 0.25
# Noise and compression make of one colour at most so many grey levels.
_ONE_COLOUR = 8


@dataclass(frozen=True, eq=False)
class ObjectView:
    """An object, framed for a model.

    Args:
        image: (3, side, side) float32 RGB 0..255, the input of the network.
        square: which part of the picture that is; it may reach beyond the picture.
        box: of the object's pixels in the picture.
        cutting: what told the object from what is around it.
        problems: one sentence for each thing that makes the result less certain.
    """

    image: Float32Array
    square: PictureSquare
    box: PixelBox
    cutting: Cutting
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class FoundObject:
    """Which pixels of a picture are the object.

    Args:
        rgba: (h, w, 4) uint8 of the box; colours as they are in the picture, alpha 0 outside of the object.
        is_cut_off: whether it touches the border of the picture.
    """

    rgba: UInt8Array
    box: PixelBox
    cutting: Cutting
    is_cut_off: bool
    problems: tuple[str, ...]


def find_object(
    picture: NDArray[Any],
    *,
    mask: NDArray[Any] | None = None,
    box: PixelBox | None = None,
    box_cutting: BoxCutting = "grabcut",
    name: str = "picture",
) -> FoundObject:
    """Tell an object from what is around it; arguments and errors are those of :func:`cut_object`."""
    height, width = _checked_size(picture, name)
    problems: list[str] = []
    region = PixelBox(0, 0, height, width)
    if box is not None:
        region, clipped = _checked_box(box, region, name)
        problems += clipped
    cutting, alpha = _find_alpha(picture, mask, region if box is not None else None, box_cutting, name, problems)
    inner = foreground_box(alpha)
    if inner is None:
        where = f" within the box {_text(region)}" if box is not None else ""
        what = {"mask": "the mask", "alpha": "the alpha channel"}.get(cutting, "the cut-out")
        raise ImageError(
            f"{name}: of {width}x{height} px none belongs to the object, {what} is empty{where}; give a mask or a box "
            "that covers the object"
        )
    found = PixelBox(*(value + start for value, start in zip(inner, (region.top, region.left) * 2, strict=True)))
    if max(found.height, found.width) < MIN_OBJECT_PX:
        raise ImageError(
            f"{name}: the object has {found.width}x{found.height} px; expected at least {MIN_OBJECT_PX} along its "
            "longer side. Give a picture that was taken nearer, or a mask that covers all of the object"
        )
    cut_off = _cut_off(found, width, height)
    pixels = _rgb(_bytes(picture[found.top : found.bottom, found.left : found.right], name))
    rgba = np.dstack([pixels, alpha[inner.top : inner.bottom, inner.left : inner.right]])
    return FoundObject(rgba, found, cutting, bool(cut_off), (*problems, *cut_off))


def cut_object(
    picture: NDArray[Any],
    config: ObjectImageConfig,
    *,
    mask: NDArray[Any] | None = None,
    box: PixelBox | None = None,
    box_cutting: BoxCutting = "grabcut",
    name: str = "picture",
) -> ObjectView:
    """Cut an object out of a picture and frame it.

    Args:
        picture: (H, W) or (H, W, C) grey, grey + alpha, RGB or RGBA; bool, uint8, uint16 (its upper eight bits are
            kept) or floats 0..1.
        mask: (H, W), 0 outside of the object; 0 and 1, bool, 0..255 or floats 0..1.
        box: the object lies within; with a mask or alpha it picks one of several objects.
        box_cutting: without mask and alpha, find the object in the box by GrabCut or rembg, or take all of the box;
            rembg needs no box.
        name: of the picture in error messages.

    Raises:
        ImageError: a picture, mask or box of another kind or size; nothing that tells where the object is; no object.
        Lift3dError: rembg is asked for and not there.
    """
    found = find_object(picture, mask=mask, box=box, box_cutting=box_cutting, name=name)
    problems, longer = list(found.problems), max(found.box.height, found.box.width)
    wanted = config.fill * config.side
    if longer < _BLURRED_SHARE * wanted:
        problems.append(
            f"the object is {longer} px long and the model was trained with {wanted:.0f}: what it sees is blurred"
        )
    rgba = shrink(found.rgba, math.ceil(longer / _LARGEST_OBJECT_PX))
    image = prepare_object(rgba, config)
    return ObjectView(image, _seen_square(found.box, rgba, config), found.box, found.cutting, tuple(problems))


def check_something_is_seen(picture: UInt8Array, box: PixelBox, name: str) -> None:
    """Refuse a box that shows one colour only: no object can be told there.

    Args:
        picture: (H, W, 3).

    Raises:
        ImageError: names the box; or the box cannot be used.
    """
    height, width = picture.shape[:2]
    region, _ = _checked_box(box, PixelBox(0, 0, height, width), name)
    pixels = picture[region.top : region.bottom, region.left : region.right]
    if int(np.ptp(pixels.reshape(-1, 3), axis=0).max()) <= _ONE_COLOUR:
        raise ImageError(
            f"{name} of {width}x{height} px: the box {_text(region)} shows one colour only, so no object can be "
            "seen; give the box of an object, or check exposure and lens"
        )


def _find_alpha(
    picture: NDArray[Any],
    mask: NDArray[Any] | None,
    region: PixelBox | None,
    box_cutting: BoxCutting,
    name: str,
    problems: list[str],
) -> tuple[Cutting, UInt8Array]:
    """Return how the object was told from the rest, and alpha of the region, or of the whole picture without one."""
    height, width = picture.shape[:2]
    window = region or PixelBox(0, 0, height, width)
    part = (slice(window.top, window.bottom), slice(window.left, window.right))
    if mask is not None:
        if mask.shape[:2] != (height, width) or mask.size != height * width:
            given = f"{mask.shape[1]}x{mask.shape[0]} px" if mask.ndim == 2 else f"the shape {mask.shape}"
            raise ImageError(
                f"{name}: the mask has {given}, the picture {width}x{height}; expected a mask of one channel in the "
                "same size. Give the mask of this picture"
            )
        return "mask", _mask_bytes(mask.reshape(height, width)[part], name)
    if picture.ndim == 3 and picture.shape[2] in (2, 4):
        alpha = _bytes(picture[..., -1][part], name)
        if alpha.min() < 255:
            return "alpha", alpha
    if box_cutting == "rembg":
        return "rembg", _matted(picture, window, name)
    if region is None:
        raise ImageError(
            f"{name}: nothing says which pixels are the object: no mask, no box, and no transparent pixels; give a "
            "mask (--mask FILE) or a box around the object (--box LEFT,TOP,RIGHT,BOTTOM)"
        )
    whole: UInt8Array = np.full((region.height, region.width), 255, dtype=np.uint8)
    if box_cutting == "box":
        return "box", whole
    margin = grabcut_window(region, height, width)
    rgb = _rgb(_bytes(picture[margin.top : margin.bottom, margin.left : margin.right], name))
    cut, problem = grabcut(rgb, margin, region)
    if cut is None:
        problems.append(problem)
        return "box", whole
    return "grabcut", cut


def _matted(picture: NDArray[Any], window: PixelBox, name: str) -> UInt8Array:
    """Return alpha of a part of a picture by a matting network, which also sees what is around it."""
    around = grabcut_window(window, *picture.shape[:2])
    alpha = matting(_rgb(_bytes(picture[around.top : around.bottom, around.left : around.right], name)))
    top, left = window.top - around.top, window.left - around.left
    return _mask_bytes(alpha[top : top + window.height, left : left + window.width], name)


def _seen_square(found: PixelBox, rgba: UInt8Array, config: ObjectImageConfig) -> PictureSquare:
    """Return the part of the picture that the framed object lies in.

    Args:
        found: the object in the picture.
        rgba: its pixels, shrunk or not.
    """
    inner = foreground_box(rgba[..., 3])
    assert inner is not None  # it was framed before
    solid = np.full((inner.height, inner.width, 4), 255, dtype=np.uint8)
    all_of_it = PixelBox(0, 0, inner.height, inner.width)
    if config.framing == "padded":
        framed = pad_object(solid, all_of_it, config.fill)
    else:
        framed = recentre_object(solid, all_of_it, config.canvas, config.fill)
    place = foreground_box(framed[..., 3])
    assert place is not None
    per_row, per_column = found.height / rgba.shape[0], found.width / rgba.shape[1]
    # Rounding to whole pixels matters least along the longer side.
    scale = (
        inner.height * per_row / place.height if inner.height > inner.width else inner.width * per_column / place.width
    )
    return PictureSquare(
        left=found.left + inner.left * per_column - place.left * scale - 0.5,
        top=found.top + inner.top * per_row - place.top * scale - 0.5,
        side=framed.shape[0] * scale,
    )


def _checked_size(picture: NDArray[Any], name: str) -> tuple[int, int]:
    shape = picture.shape
    if picture.ndim not in (2, 3) or (picture.ndim == 3 and shape[2] not in (1, 2, 3, 4)) or 0 in shape:
        raise ImageError(
            f"{name}: its array has shape {shape}; expected rows and columns, with 1 to 4 channels (grey, grey and "
            "alpha, RGB, RGBA). Decode it first, or convert it"
        )
    if shape[0] * shape[1] > MAX_PIXELS:
        raise ImageError(f"{name}: has {shape[1]}x{shape[0]} px; expected at most {MAX_PIXELS}. Crop or shrink it")
    return int(shape[0]), int(shape[1])


def _checked_box(box: PixelBox, picture: PixelBox, name: str) -> tuple[PixelBox, list[str]]:
    """Return the part of the box that lies in the picture, and a sentence where that is not all of it."""
    within = PixelBox(max(box.top, 0), max(box.left, 0), min(box.bottom, picture.bottom), min(box.right, picture.right))
    where = f"{name} of {picture.width}x{picture.height} px: the box {_text(box)}"
    if box.height <= 0 or box.width <= 0:
        raise ImageError(f"{where} is {box.width}x{box.height} px; expected left < right and top < bottom")
    if within.height <= 0 or within.width <= 0:
        raise ImageError(f"{where} lies outside of the picture; give pixels of this picture, 0 at its left and top")
    if min(within.height, within.width) < MIN_OBJECT_PX:
        raise ImageError(
            f"{where} covers {within.width}x{within.height} px of it; expected at least {MIN_OBJECT_PX} in both "
            "directions. Give the whole object, or a picture that was taken nearer"
        )
    if within == box:
        return within, []
    return within, [f"the box {_text(box)} reaches beyond the picture: what lies outside was left off"]


def _cut_off(found: PixelBox, width: int, height: int) -> list[str]:
    touched = {
        "top": found.top == 0,
        "left": found.left == 0,
        "bottom": found.bottom == height,
        "right": found.right == width,
    }
    sides = [side for side, is_touched in touched.items() if is_touched]
    if not sides:
        return []
    plural = "s" if len(sides) > 1 else ""
    return [
        f"the object touches the {', '.join(sides)} border{plural} of the picture: it may be cut off, and its shape is "
        "a guess there"
    ]


def _rgb(pixels: UInt8Array) -> UInt8Array:
    """Return (H, W, 3) of grey or coloured pixels, without alpha."""
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    return np.repeat(pixels[..., :1], 3, axis=2) if pixels.shape[2] < 3 else pixels[..., :3]


def _bytes(values: NDArray[Any], name: str) -> UInt8Array:
    """Return values as 0..255."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype == np.uint16:
        return np.asarray((values >> 8).astype(np.uint8))
    if values.dtype.kind == "f" and np.isfinite(values).all() and values.min() >= 0.0 and values.max() <= 1.0:
        return np.asarray(np.rint(values * 255.0), dtype=np.uint8)
    found = f"{values.dtype} {values.min():g} to {values.max():g}"
    raise ImageError(f"{name}: holds values of {found}; expected uint8, uint16, or floats from 0 to 1. Convert it")


def _mask_bytes(mask: NDArray[Any], name: str) -> UInt8Array:
    """Return a mask as 0..255, without what a lossy file leaves of 0."""
    if mask.dtype.kind in "iu" and mask.size and mask.max() <= 1:
        mask = mask > 0
    elif mask.dtype.kind in "iu" and mask.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)):
        raise ImageError(
            f"{name}: its mask holds {mask.dtype} up to {mask.max()}; expected 0 and 1, 0 to 255, or bool. Of numbered "
            "objects choose one, as in mask == 3"
        )
    alpha = _bytes(mask, f"{name}: its mask")
    return np.where(alpha < _MASK_FLOOR, 0, alpha).astype(np.uint8)


def _text(box: PixelBox) -> str:
    return f"({box.left}, {box.top}) to ({box.right}, {box.bottom})"
