"""Shrinks pictures fast and without aliasing."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from lift3d_ros.types import UInt8Array


def shrink(picture: Any, factor: int) -> UInt8Array:
    """Average blocks of `factor` x `factor` pixels, so that interpolation may follow without aliasing.

    Where the size is not a multiple of `factor` the blocks are a little larger; the borders of the picture
    stay its borders.
    """
    if factor <= 1:
        return np.asarray(picture)
    size = (max(1, picture.shape[1] // factor), max(1, picture.shape[0] // factor))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
