"""Lidar files of labelled data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lift3d_ros.array_files import read_archive
from lift3d_ros.errors import DatasetError
from lift3d_ros.types import Float32Array, UInt8Array


def read_points(path: Path) -> tuple[Float32Array, UInt8Array]:
    """Return lidar points (P, 3) metres in the lidar frame of the scene, and their intensities (P,).

    Reads ``.npz`` with arrays `xyz` and `intensity`, and nuScenes ``.pcd.bin`` (float32 x y z intensity ring).

    Raises:
        DatasetError: the file is missing or has another form.
    """
    if path.suffix == ".bin":
        return _read_nuscenes_points(path)
    try:
        arrays = read_archive(path, "xyz", "intensity").arrays
        return np.asarray(arrays["xyz"], np.float32), np.asarray(arrays["intensity"], np.uint8)
    except (OSError, ValueError, KeyError) as error:
        raise DatasetError(f"{path}: not a lidar file with arrays 'xyz' and 'intensity' ({error})") from None


def _read_nuscenes_points(path: Path) -> tuple[Float32Array, UInt8Array]:
    try:
        values = np.fromfile(path, dtype="<f4")
    except OSError as error:
        raise DatasetError(f"{path}: lidar file cannot be read ({error.strerror})") from None
    if values.size % 5:
        raise DatasetError(f"{path}: {values.size} float32 values; expected five for each point. The file is cut short")
    points = values.reshape(-1, 5)
    return np.asarray(points[:, :3], np.float32), np.clip(points[:, 3], 0, 255).astype(np.uint8)
