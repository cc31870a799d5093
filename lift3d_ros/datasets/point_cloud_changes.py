"""Changes of clouds: how many points, which size, and what augmentation and a worse sensor do to them.

All functions take clouds (N, P, 3) and return new ones, float32. Source: fact sheet I2P-MAE, section 11.
"""

from __future__ import annotations

import numpy as np

from lift3d_ros.ops.cloud_search import points_between
from lift3d_ros.types import Float32Array


def to_unit_sphere(points: Float32Array) -> Float32Array:
    """Centre each cloud on its mean and divide it by its largest norm; a cloud in one place comes to lie in 0."""
    centred = points - points.mean(axis=1, keepdims=True, dtype=np.float64)
    radius = np.linalg.norm(centred, axis=2).max(axis=1)[:, None, None]
    return np.asarray(centred / np.where(radius > 1e-9, radius, 1.0), np.float32)


def first_points(points: Float32Array, count: int) -> Float32Array:
    """Return the first `count` points of each cloud; where there are fewer they come again."""
    return points[:, np.resize(np.arange(points.shape[1]), count)]


def brought_to(points: Float32Array, count: int, *, fills_gaps: bool) -> Float32Array:
    """Return the first `count` points of each cloud.

    Args:
        fills_gaps: where there are fewer, add points halfway between neighbours; else they come again.
    """
    missing = count - points.shape[1]
    if not fills_gaps or missing <= 0:
        return first_points(points, count)
    between = [points_between(cloud, missing) for cloud in points]
    return np.concatenate([points, np.asarray(between, np.float32).reshape(len(points), missing, 3)], axis=1)


def drawn_points(rng: np.random.Generator, points: Float32Array, count: int) -> Float32Array:
    """Return `count` random points of each cloud, in random order; none twice before all were taken once."""
    clouds, available = points.shape[:2]
    order = rng.random((clouds, available)).argsort(axis=1)
    return np.take_along_axis(points, order[:, np.resize(np.arange(available), count)][..., None], axis=1)


def thinned(rng: np.random.Generator, points: Float32Array, fewest: int, *, fills_gaps: bool = False) -> Float32Array:
    """Keep the first points of each cloud, a random number from `fewest` up; others take the place of the rest.

    The logarithm of the number is drawn evenly, so that halving it once is as likely as halving it again.

    Args:
        fills_gaps: see :func:`brought_to`.
    """
    clouds, count = points.shape[:2]
    low = np.log(min(max(fewest, 1), count))
    kept = np.exp(rng.uniform(low, np.log(count), clouds)).round().astype(np.int64).clip(1, count)
    few = [
        brought_to(cloud[None, :number], count, fills_gaps=fills_gaps)
        for cloud, number in zip(points, kept, strict=True)
    ]
    return np.concatenate([points[:0], *few])


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

    At least one point of each cloud stays; all keep equally many.
    """
    clouds, count = points.shape[:2]
    angle = rng.uniform(0.0, 2.0 * np.pi, clouds)
    direction = np.zeros((clouds, 3))
    first, second = [axis for axis in range(3) if axis != up_axis]
    direction[:, first], direction[:, second] = np.cos(angle), np.sin(angle)
    depth = np.einsum("npc,nc->np", points, direction)
    order = depth.argsort(axis=1, kind="stable")[:, : max(1, count - int(share * count))]
    order.sort(axis=1)  # subsets of the points that stay are still random ones
    return np.take_along_axis(points, order[..., None], axis=1)
