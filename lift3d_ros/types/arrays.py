"""Arrays with one type of number, and rigid transforms, as the nouns of all methods hold them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import CalibrationError

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
UInt8Array = NDArray[np.uint8]


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array, which cannot be changed any more."""
    array.setflags(write=False)
    return array


def as_transform(matrix: Any, name: str) -> Float64Array:
    """Return `matrix` as a read-only (4, 4) float64 rigid transform.

    Raises:
        CalibrationError: wrong shape, not finite, the rotation part is not a rotation (1e-3), or another last row than
            [0, 0, 0, 1].
    """
    array = np.array(matrix, dtype=np.float64)
    if array.shape != (4, 4):
        raise CalibrationError(f"{name} must be a 4x4 matrix, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise CalibrationError(f"{name} contains values that are not finite; check the calibration")
    rotation = array[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
        raise CalibrationError(
            f"{name} is not a rigid transform: its upper-left 3x3 block is not a rotation; "
            "check for a scaled, mirrored or transposed matrix"
        )
    if np.abs(array[3] - (0.0, 0.0, 0.0, 1.0)).max() > 1e-6:
        raise CalibrationError(
            f"{name} has the last row {array[3].tolist()}; expected [0, 0, 0, 1]. Is the matrix transposed?"
        )
    return read_only(array)
