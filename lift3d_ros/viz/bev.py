"""A bird's-eye view of boxes around the vehicle: x forward is up, y left is left.

Draws what it is given, in the base frame; the interactive view of the report page is drawn by its own scripts.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lift3d_ros.geometry.boxes import bev_corners
from lift3d_ros.geometry.camera import unproject
from lift3d_ros.types import Boxes3D, CameraView, Float64Array, UInt8Array
from lift3d_ros.viz.canvas import (
    LIGHT,
    dashes,
    draw_caption,
    draw_lines,
    draw_text,
    fill_polygon,
    picture_unit,
    place_text,
)
from lift3d_ros.viz.palette import GROUND_TRUTH, Color, class_color

_BACKGROUND: Color = (23, 27, 32)
_RING: Color = (62, 70, 80)
_QUIET: Color = (150, 160, 172)
_FIELD: Color = (90, 140, 190)
# A car seen from above, for orientation only: its base frame lies below the middle of the rear axle.
_VEHICLE = np.array([[3.7, 0.6], [3.4, 0.9], [-1.0, 0.95], [-1.0, -0.95], [3.4, -0.9], [3.7, -0.6]])
_SLOWEST_ARROW = 0.5  # m/s
_MIN_BOX_PX = 5.0


def draw_bev(
    boxes: Boxes3D,
    ground_truth: Boxes3D | None = None,
    *,
    range_m: float = 51.2,
    views: Mapping[str, CameraView] | None = None,
    trails: Mapping[int, Float64Array] | None = None,
    size_px: int = 800,
    caption: str = "",
) -> UInt8Array:
    """Return a square picture of the surroundings.

    Args:
        boxes: in the base frame; class colours, front edge thick, arrow for one second of motion.
        ground_truth: the same; white dashes.
        range_m: half of the side of the square.
        views: cameras whose horizontal fields of view are tinted.
        trails: track id -> (K, 2 or 3) where the box with this id has been, in the base frame.
        caption: lines for the lower left corner; a line with ``untrained weights`` becomes a banner.
    """
    picture: UInt8Array = np.full((size_px, size_px, 3), _BACKGROUND, dtype=np.uint8)
    plan = _Plan(range_m, size_px)
    unit = picture_unit(picture)
    for view in (views or {}).values():
        _draw_field(picture, plan, view)
    _draw_grid(picture, plan)
    fill_polygon(picture, plan.pixels(_VEHICLE), _QUIET, 0.55)
    draw_lines(picture, [plan.pixels(_VEHICLE)], LIGHT, unit, is_closed=True)
    draw_lines(picture, [plan.pixels([[2.4, 0.7], [3.3, 0.0], [2.4, -0.7]])], LIGHT, unit)
    if ground_truth is not None:
        for outline in bev_corners(ground_truth):
            closed = plan.pixels(np.concatenate([outline, outline[:1]]))
            draw_lines(picture, dashes(closed, 3.0 * unit), GROUND_TRUTH, unit)
        _draw_arrows(picture, plan, ground_truth, [GROUND_TRUTH] * len(ground_truth), 1.0)
    colors = [class_color(boxes.class_names[label]) for label in boxes.labels]
    _draw_trails(picture, plan, boxes, colors, trails or {})
    for corners, color in zip(bev_corners(boxes), colors, strict=True):
        _draw_box(picture, plan, corners, color)
    _draw_arrows(picture, plan, boxes, colors, 1.5)
    _draw_legend(picture, plan, boxes, has_ground_truth=ground_truth is not None, has_trails=bool(trails))
    draw_caption(picture, caption)
    return picture


def bev_pixels(ground: object, range_m: float = 51.2, size_px: int = 800) -> Float64Array:
    """Return where points (K, 2), x forward and y left in metres, lie in the picture of :func:`draw_bev`."""
    return _Plan(range_m, size_px).pixels(ground)


class _Plan:
    """The mapping from the ground plane to the square picture."""

    def __init__(self, range_m: float, size_px: int) -> None:
        self.range_m = range_m
        self.px_per_m = size_px / (2 * range_m)
        self._middle = size_px / 2 - 0.5

    def pixels(self, ground: object) -> Float64Array:
        """Map points (K, 2), x forward and y left in metres, to pixels."""
        points = np.asarray(ground, dtype=np.float64)
        return self._middle - points[:, ::-1] * self.px_per_m


def _draw_grid(picture: UInt8Array, plan: _Plan) -> None:
    unit = picture_unit(picture)
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 1000) if plan.range_m / step <= 6)
    angle = np.linspace(0.0, 2 * np.pi, 181)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    axes = plan.range_m * np.array([[[-1.0, 0.0], [1.0, 0.0]], [[0.0, -1.0], [0.0, 1.0]]])
    radii = np.arange(step, plan.range_m * np.sqrt(2), step)
    draw_lines(picture, [plan.pixels(radius * circle) for radius in radii], _RING, unit)
    draw_lines(picture, [plan.pixels(axis) for axis in axes], _RING, unit)
    letter_px = 7.0 * unit
    for radius in radii[radii < plan.range_m]:
        at = plan.pixels([[radius, 0.0]])[0] + [0.0, 0.9 * letter_px]
        draw_text(picture, place_text(picture, f"{radius:g} m", at, letter_px), _QUIET, _BACKGROUND)
    for text, ground in (("x forward", (0.9 * plan.range_m, 0.0)), ("y left", (0.0, plan.range_m))):
        at = plan.pixels([ground])[0] + [0.0, 0.9 * letter_px]
        draw_text(picture, place_text(picture, text, at, letter_px), LIGHT, _BACKGROUND)


def _draw_field(picture: UInt8Array, plan: _Plan, view: CameraView) -> None:
    """Tint the sector that the middle row of a camera sees."""
    columns = np.linspace(-0.5, view.model.width - 0.5, 33)
    rays = unproject(view.model, np.stack([columns, np.full(33, view.model.intrinsics[1, 2])], axis=1))
    rays = rays[np.isfinite(rays).all(axis=1)]
    ground = (rays @ view.T_base_cam[:3, :3].T)[:, :2]
    length = np.linalg.norm(ground, axis=1, keepdims=True)
    origin = view.T_base_cam[:2, 3]
    rim = origin + 3.0 * plan.range_m * ground / np.maximum(length, 1e-9)
    sector = plan.pixels(np.concatenate([origin[None], rim]))
    fill_polygon(picture, sector, _FIELD, 0.12)
    draw_lines(picture, [sector[[0, 1]], sector[[0, -1]]], _RING)


def _draw_box(picture: UInt8Array, plan: _Plan, corners: Float64Array, color: Color) -> None:
    unit = picture_unit(picture)
    outline = plan.pixels(corners)
    fill_polygon(picture, outline, color, 0.3)
    draw_lines(picture, [outline], color, 1.2 * unit, is_closed=True)
    draw_lines(picture, [outline[:2]], color, 3.0 * unit)
    if np.ptp(outline, axis=0).max() < _MIN_BOX_PX:  # cones and people would vanish
        fill_polygon(
            picture, outline.mean(axis=0) + 1.5 * unit * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]), color, 1
        )


def _draw_arrows(picture: UInt8Array, plan: _Plan, boxes: Boxes3D, colors: list[Color], thickness: float) -> None:
    """Draw where each moving box will be in one second."""
    unit = picture_unit(picture)
    speeds = np.linalg.norm(boxes.velocities, axis=1)
    for index in np.flatnonzero(speeds > _SLOWEST_ARROW):  # NaN, unknown, compares false
        start, end = plan.pixels(boxes.centers[index, :2] + np.array([[0.0], [1.0]]) * boxes.velocities[index])
        forward = (end - start) / max(float(np.linalg.norm(end - start)), 1e-9)
        left = np.array([forward[1], -forward[0]])
        head = np.stack([end - 5 * unit * forward + 3 * unit * left, end, end - 5 * unit * forward - 3 * unit * left])
        draw_lines(picture, [np.stack([start, end]), head], colors[index], thickness * unit)


def _draw_trails(
    picture: UInt8Array, plan: _Plan, boxes: Boxes3D, colors: list[Color], trails: Mapping[int, Float64Array]
) -> None:
    """Draw where the boxes came from, and the number of each track beside its box."""
    assert boxes.track_ids is not None
    unit = picture_unit(picture)
    footprints = bev_corners(boxes)
    for index, track_id in enumerate(boxes.track_ids.tolist()):
        if track_id in trails:
            draw_lines(picture, [plan.pixels(trails[track_id][:, :2])], colors[index], 1.2 * unit)
        if track_id >= 0 and (np.abs(boxes.centers[index, :2]) <= plan.range_m).all():
            outline = plan.pixels(footprints[index])
            beside = np.array([outline[:, 0].max() + 10.0 * unit, outline[:, 1].mean() + 6.0 * unit])
            text = place_text(picture, str(track_id), beside, 6.0 * unit)
            draw_text(picture, text, colors[index], _BACKGROUND, strength=0.4)


def _draw_legend(picture: UInt8Array, plan: _Plan, boxes: Boxes3D, *, has_ground_truth: bool, has_trails: bool) -> None:
    unit = picture_unit(picture)
    is_inside = (np.abs(boxes.centers[:, :2]) <= plan.range_m).all(axis=1)
    counts = np.bincount(boxes.labels[is_inside], minlength=len(boxes.class_names))
    rows = [
        (f"{counts[label]} {boxes.class_names[label]}", class_color(boxes.class_names[label]))
        for label in np.flatnonzero(counts)
    ]
    rows += [("dashed: ground truth", GROUND_TRUTH)] if has_ground_truth else []
    rows += [("arrow: motion in 1 s", _QUIET)]
    rows += [("line: way of a track", _QUIET)] if has_trails else []
    letter_px = 7.5 * unit
    bottom = float(picture.shape[0])
    for text, color in reversed(rows):
        box = place_text(picture, text, np.array([float(picture.shape[1]), bottom]), letter_px)
        draw_text(picture, box, color, _BACKGROUND, strength=0.6)
        bottom = float(box.top)
