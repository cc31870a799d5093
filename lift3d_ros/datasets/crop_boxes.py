"""Boxes of objects in a cloud, as a JSON file that a user writes or that a detector wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import ConfigError, Lift3dError
from lift3d_ros.types import Boxes3D


def read_crop_boxes(path: Path, frame_id: str = "") -> tuple[Boxes3D, NDArray[np.int64]]:
    """Read boxes in the frame of a cloud, called `frame_id` here, and their numbers.

    The file holds a list of boxes, or a mapping with such a list as `boxes`: each with `center` (x, y, z) and `size`
    (length, width, height) in metres, and where given `yaw` (radians about +z), `score`, and `id` (0 and above; where
    absent its place in the list).

    Raises:
        ConfigError: the file is missing, no JSON, or a box is not complete; names it.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON ({error}); give a list of boxes") from None
    entries = document.get("boxes") if isinstance(document, dict) else document
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: expected a list of boxes, or a mapping with one as 'boxes'")
    rows = []
    for number, entry in enumerate(entries):
        try:
            rows.append(_row(entry, number))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{path}: box {number} cannot be read ({type(error).__name__}: {error}); expected center [x, y, z] and "
                "size [length, width, height] in metres, all finite and sizes above 0"
            ) from None
    values = np.array([row for row, _ in rows], dtype=np.float64).reshape(-1, 8)
    ids = np.array([box_id for _, box_id in rows], dtype=np.int64)
    if len(np.unique(ids)) < len(ids):
        raise ConfigError(f"{path}: two boxes have the same id; give each its own")
    count = len(values)
    try:
        boxes = Boxes3D(
            frame_id, ("object",), values[:, :3], values[:, 3:6], values[:, 6], np.full((count, 2), np.nan),
            values[:, 7], np.zeros(count, np.int64),
        )  # fmt: skip
    except Lift3dError as error:
        raise ConfigError(f"{path}: {error}") from None
    return boxes, ids


def _row(entry: Any, number: int) -> tuple[list[float], int]:
    center, size = [float(value) for value in entry["center"]], [float(value) for value in entry["size"]]
    row = [*center, *size, float(entry.get("yaw", 0.0)), float(entry.get("score", 1.0))]
    if len(row) != 8 or len(center) != 3 or not np.isfinite(row).all() or min(size) <= 0:
        raise ValueError(f"center {center}, size {size}")
    box_id = entry.get("id", number)
    # Some tools write all numbers with a point. The upper end is that of the messages.
    if not isinstance(box_id, int | float) or box_id != box_id // 1 or not 0 <= box_id < 2**31:
        raise ValueError(f"id {box_id!r}, expected a whole number of 0 and above")
    return row, int(box_id)
