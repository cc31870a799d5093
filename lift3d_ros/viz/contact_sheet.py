"""One picture of a frame: the cameras as the rig stands, the bird's-eye view beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from lift3d_ros.types import UInt8Array
from lift3d_ros.viz.canvas import DARK, LIGHT, draw_text, place_text

_GAP_PX = 6


def contact_sheet(
    pictures: Mapping[str, UInt8Array], rows: Sequence[Sequence[str]], bev: UInt8Array, cell_width: int = 480
) -> UInt8Array:
    """Return the pictures (H, W, 3) in a grid with their names, missing ones dark, and the square `bev` at the right.

    Args:
        rows: camera names as the rig stands, see `report.camera_rows`.
    """
    ratios = [picture.shape[0] / picture.shape[1] for picture in pictures.values()]
    cell_height = round(cell_width * max(ratios, default=9 / 16))
    columns = max(len(row) for row in rows)
    height = max(len(rows) * (cell_height + _GAP_PX) - _GAP_PX, cell_width)
    sheet: UInt8Array = np.full((height, columns * (cell_width + _GAP_PX) + height, 3), DARK, dtype=np.uint8)
    for row, names in enumerate(rows):
        for column, name in enumerate(names):
            left, top = column * (cell_width + _GAP_PX), row * (cell_height + _GAP_PX)
            cell = sheet[top : top + cell_height, left : left + cell_width]
            if name in pictures:
                size = (cell_width, round(cell_width * pictures[name].shape[0] / pictures[name].shape[1]))
                small = cv2.resize(pictures[name], size, interpolation=cv2.INTER_AREA)[:cell_height]
                cell[: small.shape[0]] = small
            text = name if name in pictures else f"{name}: missing"
            draw_text(cell, place_text(cell, text, np.array([0.0, 16.0]), 9.0), LIGHT, DARK)
    sheet[:, -height:] = cv2.resize(bev, (height, height), interpolation=cv2.INTER_AREA)
    return sheet
