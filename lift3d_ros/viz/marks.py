"""Marks single boxes in finished pictures, so that an eye finds what a caption speaks of."""

from __future__ import annotations

import dataclasses

import numpy as np

from lift3d_ros.images.preprocess import scaled_to
from lift3d_ros.types import Boxes3D, CameraView, UInt8Array
from lift3d_ros.viz.bev import bev_pixels
from lift3d_ros.viz.canvas import draw_lines, picture_unit
from lift3d_ros.viz.palette import Color
from lift3d_ros.viz.wireframe import wireframes

MISSED: Color = (255, 64, 64)
FALSE: Color = (255, 80, 220)

_RING_PX = 14.0


def mark_in_picture(rgb: UInt8Array, view: CameraView, boxes: Boxes3D, color: Color) -> None:
    """Draw thick wireframes, in place, into a picture at the size of its calibration or scaled."""
    view = dataclasses.replace(view, model=scaled_to(view.model, rgb.shape[1], rgb.shape[0], view.image.label))
    for wireframe in wireframes(view, boxes):
        draw_lines(rgb, wireframe.polylines, color, 2.5 * picture_unit(rgb), seam=0.4)


def mark_from_above(bev: UInt8Array, boxes: Boxes3D, color: Color, range_m: float = 51.2) -> None:
    """Draw a ring around each box into the picture of :func:`~lift3d_ros.viz.bev.draw_bev`, in place."""
    angle = np.linspace(0.0, 2 * np.pi, 49)
    ring = _RING_PX * picture_unit(bev) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for center in bev_pixels(boxes.centers[:, :2], range_m, bev.shape[0]):
        draw_lines(bev, [center + ring], color, 2.0 * picture_unit(bev), seam=0.5)
