"""Projection of points into distorted cameras and back, for every supported distortion model.

Normalised image coordinates are (x/z, y/z) of the optical frame; pixel (0, 0) is the centre of the first
pixel. Coefficients are in OpenCV order: plumb_bob k1 k2 p1 p2 [k3]; rational_polynomial k1 k2 p1 p2 k3
k4 k5 k6 [s1 s2 s3 s4 [tx ty]]; equidistant (fisheye) k1 k2 k3 k4.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.geometry.rotations import rpy_matrix
from lift3d_ros.types import CameraModel, Float64Array

MIN_DEPTH = 1e-3
_MAX_RADIUS = 20.0


def project(model: CameraModel, points: Any) -> tuple[Float64Array, NDArray[np.bool_]]:
    """Project points of the optical frame to pixels.

    Args:
        points: (M, 3) metres.

    Returns:
        (M, 2) pixels, and (M,) whether the point is in front of the camera and inside the field of view in
        which the distortion model is one-to-one. Pixels may lie outside the image; those of points that
        are not valid mean nothing.
    """
    points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    in_front = points[:, 2] > MIN_DEPTH
    depth = np.where(in_front, points[:, 2], 1.0)
    normalised = points[:, :2] / depth[:, None]
    radius = np.linalg.norm(normalised, axis=1)
    is_valid = in_front & (radius <= largest_radius(model))
    normalised = np.where(is_valid[:, None], normalised, 0.0)
    return to_pixels(model, distort(model, normalised)), is_valid


def unproject(model: CameraModel, pixels: Any) -> Float64Array:
    """Return the rays (M, 3) with z = 1 of pixels (M, 2); NaN where no ray reaches the pixel."""
    pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
    K = model.intrinsics
    y = (pixels[:, 1] - K[1, 2]) / K[1, 1]
    x = (pixels[:, 0] - K[0, 2] - K[0, 1] * y) / K[0, 0]
    normalised = undistort(model, np.stack([x, y], axis=1))
    return np.concatenate([normalised, np.ones((len(normalised), 1))], axis=1)


def to_pixels(model: CameraModel, normalised: Float64Array) -> Float64Array:
    """Apply the intrinsics to (distorted) normalised coordinates (M, 2)."""
    K = model.intrinsics
    u = K[0, 0] * normalised[:, 0] + K[0, 1] * normalised[:, 1] + K[0, 2]
    return np.stack([u, K[1, 1] * normalised[:, 1] + K[1, 2]], axis=1)


def distort(model: CameraModel, normalised: Float64Array) -> Float64Array:
    """Map ideal normalised coordinates (M, 2) to distorted ones."""
    if not model.is_distorted:
        return normalised
    if model.distortion_model == "equidistant":
        radius = np.linalg.norm(normalised, axis=1)
        angle = _fisheye_angle(np.arctan(radius), model.distortion)
        scale = np.where(radius > 1e-12, angle / np.maximum(radius, 1e-12), 1.0)
        return np.asarray(normalised * scale[:, None])
    k = np.zeros(14)
    k[: model.distortion.size] = model.distortion
    x, y = normalised[:, 0], normalised[:, 1]
    r2 = x * x + y * y
    radial = (1 + r2 * (k[0] + r2 * (k[1] + r2 * k[4]))) / (1 + r2 * (k[5] + r2 * (k[6] + r2 * k[7])))
    xd = x * radial + 2 * k[2] * x * y + k[3] * (r2 + 2 * x * x) + k[8] * r2 + k[9] * r2 * r2
    yd = y * radial + k[2] * (r2 + 2 * y * y) + 2 * k[3] * x * y + k[10] * r2 + k[11] * r2 * r2
    if not k[12:].any():
        return np.stack([xd, yd], axis=1)
    tilted = np.stack([xd, yd, np.ones_like(xd)], axis=1) @ _tilt_matrix(k[12], k[13]).T
    return np.asarray(tilted[:, :2] / tilted[:, 2:])


def undistort(model: CameraModel, distorted: Float64Array) -> Float64Array:
    """Invert :func:`distort` by Newton's method; NaN where it does not converge inside the valid field of view."""
    if not model.is_distorted:
        return distorted
    limit = min(largest_radius(model), _MAX_RADIUS)
    guess = distorted.copy()
    if model.distortion_model == "equidistant":
        angle = np.minimum(np.linalg.norm(distorted, axis=1), 1.5)
        guess = distorted * (np.tan(angle) / np.maximum(angle, 1e-12))[:, None]
    for _ in range(50):
        error = distort(model, guess) - distorted
        if float(np.abs(error).max(initial=0.0)) < 1e-13:
            break
        step = _solve_2x2(_jacobian(model, guess), error)
        # Newton may overshoot far from the axis, where the polynomial bends; keep each step inside its reach.
        length = np.linalg.norm(step, axis=1, keepdims=True)
        reach = 0.5 * (1.0 + np.linalg.norm(guess, axis=1, keepdims=True))
        guess = guess - step * np.minimum(1.0, reach / np.maximum(length, 1e-12))
    error = np.linalg.norm(distort(model, guess) - distorted, axis=1)
    radius = np.linalg.norm(guess, axis=1)
    return np.where(((error < 1e-8) & (radius <= limit * (1 + 1e-9)))[:, None], guess, np.nan)


