"""Cameras around an object, and how a model is told of one; imports no torch.

Poses are ``T_object_camera`` of optical frames (x right, y down, z forward). The published models are told poses in the
axes of OpenGL (x right, y up, z backward).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lift3d_ros.geometry.rigid import invert, make_transform
from lift3d_ros.models.lrm.config import ViewConfig
from lift3d_ros.types import Float64Array

_OPENGL_FROM_OPTICAL = np.diag([1.0, -1.0, -1.0])


def look_at_origin(position: Sequence[float] | Float64Array) -> Float64Array:
    """Return the (4, 4) pose of a camera that looks at the origin with z up; from above or below, with y up.

    Raises:
        ValueError: the camera stands at the origin.
    """
    position = np.asarray(position, dtype=np.float64)
    distance = float(np.linalg.norm(position))
    if distance == 0.0:
        raise ValueError("the camera stands at the origin, which it shall look at; expected a distance above 0")
    forward = -position / distance
    right = np.cross(forward, [0.0, 0.0, 1.0])
    if np.linalg.norm(right) < 1e-6:
        right = np.cross(forward, [0.0, 1.0, 0.0])
    right = right / np.linalg.norm(right)
    return make_transform(np.stack([right, np.cross(forward, right), forward], axis=1), position)


def orbit(azimuths: Sequence[float] | Float64Array, elevation: float, distance: float) -> Float64Array:
    """Return the (V, 4, 4) poses of cameras that look at the origin.

    Args:
        azimuths: radians, from +x towards +y.
        elevation: radians above the plane z = 0.
        distance: from the origin.
    """
    across, height = distance * math.cos(elevation), distance * math.sin(elevation)
    poses = [look_at_origin((across * math.cos(angle), across * math.sin(angle), height)) for angle in azimuths]
    return np.stack(poses) if poses else np.zeros((0, 4, 4))


def turntable(num_views: int, view: ViewConfig, elevation: float = 0.0) -> Float64Array:
    """Return (V, 4, 4) poses all around the object, the assumed camera of the picture first."""
    azimuths = math.radians(view.azimuth_deg) + np.linspace(0.0, 2.0 * math.pi, num_views, endpoint=False)
    return orbit(azimuths, elevation, view.distance)


def move_to_view(
    T_object_cameras: Float64Array, distance: float | None = None, azimuth: float = -0.5 * math.pi
) -> Float64Array:
    """Move an object and its cameras rigidly, so that the first camera stands where a model assumes it.

    Args:
        T_object_cameras: (V, 4, 4).
        distance: of the first camera from the origin afterwards; None keeps the one that it has.
        azimuth: where it stands afterwards, radians.

    Source: fact sheet LRM, section 4.2.
    """
    first = T_object_cameras[0]
    if distance is None:
        distance = float(np.linalg.norm(first[:3, 3]))
    return np.asarray(orbit([azimuth], 0.0, distance)[0] @ invert(first) @ T_object_cameras)


def view_intrinsics(view: ViewConfig) -> Float64Array:
    """Return the (3, 3) intrinsics of the assumed camera, in units of the picture's side."""
    return np.array([[view.focal, 0.0, 0.5], [0.0, view.focal, 0.5], [0.0, 0.0, 1.0]])


def camera_numbers(T_object_camera: Float64Array, intrinsics: Float64Array) -> Float64Array:
    """Return the 16 numbers that tell a model its camera: pose in the axes of OpenGL, then fx, fy, cx, cy.

    Args:
        intrinsics: (3, 3) in units of width and height of the picture.

    Source: fact sheet LRM, section 4.3.
    """
    rotation = T_object_camera[:3, :3] @ _OPENGL_FROM_OPTICAL
    pose = np.column_stack([rotation, T_object_camera[:3, 3]])
    focal_and_center = intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]]
    return np.concatenate([pose.ravel(), focal_and_center])


def view_numbers(view: ViewConfig) -> Float64Array:
    """Return the 16 numbers of the assumed camera, which a model is told at inference."""
    pose = orbit([math.radians(view.azimuth_deg)], 0.0, view.distance)[0]
    return camera_numbers(pose, view_intrinsics(view))
