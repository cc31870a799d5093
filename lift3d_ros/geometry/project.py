"""The projection matrix from the base frame into a picture, and its application."""

from __future__ import annotations

from typing import Any

import numpy as np

from lift3d_ros.types import Float64Array


def image_from_base(intrinsics: Float64Array, T_cam_base: Float64Array) -> Float64Array:
    """Return the (4, 4) matrix that maps base points to (u*depth, v*depth, depth, 1).

    Args:
        intrinsics: (3, 3) of the picture that is projected into, after any resizing and cropping.
        T_cam_base: base frame to optical frame; pass ``CameraView.T_cam_reference`` so that the motion of
            the vehicle between capture and reference stamp is compensated.
    """
    K = np.eye(4)
    K[:3, :3] = intrinsics
    return np.asarray(K @ T_cam_base)


def project_points(matrix: Float64Array, points: Any) -> tuple[Float64Array, Float64Array]:
    """Project base points (M, 3) by a matrix of :func:`image_from_base`.

    Returns:
        (M, 2) pixels and (M,) depths along the optical axis; pixels mean something only where depth > 0.
    """
    points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    homogeneous = points @ matrix[:3, :3].T + matrix[:3, 3]
    depth = homogeneous[:, 2]
    safe = np.where(np.abs(depth) < 1e-9, 1e-9, depth)
    return homogeneous[:, :2] / safe[:, None], depth
