"""Turns the picture of a distorted camera into that of a pinhole camera of the size of the network input.

Undistorting, scaling and cropping are one look-up per network pixel, with fixed-point maps made once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from lift3d_ros.errors import CalibrationError
from lift3d_ros.geometry.camera import project, unproject
from lift3d_ros.images.shrink import shrink
from lift3d_ros.types import CameraModel, Float64Array, UInt8Array

# A pinhole picture spends its pixels on the rim of a wide field: at 60 degrees off the axis an angle takes four
# times as many as in the middle. Wider cameras are cut there.
_MAX_HALF_ANGLE = np.deg2rad(60.0)
_SMALLEST_FIELD = 1e-3  # x/z; the longest lenses of vehicles see more than a hundred times as much


@dataclass(frozen=True, eq=False)
class Rectification:
    """Maps from network pixels to a distorted picture, and the pinhole camera they make.

    Args:
        intrinsics: (3, 3) of the rectified picture.
        shrink_factor: how much the distorted picture is shrunk before the look-up.
        map_xy, map_fraction: fixed-point maps as `cv2.remap` takes them.
    """

    intrinsics: Float64Array
    shrink_factor: int
    map_xy: Any
    map_fraction: Any

    @classmethod
    def fit(cls, model: CameraModel, width: int, height: int, axis_row: float) -> Rectification:
        """Choose a pinhole camera of `width` x `height` that keeps the useful field of `model`, and make its maps.

        The horizontal field of the middle row fills the width. Vertically the rows are chosen as for
        undistorted cameras: the lowest visible row is at the bottom, what is too much goes at the top;
        a flat picture gets empty rows at the bottom.

        Args:
            axis_row: the optical axis is at or below this row.

        Raises:
            CalibrationError: the model sees nothing near its axis in the middle row or column of the picture.
        """
        intrinsics = _choose_intrinsics(model, width, height, axis_row)
        columns, rows = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
        rays = np.stack([columns.ravel(), rows.ravel(), np.ones(width * height)], axis=1) @ np.linalg.inv(intrinsics).T
        pixels, is_valid = project(model, rays)
        shrink_factor = max(1, int(model.intrinsics[0, 0] / intrinsics[0, 0]))
        ratio = np.array([model.width // shrink_factor, model.height // shrink_factor]) / (model.width, model.height)
        source = np.where(is_valid[:, None], (pixels + 0.5) * ratio - 0.5, -1e4)
        source = np.clip(source, -1e4, 3e4).reshape(height, width, 2).astype(np.float32)
        map_xy, map_fraction = cv2.convertMaps(source[..., 0], source[..., 1], cv2.CV_16SC2)
        return cls(intrinsics, shrink_factor, map_xy, map_fraction)

    def apply(self, picture: UInt8Array) -> UInt8Array:
        """Rectify a picture (H, W[, C]); black where the camera saw nothing."""
        small = shrink(picture, self.shrink_factor)
        return np.asarray(cv2.remap(small, self.map_xy, self.map_fraction, cv2.INTER_LINEAR, borderValue=0))


def _choose_intrinsics(model: CameraModel, width: int, height: int, axis_row: float) -> Float64Array:
    K = model.intrinsics
    middle_column = np.clip(K[0, 2], 0, model.width - 1)
    middle_row = np.clip(K[1, 2], 0, model.height - 1)
    left, right = _field(model, 0, np.array([-0.5, middle_row]), np.array([model.width - 0.5, middle_row]))
    top, bottom = _field(model, 1, np.array([middle_column, -0.5]), np.array([middle_column, model.height - 0.5]))
    fx = width / (right - left)
    fy = fx * K[1, 1] / K[0, 0]
    is_tall = fy * (bottom - top) > height
    cy = max(height - 0.5 - fy * bottom, axis_row) if is_tall else -0.5 - fy * top
    return np.array([[fx, 0.0, -0.5 - fx * left], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def _field(model: CameraModel, axis: int, first: Float64Array, last: Float64Array) -> tuple[float, float]:
    """Return the smallest and largest x/z (axis 0) or y/z (axis 1) that is seen from one pixel to another."""
    fractions = np.linspace(0.0, 1.0, 201)[:, None]
    seen = unproject(model, first + fractions * (last - first))[:, axis]
    seen = seen[np.abs(seen) <= np.tan(_MAX_HALF_ANGLE)]  # NaN, where no ray arrives, compares false
    if seen.size < 2 or np.ptp(seen) < _SMALLEST_FIELD:
        raise CalibrationError(
            f"camera '{model.name}': by its calibration the picture shows nothing within "
            f"{np.rad2deg(_MAX_HALF_ANGLE):.0f} degrees of the optical axis; expected intrinsics and "
            f"'{model.distortion_model}' coefficients of a real lens. Calibrate it again, or correct the rig file"
        )
    return float(seen.min()), float(seen.max())
