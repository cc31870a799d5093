"""Straight 3D lines and flat faces as seen by a camera.

They are cut at the near plane, bent by the lens and cut at the borders of the picture.
S is the number of lines.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.geometry.camera import project
from lift3d_ros.types import CameraModel, Float64Array

# Nothing nearer along the optical axis is drawn; it keeps lines that pass the camera out of the picture.
NEAR_PLANE_M = 0.2
# Lenses bend lines; this many straight pieces keep the error of a line across a fisheye picture below one pixel.
_PIECES_WHEN_DISTORTED = 16


def visible_lines(model: CameraModel, starts: Float64Array, ends: Float64Array) -> list[list[Float64Array]]:
    """Return for each line the parts that the camera sees.

    Args:
        starts, ends: (S, 3) points of the optical frame, metres.

    Returns:
        For each line a list of polylines (K, 2) in pixels, all within the picture; empty where nothing is seen.
    """
    starts, ends, in_front = _cut_at_near_plane(starts, ends)
    points = _along(model, starts, ends)
    flat_pixels, flat_valid = project(model, points.reshape(-1, 3))
    pixels, is_valid = flat_pixels.reshape(*points.shape[:2], 2), flat_valid.reshape(points.shape[:2])
    first, last, is_seen = _cut_at_borders(pixels[:, :-1], pixels[:, 1:], model.width, model.height)
    is_seen &= is_valid[:, :-1] & is_valid[:, 1:] & in_front[:, None]
    lines: list[list[Float64Array]] = [[] for _ in range(len(starts))]
    for index in np.flatnonzero(is_seen.any(axis=1)):
        lines[index] = _join(first[index], last[index], is_seen[index])
    return lines


def visible_path(model: CameraModel, points: Float64Array) -> list[Float64Array]:
    """Return the parts of a path through the points (K, 3) that the camera sees, each (n, 2) pixels."""
    parts = [part for line in visible_lines(model, points[:-1], points[1:]) for part in line]
    joined: list[list[Float64Array]] = []
    for part in parts:
        if joined and np.array_equal(joined[-1][-1][-1], part[0]):
            joined[-1].append(part[1:])
        else:
            joined.append([part])
    return [np.concatenate(pieces) for pieces in joined]


def visible_polygon(model: CameraModel, corners: Float64Array) -> Float64Array:
    """Return the part of a flat convex face that the camera sees.

    Args:
        corners: (K, 3) points of the optical frame in order around the face, metres.

    Returns:
        The outline in pixels, (K, 2), not closed; (0, 2) where nothing is seen.
    """
    cut = _cut_polygon(corners, corners[:, 2] - NEAR_PLANE_M)
    points = _along(model, cut, np.roll(cut, -1, axis=0))[:, :-1]
    pixels, is_valid = project(model, points.reshape(-1, 3))
    outline = pixels[is_valid]
    for axis, last in ((0, model.width - 0.5), (1, model.height - 0.5)):
        outline = _cut_polygon(outline, outline[:, axis] + 0.5)
        outline = _cut_polygon(outline, last - outline[:, axis])
    return outline


def _along(model: CameraModel, starts: Float64Array, ends: Float64Array) -> Float64Array:
    """Return points (S, pieces + 1, 3) from `starts` to `ends`, in directions that are equally far apart.

    Equal distances along the line would leave long pieces where it passes close to the camera.
    """
    count = _PIECES_WHEN_DISTORTED if model.is_distorted else 1
    fractions = np.linspace(0.0, 1.0, count + 1)[None, :, None]
    length_start, length_end = (np.linalg.norm(points, axis=1)[:, None, None] for points in (starts, ends))
    across = np.linalg.norm(np.cross(starts, ends), axis=1)
    angle = np.arctan2(across, (starts * ends).sum(axis=1))[:, None, None]
    # The sines are not both zero unless the line points at the camera and is seen as one pixel.
    weight_end = length_start * np.sin(fractions * angle)
    weight_start = length_end * np.sin((1.0 - fractions) * angle)
    total = weight_start + weight_end
    share_end = np.where(total > 0.0, weight_end / np.where(total > 0.0, total, 1.0), fractions)
    points = starts[:, None] + share_end * (ends - starts)[:, None]
    points[:, -1] = ends  # exactly, so that the lines of a path stay joined
    return np.asarray(points)


def _cut_polygon(corners: Float64Array, inside: Float64Array) -> Float64Array:
    """Keep the part of a polygon (K, n) where the linear function with the values `inside` (K,) is not negative."""
    kept = []
    for i in range(len(corners)):
        if (inside[i] >= 0) != (inside[i - 1] >= 0):
            fraction = inside[i - 1] / (inside[i - 1] - inside[i])
            kept.append(corners[i - 1] + fraction * (corners[i] - corners[i - 1]))
        if inside[i] >= 0:
            kept.append(corners[i])
    return np.array(kept).reshape(-1, corners.shape[1])


def _cut_at_near_plane(
    starts: Float64Array, ends: Float64Array
) -> tuple[Float64Array, Float64Array, NDArray[np.bool_]]:
    """Move end points behind the near plane onto it; also return whether anything is left of each line."""
    offset_start, offset_end = starts[:, 2] - NEAR_PLANE_M, ends[:, 2] - NEAR_PLANE_M
    crosses = (offset_start < 0) != (offset_end < 0)
    fraction = offset_start / np.where(crosses, offset_start - offset_end, 1.0)
    crossing = starts + fraction[:, None] * (ends - starts)
    cut_starts = np.where((crosses & (offset_start < 0))[:, None], crossing, starts)
    cut_ends = np.where((crosses & (offset_end < 0))[:, None], crossing, ends)
    return cut_starts, cut_ends, (offset_start >= 0) | (offset_end >= 0)


def _cut_at_borders(
    starts: Float64Array, ends: Float64Array, width: int, height: int
) -> tuple[Float64Array, Float64Array, NDArray[np.bool_]]:
    """Cut pixel segments (..., 2) to the picture (Liang-Barsky); also return whether anything is left of each."""
    direction = ends - starts
    lower, upper = np.array([-0.5, -0.5]), np.array([width - 0.5, height - 0.5])
    with np.errstate(divide="ignore", invalid="ignore"):
        to_lower, to_upper = (lower - starts) / direction, (upper - starts) / direction
    is_parallel = direction == 0
    is_between = (starts >= lower) & (starts <= upper)
    enter = np.where(is_parallel, np.where(is_between, 0.0, 2.0), np.minimum(to_lower, to_upper)).max(axis=-1)
    leave = np.where(is_parallel, 1.0, np.maximum(to_lower, to_upper)).min(axis=-1)
    enter, leave = np.maximum(enter, 0.0), np.minimum(leave, 1.0)
    # At 0 and 1 the end points themselves are kept, so that pieces of one line stay joined.
    first = np.where((enter > 0)[..., None], starts + enter[..., None] * direction, starts)
    last = np.where((leave < 1)[..., None], starts + leave[..., None] * direction, ends)
    return first, last, enter <= leave


def _join(first: Float64Array, last: Float64Array, is_seen: NDArray[np.bool_]) -> list[Float64Array]:
    """Join the seen pieces (count, 2) of one line where one ends as the next begins."""
    lines: list[list[Float64Array]] = []
    for piece in np.flatnonzero(is_seen):
        if lines and np.array_equal(lines[-1][-1], first[piece]):
            lines[-1].append(last[piece])
        else:
            lines.append([first[piece], last[piece]])
    return [np.array(line) for line in lines]
