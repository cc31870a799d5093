"""Changes of clouds: how many points, which size, and what augmentation and a worse sensor do to them.

All functions take clouds (N, P, 3) and return new ones, float32. Source: fact sheet I2P-MAE, section 11.
"""

from __future__ import annotations

import numpy as np

from lift3d_ros.types import Float32Array


def to_unit_sphere(points: Float32Array) -> Float32Array:
    """Centre each cloud on its mean and divide it by its largest norm; a cloud in one place comes to lie in 0."""
    centred = points - points.mean(axis=1, keepdims=True, dtype=np.float64)
    radius = np.linalg.norm(centred, axis=2).max(axis=1)[:, None, None]
    return np.asarray(centred / np.where(radius > 1e-9, radius, 1.0), np.float32)


def first_points(points: Float32Array, count: int) -> Float32Array:
    """Return the first `count` points of each cloud; where there are fewer they come again."""
    return points[:, np.resize(np.arange(points.shape[1]), count)]


def drawn_points(rng: np.random.Generator, points: Float32Array, count: int) -> Float32Array:
    """Return `count` random points of each cloud, in random order; none twice before all were taken once."""
    clouds, available = points.shape[:2]
    order = rng.random((clouds, available)).argsort(axis=1)
    return np.take_along_axis(points, order[:, np.resize(np.arange(available), count)][..., None], axis=1)


def stretched(rng: np.random.Generator, points: Float32Array, scale: tuple[float, float], shift: float) -> Float32Array:
    """Scale each cloud along each axis by a factor in `scale`, and move it by up to `shift`."""
    factors = rng.uniform(*scale, (len(points), 1, 3))
    return np.asarray(points * factors + rng.uniform(-shift, shift, (len(points), 1, 3)), np.float32)


def turned(rng: np.random.Generator, points: Float32Array, up_axis: int, largest_deg: float) -> Float32Array:
    """Turn each cloud about the up axis by a random angle of at most `largest_deg` to each side."""
    angle = np.radians(rng.uniform(-largest_deg, largest_deg, len(points)))[:, None]
    first, second = [axis for axis in range(3) if axis != up_axis]
    result = points.copy()
    cosine, sine = np.cos(angle), np.sin(angle)
    result[..., first] = cosine * points[..., first] - sine * points[..., second]
    result[..., second] = sine * points[..., first] + cosine * points[..., second]
    return result


def noisy(rng: np.random.Generator, points: Float32Array, sigma: float) -> Float32Array:
    """Add normal noise of standard deviation `sigma`, in units of the clouds, to each coordinate."""
    return (points + sigma * rng.standard_normal(points.shape)).astype(np.float32)


def occluded(rng: np.random.Generator, points: Float32Array, up_axis: int, share: float) -> Float32Array:
    """Take away the share of points that lies farthest along a random horizontal direction of each cloud.

    The others come again in their place, so that every cloud keeps its number of points; at least one stays.
    """
    clouds, count = points.shape[:2]
    angle = rng.uniform(0.0, 2.0 * np.pi, clouds)
    direction = np.zeros((clouds, 3))
    first, second = [axis for axis in range(3) if axis != up_axis]
    direction[:, first], direction[:, second] = np.cos(angle), np.sin(angle)
    depth = np.einsum("npc,nc->np", points, direction)
    order = depth.argsort(axis=1, kind="stable")[:, : max(1, count - int(share * count))]
    order.sort(axis=1)  # subsets of the points that stay are still random ones
    return np.take_along_axis(points, order[:, np.resize(np.arange(order.shape[1]), count)][..., None], axis=1)
