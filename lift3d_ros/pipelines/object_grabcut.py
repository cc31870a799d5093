"""Finds the object in a box by GrabCut: colours in the box that are not those around it, in one piece.

Source: Rother, Kolmogorov, Blake, "GrabCut", 2004, as OpenCV has it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lift3d_ros.models.lrm.object_image import PixelBox
from lift3d_ros.types import UInt8Array

_SIDE_PX = 320
_ROUNDS = 5
# Of the box's longer side: what lies around it is known not to be the object.
_MARGIN = 0.25
_SMALLEST_SURROUNDINGS = 0.05
_SMALLEST_SHARE = 0.05
# Of the object: smaller holes are taken as part of it, larger ones, as in a handle, are not.
_LARGEST_HOLE = 0.02


def grabcut_window(box: PixelBox, height: int, width: int) -> PixelBox:
    """Return the box with what is around it, within a picture of this size."""
    margin = max(4, round(_MARGIN * max(box.height, box.width)))
    return PixelBox(
        max(0, box.top - margin),
        max(0, box.left - margin),
        min(height, box.bottom + margin),
        min(width, box.right + margin),
    )


def grabcut(rgb: UInt8Array, window: PixelBox, box: PixelBox) -> tuple[UInt8Array | None, str]:
    """Return alpha of the box's pixels, with soft edges, or None and a sentence where no object can be told.

    Args:
        rgb: (H, W, 3) pixels of `window`.
        window: as :func:`grabcut_window` gives it.
    """
    around = window.height * window.width - box.height * box.width
    if around < _SMALLEST_SURROUNDINGS * box.height * box.width:
        return None, "the box leaves nothing around the object to compare it with: all of the box was taken as object"
    scale = min(1.0, _SIDE_PX / max(window.height, window.width))
    size = (max(3, round(window.width * scale)), max(3, round(window.height * scale)))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    edges = np.array(
        [box.left - window.left, box.top - window.top, box.right - window.left, box.bottom - window.top], dtype=float
    )
    left, top, right, bottom = np.rint(edges * np.tile(np.array(size) / (window.width, window.height), 2)).astype(int)
    inside = slice(top, max(bottom, top + 1)), slice(left, max(right, left + 1))
    labels = np.full(small.shape[:2], cv2.GC_BGD, dtype=np.uint8)
    labels[inside] = cv2.GC_PR_FGD
    cv2.setRNGSeed(0)  # GrabCut starts from random colours
    try:
        cv2.grabCut(small, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), _ROUNDS, cv2.GC_INIT_WITH_MASK)
    except cv2.error:
        return None, "GrabCut found no difference between the box and what is around it: all of the box was taken"
    is_object = _in_one_piece((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))
    share = float(is_object[inside].mean())
    if share < _SMALLEST_SHARE:
        return None, (
            f"GrabCut took {share:.0%} of the box as object, which is hardly right: all of the box was taken; give a "
            "mask for a better shape"
        )
    full = cv2.resize(255 * is_object.astype(np.uint8), (window.width, window.height), interpolation=cv2.INTER_LINEAR)
    rows = slice(box.top - window.top, box.bottom - window.top)
    return np.ascontiguousarray(full[rows, box.left - window.left : box.right - window.left]), ""


def _in_one_piece(is_object: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest connected part with its small holes filled."""
    count, parts, facts, _ = cv2.connectedComponentsWithStats(is_object.astype(np.uint8), connectivity=4)
    if count < 2:
        return is_object
    largest = parts == 1 + int(np.argmax(facts[1:, cv2.CC_STAT_AREA]))
    _, holes, facts, _ = cv2.connectedComponentsWithStats((~largest).astype(np.uint8), connectivity=4)
    is_filled = facts[:, cv2.CC_STAT_AREA] < _LARGEST_HOLE * largest.sum()
    is_filled[0] = True  # the object itself
    return np.asarray(is_filled[holes])
