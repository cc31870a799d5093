"""Classic descriptors of clouds, without any learning: what a trained encoder has to be better than.

Letters: N clouds, P points. Sources: shape distributions A3 and D2 (Osada et al., Shape Distributions, 2002);
eigenvalue features (Weinmann et al., 2015).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.types import Float32Array, Float64Array

_BINS = 32
_TUPLES = 4096
_LARGEST = 2.0  # distance inside of the unit sphere


def describe_shapes(points: Float32Array, seed: int = 0) -> Float64Array:
    """Return extents, covariance, eigenvalue features, and histograms of D2, A3 and radii.

    Args:
        points: (N, P, 3) in the unit sphere, finite.
        seed: of the pairs and triples of points that the histograms are made of, the same for all clouds.

    Returns:
        (N, 118), without a common unit: standardise them.
    """
    rng = np.random.default_rng(seed)
    triples = rng.integers(0, points.shape[1], (3, _TUPLES))
    parts = (_extents(points), _spread(points), _histograms(points, triples))
    return np.concatenate(parts, axis=1)


def _extents(points: Float32Array) -> Float64Array:
    lower, upper = points.min(axis=1), points.max(axis=1)
    return np.concatenate([upper - lower, upper + lower, np.abs(points).mean(axis=1)], axis=1, dtype=np.float64)


def _spread(points: Float32Array) -> Float64Array:
    """Return the covariance (6), and eigenvalues with linearity, planarity, sphericity, and so on (3 + 4)."""
    centred = points.astype(np.float64) - points.mean(axis=1, keepdims=True, dtype=np.float64)
    covariance = centred.transpose(0, 2, 1) @ centred / points.shape[1]
    rows, columns = np.triu_indices(3)
    small, middle, large = (np.linalg.eigvalsh(covariance).clip(min=0.0) + 1e-12).T
    share = np.stack([small, middle, large]) / (small + middle + large)
    features = (
        (large - middle) / large,
        (middle - small) / large,
        small / large,
        -(share * np.log(share)).sum(axis=0),
    )
    return np.concatenate(
        [covariance[:, rows, columns], np.sqrt(np.stack([small, middle, large], axis=1)), np.stack(features, axis=1)],
        axis=1,
    )


def _histograms(points: Float32Array, triples: NDArray[np.int64]) -> Float64Array:
    found = []
    for cloud in points.astype(np.float64):
        first, second, third = cloud[triples]
        one, other = second - first, third - first
        lengths = np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1)
        product = np.maximum(lengths[0] * lengths[1], 1e-12)
        angles = np.arccos(((one * other).sum(axis=1) / product).clip(-1.0, 1.0))
        found.append(
            np.concatenate(
                [
                    _histogram(lengths[0], _LARGEST),
                    _histogram(angles, np.pi),
                    _histogram(np.linalg.norm(cloud, axis=1), _LARGEST / 2),
                ]
            )
        )
    return np.stack(found)


def _histogram(values: Float64Array, largest: float) -> Float64Array:
    """Return the roots of the shares of values in the bins from 0 to `largest`: their distance is Hellinger's."""
    numbers = (values / largest * _BINS).astype(np.int64).clip(0, _BINS - 1)
    return np.asarray(np.sqrt(np.bincount(numbers, minlength=_BINS) / len(values)))