def largest_radius(model: CameraModel) -> float:
    """Return the largest normalised radius up to which the radial distortion still grows.

    Beyond it the polynomial folds back and would draw far-off points into the picture.
    """
    if not model.is_distorted:
        return float("inf")
    return _largest_radius(model.distortion_model, tuple(model.distortion.tolist()))


@lru_cache(maxsize=64)
def _largest_radius(distortion_model: str, coefficients: tuple[float, ...]) -> float:
    k = np.array(coefficients)
    if distortion_model == "equidistant":
        angle = np.linspace(0.0, np.pi / 2 - 1e-3, 4000)
        return _monotonic_limit(np.tan(angle), _fisheye_angle(angle, k))
    radius = np.concatenate([np.linspace(0.0, 3.0, 6000), np.geomspace(3.001, _MAX_RADIUS, 2000)])
    padded = np.zeros(14)
    padded[: k.size] = k
    r2 = radius * radius
    numerator = 1 + r2 * (padded[0] + r2 * (padded[1] + r2 * padded[4]))
    denominator = 1 + r2 * (padded[5] + r2 * (padded[6] + r2 * padded[7]))
    denominator = np.where(denominator > 1e-6, denominator, np.nan)
    return _monotonic_limit(radius, radius * numerator / denominator)


def _monotonic_limit(radius: Float64Array, distorted: Float64Array) -> float:
    grows = np.diff(distorted) > 0
    return float(radius[-1]) if grows.all() else float(radius[int(np.argmin(grows))])


def _fisheye_angle(angle: Float64Array, k: Float64Array) -> Float64Array:
    a2 = angle * angle
    return np.asarray(angle * (1 + a2 * (k[0] + a2 * (k[1] + a2 * (k[2] + a2 * k[3])))))


def _tilt_matrix(tau_x: float, tau_y: float) -> Float64Array:
    """Return the homography of a sensor tilted by `tau_x`, `tau_y` (Scheimpflug), as OpenCV defines it."""
    rotation = rpy_matrix(-tau_x, -tau_y, 0.0)
    projection = np.array(
        [[rotation[2, 2], 0.0, -rotation[0, 2]], [0.0, rotation[2, 2], -rotation[1, 2]], [0.0, 0.0, 1.0]]
    )
    return np.asarray(projection @ rotation)


def _jacobian(model: CameraModel, normalised: Float64Array) -> Float64Array:
    step = 1e-6
    columns = [
        (distort(model, normalised + offset) - distort(model, normalised - offset)) / (2 * step)
        for offset in (np.array([step, 0.0]), np.array([0.0, step]))
    ]
    return np.stack(columns, axis=2)


def _solve_2x2(matrices: Float64Array, right: Float64Array) -> Float64Array:
    a, b, c, d = matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 1, 0], matrices[:, 1, 1]
    determinant = a * d - b * c
    determinant = np.where(np.abs(determinant) < 1e-9, 1e-9, determinant)
    x = (d * right[:, 0] - b * right[:, 1]) / determinant
    y = (a * right[:, 1] - c * right[:, 0]) / determinant
    return np.stack([x, y], axis=1)
