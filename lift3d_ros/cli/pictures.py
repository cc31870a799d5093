"""Writes pictures beside the results of a command."""

from __future__ import annotations

from pathlib import Path

from lift3d_ros.types import UInt8Array

PICTURES_FOLDER = "pictures"
_QUALITY = 92


def write_picture(path: Path, rgb: UInt8Array) -> None:
    """Write a picture (H, W, 3) as JPEG; its folder is created."""
    import cv2
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(rgb[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    path.write_bytes(data.tobytes())
