"""The calibration of a camera drawn into its picture: horizon, ground grid and distances.

With a right calibration the grid lies flat on the road and the horizon where level things vanish. The ground is
z = 0 of the base frame, seen from the mounted camera, without the motion of the vehicle.
"""

from __future__ import annotations

import numpy as np

from lift3d_ros.geometry.rigid import invert, transform_points
from lift3d_ros.images.preprocess import scaled_to
from lift3d_ros.types import CameraView, Float64Array, UInt8Array
from lift3d_ros.viz.canvas import TextBox, draw_caption, draw_lines, draw_text, picture_unit, place_text
from lift3d_ros.viz.lines import visible_path
from lift3d_ros.viz.palette import Color

_GRID: Color = (235, 240, 245)
_RING: Color = (255, 205, 60)
_HORIZON: Color = (255, 80, 200)
_X_AXIS: Color = (255, 80, 70)
_Y_AXIS: Color = (80, 225, 110)

_GRID_STEP_M = 5.0
_GRID_REACH_M = 30.0
_RINGS_M = (5.0, 10.0, 20.0, 30.0, 50.0)


def draw_calibration(rgb: UInt8Array, view: CameraView) -> UInt8Array:
    """Return a copy of the picture with the horizon, a 5 m ground grid and labelled distance rings.

    Args:
        rgb: (H, W, 3) the whole picture of the camera, at the size of its calibration or scaled.
    """
    model = scaled_to(view.model, rgb.shape[1], rgb.shape[0], view.image.label)
    T_cam_base = invert(view.T_base_cam)
    picture = np.array(rgb, dtype=np.uint8, order="C")
    unit = picture_unit(picture)
    for paths, color, thickness in (
        (_grid(), _GRID, 1.0 * unit),
        ([_line(0, 0.0, first=0.0)], _X_AXIS, 2.0 * unit),
        ([_line(1, 0.0, first=0.0)], _Y_AXIS, 2.0 * unit),
    ):
        for path in paths:
            seen = visible_path(model, transform_points(T_cam_base, path))
            draw_lines(picture, seen, color, thickness, seam=0.3)
    # Level directions meet the horizon far away, wherever the camera stands.
    horizon = visible_path(model, _circle(1e5) @ T_cam_base[:3, :3].T)
    draw_lines(picture, horizon, _HORIZON, 1.5 * unit, seam=0.4)
    labels = _label(picture, horizon, "horizon")
    for radius in _RINGS_M:
        ring = visible_path(model, transform_points(T_cam_base, _circle(radius)))
        draw_lines(picture, ring, _RING, 1.5 * unit, seam=0.4)
        labels += _label(picture, ring, f"{radius:g} m")
    placed: list[TextBox] = []
    for label in labels:
        if not any(label.covers(other) for other in placed):
            placed.append(label)
            draw_text(picture, label, _HORIZON if label.text == "horizon" else _RING)
    draw_caption(picture, _caption(view), at_top=True)
    return picture


def _grid() -> list[Float64Array]:
    """Return the lines of the grid, (2, 3) each, without the two axes."""
    at = np.arange(_GRID_STEP_M, _GRID_REACH_M + 1e-6, _GRID_STEP_M)
    return [_line(axis, offset) for axis in (0, 1) for offset in (*-at, *at)]


def _line(axis: int, offset: float, first: float = -_GRID_REACH_M) -> Float64Array:
    """Return the line (2, 3) along `axis` (0 is x) at `offset` on the other one."""
    line = np.zeros((2, 3))
    line[:, axis] = first, _GRID_REACH_M
    line[:, 1 - axis] = offset
    return line


def _circle(radius: float) -> Float64Array:
    """Return a circle on the ground around the origin, (K, 3)."""
    angle = np.linspace(0.0, 2 * np.pi, 361)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), np.zeros_like(angle)], axis=1)


def _label(picture: UInt8Array, parts: list[Float64Array], text: str) -> list[TextBox]:
    """Put the text where the lines are nearest to the middle column of the picture, if they are seen at all."""
    if not parts:
        return []
    points = np.concatenate(parts)
    nearest = points[np.argmin(np.abs(points[:, 0] - picture.shape[1] / 2))]
    return [place_text(picture, text, nearest, 8.0 * picture_unit(picture))]


def _caption(view: CameraView) -> str:
    rotation = view.T_base_cam[:3, :3]
    right, forward = rotation[:, 0], rotation[:, 2]
    yaw = np.degrees(np.arctan2(forward[1], forward[0]))
    pitch = np.degrees(np.arcsin(np.clip(-forward[2], -1.0, 1.0)))
    roll = round(float(np.degrees(np.arcsin(np.clip(-right[2], -1.0, 1.0)))), 1) + 0.0  # no minus sign before zero
    return (
        f"{view.model.name}: {abs(yaw):.1f} deg {'left' if yaw >= 0 else 'right'} of forward, "
        f"{abs(pitch):.1f} deg {'down' if pitch >= 0 else 'up'}, roll {roll:.1f} deg, "
        f"{view.T_base_cam[2, 3]:.2f} m above z = 0\n"
        f"grid {_GRID_STEP_M:g} m at z = 0; red: x, forward; green: y, left"
    )
