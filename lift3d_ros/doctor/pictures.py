"""Writes the calibration picture of a camera: horizon and ground grid drawn into what it sees."""

from __future__ import annotations

import re
from pathlib import Path

import cv2

from lift3d_ros.errors import ConfigError
from lift3d_ros.images.decode import decode
from lift3d_ros.types import CameraView
from lift3d_ros.viz.calibration import draw_calibration

LOOK_AT_THEM = "look at them: the grid must lie on the road, the horizon where level things vanish"


def write_calibration_picture(folder: Path, view: CameraView) -> Path:
    """Write ``folder/<camera>.png`` and return its path.

    Raises:
        ImageError: the picture cannot be decoded.
        CalibrationError: picture and calibration differ in shape.
        ConfigError: the folder cannot be written to.
    """
    picture = draw_calibration(decode(view.image), view)
    _, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    path = folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', view.model.name)}.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise ConfigError(f"--out '{folder}': cannot be written ({error.strerror or error}); name another") from None
    return path
