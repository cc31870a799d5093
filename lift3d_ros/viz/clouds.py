"""Pictures of coloured clouds, seen along an axis of their frame or from above at an angle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.types import Float32Array, Float64Array, UInt8Array
from lift3d_ros.viz.objects import object_sheet

BACKGROUND = 255
_MARGIN = 0.04
_DIMMED = 0.35  # share of the brightness that the farthest points lose
_MOST_POINTS = 400_000

# Rows: right, down and away in the picture, in the frame of the cloud.
VIEWS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "from +x": ((0, 1, 0), (0, 0, -1), (-1, 0, 0)),
    "from -y": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "from +z": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "along +z": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),  # as a camera with an optical frame sees it
    "oblique": ((0.8192, 0.5736, 0), (0.3279, -0.4683, -0.8205), (-0.4706, 0.6721, -0.5717)),
}


def cloud_picture(
    points: Float32Array, colors: UInt8Array, side: int, view: str = "oblique", point_px: int = 0
) -> UInt8Array:
    """Return a square picture (side, side, 3) by parallel projection, near points over far ones, far ones darker.

    Args:
        points: (N, 3); those that are not finite are not drawn.
        colors: (N, 3) RGB.
        view: one of `VIEWS`.
        point_px: side of a point; 0 chooses it by their number.
    """
    picture: UInt8Array = np.full((side, side, 3), BACKGROUND, dtype=np.uint8)
    rows = np.flatnonzero(np.isfinite(points).all(axis=1))
    if len(rows) > _MOST_POINTS:
        rows = rows[:: -(-len(rows) // _MOST_POINTS)]
    if not len(rows):
        return picture
    seen = points[rows].astype(np.float64) @ np.array(VIEWS[view]).T
    order = np.argsort(-seen[:, 2], kind="stable")  # what is painted later covers
    seen, rows = seen[order], rows[order]
    size = point_px or int(np.clip(side / 1.2 / np.sqrt(len(rows)), 1, 7))
    pixels = _pixels(seen[:, :2], side)
    nearness = (seen[0, 2] - seen[:, 2]) / max(float(seen[0, 2] - seen[-1, 2]), 1e-9)
    paint = colors[rows] * (1.0 - _DIMMED * (1.0 - nearness))[:, None]
    steps = np.arange(size) - (size - 1) // 2
    square = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    places = np.clip(pixels[:, None] + square, 0, side - 1).reshape(-1, 2)
    picture[places[:, 1], places[:, 0]] = np.repeat(np.rint(paint).astype(np.uint8), len(square), axis=0)
    return picture


def cloud_sheet(
    points: Float32Array, colors: UInt8Array, caption: str, views: Sequence[str] = tuple(VIEWS)[:3], cell: int = 384
) -> UInt8Array:
    """Return pictures of one cloud from several sides, under a caption; other arguments as :func:`cloud_picture`."""
    pictures = [(view, cloud_picture(points, colors, cell, view)) for view in views]
    return object_sheet(pictures, caption, columns=len(pictures), cell=cell)


def value_colors(values: NDArray[Any]) -> UInt8Array:
    """Return colours (N, 3) of values (N,), dark blue for the smallest, over green, to yellow for the largest."""
    low, high = float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))
    share = np.clip((values.astype(np.float64) - low) / max(high - low, 1e-12), 0.0, 1.0)
    # Viridis at five places.
    stops = np.array([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], dtype=np.float64)
    at = np.linspace(0.0, 1.0, len(stops))
    bands = [np.rint(np.interp(share, at, stops[:, band])).astype(np.uint8) for band in range(3)]
    return np.stack(bands, axis=1)


def _pixels(places: Float64Array, side: int) -> NDArray[np.int64]:
    """Return pixels (N, 2) of places (N, 2), which fill the picture up to a margin."""
    lower, upper = places.min(axis=0), places.max(axis=0)
    extent = max(float((upper - lower).max()), 1e-9)
    scale = side * (1 - 2 * _MARGIN) / extent
    return np.asarray(np.floor((places - (lower + upper) / 2) * scale + side / 2), np.int64)
