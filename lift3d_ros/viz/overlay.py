"""Boxes drawn into a camera picture: wireframe, tinted front face, class, score and track id."""

from __future__ import annotations

import dataclasses

import numpy as np

from lift3d_ros.images.preprocess import scaled_to
from lift3d_ros.types import Boxes3D, CameraView, UInt8Array
from lift3d_ros.viz.canvas import (
    DARK,
    TextBox,
    dashes,
    draw_caption,
    draw_lines,
    draw_text,
    fill_polygon,
    picture_unit,
    place_text,
)
from lift3d_ros.viz.palette import GROUND_TRUTH, class_color
from lift3d_ros.viz.wireframe import Wireframe, wireframes

_LETTER_PX = 8.0  # of a picture that is 800 px wide


def draw_overlay(
    rgb: UInt8Array,
    view: CameraView,
    boxes: Boxes3D,
    ground_truth: Boxes3D | None = None,
    caption: str = "",
) -> UInt8Array:
    """Return a copy of the picture with boxes in it.

    Args:
        rgb: (H, W, 3) the whole picture of the camera, at the size of its calibration or scaled.
        boxes: in the base frame at the reference stamp; class colours, front face tinted.
        ground_truth: the same; white dashes beneath the boxes.
        caption: lines for the lower left corner; a line with ``untrained weights`` becomes a banner.
    """
    view = dataclasses.replace(view, model=scaled_to(view.model, rgb.shape[1], rgb.shape[0], view.image.label))
    picture = np.array(rgb, dtype=np.uint8, order="C")
    unit = picture_unit(picture)
    if ground_truth is not None:
        for wireframe in wireframes(view, ground_truth):
            parts = [dash for line in wireframe.polylines for dash in dashes(line, 5.0 * unit)]
            draw_lines(picture, parts, GROUND_TRUTH, unit, seam=0.35)
    drawn = wireframes(view, boxes)
    for wireframe in drawn:
        color = class_color(boxes.class_names[boxes.labels[wireframe.index]])
        fill_polygon(picture, wireframe.front, color, 0.3)
        draw_lines(picture, wireframe.polylines, color, 1.4 * unit, seam=0.4)
    _draw_labels(picture, boxes, drawn)
    draw_caption(picture, caption)
    return picture


def _draw_labels(picture: UInt8Array, boxes: Boxes3D, drawn: tuple[Wireframe, ...]) -> None:
    """Label near boxes first; a label that would cover another one is left out."""
    taken: list[TextBox] = []
    for wireframe in reversed(drawn):
        label = place_text(
            picture, _label(boxes, wireframe.index), wireframe.label_anchor, _LETTER_PX * picture_unit(picture)
        )
        if not any(label.covers(other) for other in taken):
            taken.append(label)
            draw_text(picture, label, DARK, class_color(boxes.class_names[boxes.labels[wireframe.index]]), strength=0.9)


def _label(boxes: Boxes3D, index: int) -> str:
    assert boxes.track_ids is not None
    text = f"{boxes.class_names[boxes.labels[index]]} {boxes.scores[index]:.2f}"
    return text if boxes.track_ids[index] < 0 else f"{text} #{boxes.track_ids[index]}"
