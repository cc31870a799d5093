"""Known depth of a prepared picture, one number for each cell of the feature map that learns it.

A cell holds the smallest depth that is known of its pixels, metres along the optical axis; infinite where none is.
Cells at the right and at the bottom are incomplete where the size of the picture is no multiple of a cell.
Rectifying and scaling keep the optical axis, so depths of the picture as it was taken hold for the prepared one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import DatasetError
from lift3d_ros.geometry.camera import project
from lift3d_ros.geometry.project import project_points
from lift3d_ros.geometry.rigid import transform_points
from lift3d_ros.images.preprocess import ImagePreprocessor, InputSpec, scaled_to
from lift3d_ros.types import CameraModel, CameraView, DistortionModel, Float32Array, Float64Array

CELL = 16
"""Edge of a cell, px of the prepared picture."""

_MAX_CACHED_CAMERAS = 64


def grid_shape(spec: InputSpec) -> tuple[int, int]:
    """Return rows and columns of cells, incomplete ones included."""
    return -(-spec.height // CELL), -(-spec.width // CELL)


def cell_depths_of_map(depth_map: Float32Array, model: CameraModel, spec: InputSpec, label: str) -> NDArray[np.float16]:
    """Return the cells of a dense depth map (H, W) of the picture as it was taken, 0 where unknown.

    Args:
        model: the calibration; the map may be smaller or larger than it, with the same shape.
        label: names the map in error messages.

    Raises:
        DatasetError: the map is not a picture.
        CalibrationError: it has another shape than the calibration.
    """
    if depth_map.ndim != 2:
        raise DatasetError(f"{label}: depth map of shape {depth_map.shape}; expected (height, width)")
    rows, columns = grid_shape(spec)
    height, width = depth_map.shape
    source = _source_pixels(spec, *_key(scaled_to(model, width, height, label)))
    found = np.where(source >= 0, depth_map.ravel()[source], 0.0).reshape(spec.height, spec.width)
    depths = np.full((rows * CELL, columns * CELL), np.inf)
    depths[: spec.height, : spec.width] = np.where(found > 0.0, found, np.inf)
    return _as_cells(depths.reshape(rows, CELL, columns, CELL).min(axis=(1, 3)))


def cell_depths_of_points(
    points: Float32Array, view: CameraView, image_from_base: Float64Array, spec: InputSpec
) -> NDArray[np.float16]:
    """Return the cells of LiDAR points (P, 3), metres in the base frame at the reference stamp.

    Args:
        image_from_base: (4, 4) into the pixels of the prepared picture, see :mod:`lift3d_ros.geometry.project`.
    """
    rows, columns = grid_shape(spec)
    in_picture, is_seen = project(view.model, transform_points(view.T_cam_reference, points))
    is_seen &= ((in_picture >= -0.5) & (in_picture < [view.model.width - 0.5, view.model.height - 0.5])).all(axis=1)
    pixels, depths = project_points(image_from_base, points[is_seen])
    is_inside = ((pixels >= -0.5) & (pixels < [spec.width - 0.5, spec.height - 0.5])).all(axis=1) & (depths > 0.0)
    column, row = np.floor((pixels[is_inside] + 0.5) / CELL).astype(np.int64).T
    nearest = np.full(rows * columns, np.inf)
    np.minimum.at(nearest, row * columns + column, depths[is_inside])
    return _as_cells(nearest.reshape(rows, columns))


def _as_cells(depths: Any) -> NDArray[np.float16]:
    """Depths beyond the largest half-precision number become infinite, which is what unknown is."""
    with np.errstate(over="ignore"):
        return np.asarray(depths, dtype=np.float16)


def _key(model: CameraModel) -> tuple[int, int, DistortionModel, bytes, bytes]:
    return model.width, model.height, model.distortion_model, model.intrinsics.tobytes(), model.distortion.tobytes()


@lru_cache(maxsize=_MAX_CACHED_CAMERAS)
def _source_pixels(
    spec: InputSpec, width: int, height: int, distortion_model: DistortionModel, intrinsics: bytes, distortion: bytes
) -> NDArray[np.int64]:
    """Return which source pixel is nearest to each prepared one, (H * W,), -1 where the camera saw nothing."""
    K = np.frombuffer(intrinsics).reshape(3, 3)
    model = CameraModel("source", "", width, height, K, distortion_model, np.frombuffer(distortion))
    prepared = ImagePreprocessor(spec).intrinsics_for(model)
    columns, rows = np.meshgrid(np.arange(spec.width, dtype=np.float64), np.arange(spec.height, dtype=np.float64))
    rays = np.stack([columns.ravel(), rows.ravel(), np.ones(columns.size)], axis=1) @ np.linalg.inv(prepared).T
    pixels, is_valid = project(model, rays)
    is_valid &= ((pixels >= -0.5) & (pixels < [width - 0.5, height - 0.5])).all(axis=1)
    column, row = np.floor(np.where(is_valid[:, None], pixels, 0.0) + 0.5).astype(np.int64).T
    return np.where(is_valid, row * width + column, -1)
