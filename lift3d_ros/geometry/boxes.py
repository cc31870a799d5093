"""Oriented 3D boxes: corners, overlap seen from above, points inside, change of frame."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.geometry.rigid import transform_points
from lift3d_ros.geometry.rotations import wrap_angle, yaw_of
from lift3d_ros.types import Boxes3D, Float64Array

# Front-left, front-right, rear-right, rear-left in units of half length and half width.
_FOOTPRINT = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0], [-1.0, 1.0]])


def bev_corners(boxes: Boxes3D) -> Float64Array:
    """Return the footprints (M, 4, 2): front-left, front-right, rear-right, rear-left."""
    local = _FOOTPRINT[None] * boxes.sizes[:, None, :2] / 2
    c, s = np.cos(boxes.yaws)[:, None], np.sin(boxes.yaws)[:, None]
    x = c * local[..., 0] - s * local[..., 1]
    y = s * local[..., 0] + c * local[..., 1]
    return np.asarray(np.stack([x, y], axis=-1) + boxes.centers[:, None, :2])


def corners(boxes: Boxes3D) -> Float64Array:
    """Return the corners (M, 8, 3): the footprint order at the bottom (0-3), then at the top (4-7)."""
    footprint = np.tile(bev_corners(boxes), (1, 2, 1))
    half = boxes.sizes[:, 2] / 2
    bottom, top = boxes.centers[:, 2] - half, boxes.centers[:, 2] + half
    z = np.repeat(np.stack([bottom, top], axis=1), 4, axis=1)
    return np.concatenate([footprint, z[..., None]], axis=-1)


def bev_iou(first: Boxes3D, second: Boxes3D) -> Float64Array:
    """Return intersection over union of the footprints, (M first, M second), 0..1."""
    result = np.zeros((len(first), len(second)))
    if not result.size:
        return result
    first_corners, second_corners = bev_corners(first), bev_corners(second)
    first_areas, second_areas = first.sizes[:, 0] * first.sizes[:, 1], second.sizes[:, 0] * second.sizes[:, 1]
    for i, j in np.argwhere(_distances(first, second) < _reach(first)[:, None] + _reach(second)[None]):
        intersection = _convex_intersection_area(first_corners[i], second_corners[j])
        union = first_areas[i] + second_areas[j] - intersection
        result[i, j] = intersection / union if union > 0 else 0.0
    return result


def footprints_meet(first: Boxes3D, second: Boxes3D) -> NDArray[np.bool_]:
    """Return whether the footprints have a common area, (M first, M second).

    Two rectangles are apart where they are apart along an axis of either (separating axis theorem).
    """
    meet = _reach(first)[:, None] + _reach(second)[None] > _distances(first, second)
    i, j = np.nonzero(meet)
    offset = second.centers[j, :2] - first.centers[i, :2]
    c, s = (np.abs(turn(second.yaws[j] - first.yaws[i])) for turn in (np.cos, np.sin))
    half, other = first.sizes[i, :2] / 2, second.sizes[j, :2] / 2
    for yaws, own, foreign in ((first.yaws[i], half, other), (second.yaws[j], other, half)):
        along, across = np.abs(_turned_back(offset, yaws))
        meet[i, j] &= along < own[:, 0] + foreign[:, 0] * c + foreign[:, 1] * s
        meet[i, j] &= across < own[:, 1] + foreign[:, 0] * s + foreign[:, 1] * c
    return meet


def centers_in_footprints(first: Boxes3D, second: Boxes3D) -> NDArray[np.bool_]:
    """Return whether the centre of a first box lies in the footprint of a second one, (M first, M second)."""
    is_in = _distances(first, second) < _reach(second)[None]
    i, j = np.nonzero(is_in)
    along, across = np.abs(_turned_back(first.centers[i, :2] - second.centers[j, :2], second.yaws[j]))
    is_in[i, j] = (2 * along < second.sizes[j, 0]) & (2 * across < second.sizes[j, 1])
    return is_in


def _reach(boxes: Boxes3D) -> Float64Array:
    """Return how far the corners lie from the centre, (M,)."""
    return np.asarray(np.hypot(boxes.sizes[:, 0], boxes.sizes[:, 1]) / 2)


def _distances(first: Boxes3D, second: Boxes3D) -> Float64Array:
    """Return the distances of the centres seen from above, (M first, M second)."""
    x, y = (second.centers[None, :, axis] - first.centers[:, None, axis] for axis in (0, 1))
    return np.asarray(np.hypot(x, y))


def _turned_back(offsets: Float64Array, yaws: Float64Array) -> Float64Array:
    """Return offsets (K, 2) along and across the directions of `yaws` (K,), as (2, K)."""
    c, s = np.cos(yaws), np.sin(yaws)
    return np.stack([c * offsets[:, 0] + s * offsets[:, 1], c * offsets[:, 1] - s * offsets[:, 0]])


def _convex_intersection_area(subject: Float64Array, clip: Float64Array) -> float:
    """Return the common area of two convex polygons with clockwise corners (Sutherland-Hodgman clipping)."""
    polygon = [(float(x), float(y)) for x, y in subject]
    for k in range(len(clip)):
        (ax, ay), (bx, by) = clip[k], clip[(k + 1) % len(clip)]
        # Positive on the right of the edge a-b, which is the inside of a clockwise polygon.
        sides = [(by - ay) * (x - ax) - (bx - ax) * (y - ay) for x, y in polygon]
        clipped: list[tuple[float, float]] = []
        for i, (x, y) in enumerate(polygon):
            (px, py), previous = polygon[i - 1], sides[i - 1]
            if (sides[i] >= 0) != (previous >= 0):
                t = previous / (previous - sides[i])
                clipped.append((px + t * (x - px), py + t * (y - py)))
            if sides[i] >= 0:
                clipped.append((x, y))
        polygon = clipped
        if len(polygon) < 3:
            return 0.0
    twice = sum(polygon[i - 1][0] * polygon[i][1] - polygon[i][0] * polygon[i - 1][1] for i in range(len(polygon)))
    return abs(twice) / 2


def points_in_boxes(points: Any, boxes: Boxes3D) -> NDArray[np.bool_]:
    """Return whether each point lies in each box, (P, M), borders included."""
    offset = np.asarray(points, dtype=np.float64)[:, None, :3] - boxes.centers[None]
    c, s = np.cos(boxes.yaws), np.sin(boxes.yaws)
    along = c * offset[..., 0] + s * offset[..., 1]
    across = -s * offset[..., 0] + c * offset[..., 1]
    local = np.stack([along, across, offset[..., 2]], axis=-1)
    return np.asarray((np.abs(local) <= boxes.sizes[None] / 2).all(axis=-1))


def transform_boxes(T_target_source: Float64Array, boxes: Boxes3D, frame_id: str) -> Boxes3D:
    """Return `boxes` in the frame `frame_id`; roll and pitch of the transform move centres, not the boxes' tilt."""
    velocities = np.concatenate([boxes.velocities, np.zeros((len(boxes), 1))], axis=1)
    return dataclasses.replace(
        boxes,
        frame_id=frame_id,
        centers=transform_points(T_target_source, boxes.centers),
        yaws=wrap_angle(boxes.yaws + yaw_of(T_target_source[:3, :3])),
        velocities=(velocities @ T_target_source[:3, :3].T)[:, :2],
    )
