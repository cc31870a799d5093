"""Boxes as wireframes in the pixels of one camera; shared by the overlay and the report page.

The camera may be distorted; its motion between capture and the reference stamp is taken into account.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lift3d_ros.geometry.boxes import corners
from lift3d_ros.geometry.rigid import transform_points
from lift3d_ros.types import Boxes3D, CameraView, Float64Array
from lift3d_ros.viz.lines import visible_lines, visible_polygon

# Corner numbers of `geometry.boxes.corners`: bottom ring, top ring, posts.
_EDGES = np.array([[0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 7], [7, 4], [0, 4], [1, 5], [2, 6], [3, 7]])
_FRONT_FACE = np.array([0, 1, 5, 4])


@dataclass(frozen=True, eq=False)
class Wireframe:
    """What one camera sees of one box; all pixels lie within the picture.

    Args:
        index: position of the box in the `Boxes3D` that was drawn.
        polylines: the visible parts of the twelve edges, each (K, 2) pixels.
        front: outline of the face that the box heads with, (K, 2) pixels, not closed; (0, 2) where out of view.
        depth: distance of the centre along the optical axis, metres.
        label_anchor: (2,) pixel above which a label belongs: the middle of the upper border of what is seen.
    """

    index: int
    polylines: tuple[Float64Array, ...]
    front: Float64Array
    depth: float
    label_anchor: Float64Array


def wireframes(view: CameraView, boxes: Boxes3D) -> tuple[Wireframe, ...]:
    """Return the wireframes of the boxes that the camera sees, the farthest first.

    Args:
        boxes: in the base frame at the reference stamp.
    """
    if not len(boxes):
        return ()
    T_cam_reference = view.T_cam_reference
    corners_cam = transform_points(T_cam_reference, corners(boxes).reshape(-1, 3)).reshape(-1, 8, 3)
    depths = transform_points(T_cam_reference, boxes.centers)[:, 2]
    ends = corners_cam[:, _EDGES]  # (M, 12, 2, 3)
    lines = visible_lines(view.model, ends[:, :, 0].reshape(-1, 3), ends[:, :, 1].reshape(-1, 3))
    seen = []
    for index in np.argsort(-depths, kind="stable"):
        first = int(index) * len(_EDGES)
        polylines = tuple(part for edge in lines[first : first + len(_EDGES)] for part in edge)
        if polylines:
            front = visible_polygon(view.model, corners_cam[index, _FRONT_FACE])
            seen.append(Wireframe(int(index), polylines, front, float(depths[index]), _label_anchor(polylines)))
    return tuple(seen)


def _label_anchor(polylines: tuple[Float64Array, ...]) -> Float64Array:
    points = np.concatenate(polylines)
    return np.array([(points[:, 0].min() + points[:, 0].max()) / 2, points[:, 1].min()])
