"""The part of a camera picture that shows the own vehicle, as a mask."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from lift3d_ros.types import CameraModel, UInt8Array

_SUBPIXEL_BITS = 4


def own_vehicle_mask(polygons: Sequence[Sequence[tuple[float, float]]], model: CameraModel) -> UInt8Array:
    """Return (H, W) uint8 at the size of the calibration: 255 where the own vehicle is, 0 elsewhere.

    Args:
        polygons: outlines in pixels of the calibrated picture (before rectification), as in the rig file.
    """
    mask = np.zeros((model.height, model.width), dtype=np.uint8)
    for polygon in polygons:
        corners = np.rint(np.asarray(polygon, dtype=np.float64) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillPoly(mask, [corners], 255, cv2.LINE_8, _SUBPIXEL_BITS)
    return mask
