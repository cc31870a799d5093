"""Colours of a cloud by its features: what the encoder takes for alike looks alike.

Letters: N points, T tokens of a crop, D channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.ops.cloud_search import nearest_points
from lift3d_ros.types import Float32Array, Float64Array, PointFeatures, UInt8Array

UNKNOWN_COLOR = (110, 110, 110)
"""Of points that belong to no crop."""

_COLORS = 3
_NEIGHBOURS = 3
_EPSILON = 1e-8
_DARKEST, _BRIGHTEST = 30.0, 255.0
_SHOWN = 2.0  # standard deviations to each side that the range of a colour shows


class ColorBasis(NamedTuple):
    """The three main components of tokens.

    Args:
        mean: (D,) of the tokens.
        axes: (3, D) unit vectors; zeros where tokens do not differ any more.
        spread: (3,) standard deviation along each.
    """

    mean: Float64Array
    axes: Float64Array
    spread: Float64Array


def color_basis(features: Sequence[PointFeatures]) -> ColorBasis:
    """Return the components of all tokens of at least one crop together.

    A component points to where the channel with the largest share in it grows, so that colours do not swap from one
    cloud to the next.
    """
    tokens = np.concatenate([feature.tokens for feature in features]).astype(np.float64)
    mean = tokens.mean(axis=0)
    _, sizes, axes = np.linalg.svd(tokens - mean, full_matrices=False)
    count = min(_COLORS, len(axes))
    largest = axes[np.arange(count), np.abs(axes[:count]).argmax(axis=1)]
    all_axes, spread = np.zeros((_COLORS, tokens.shape[1])), np.zeros(_COLORS)
    all_axes[:count] = axes[:count] * np.where(largest < 0, -1.0, 1.0)[:, None]
    spread[:count] = sizes[:count] / np.sqrt(len(tokens))
    return ColorBasis(mean, all_axes, spread)


def feature_colors(
    points: Float32Array, features: Sequence[PointFeatures], basis: ColorBasis | None = None
) -> UInt8Array:
    """Return an RGB colour for each point: the three main components of the tokens, mixed between the nearest three.

    Args:
        points: (N, 3) of the cloud that the features were made of; anything where not finite.
        features: of the whole cloud or of its crops.
        basis: of other features, so that equal colours mean alike parts in all of them; None takes that of these.

    Returns:
        (N, 3) uint8, `UNKNOWN_COLOR` for points that are not finite, or in no crop.
    """
    colors: UInt8Array = np.full((len(points), 3), UNKNOWN_COLOR, dtype=np.uint8)
    if not features or not len(points):
        return colors
    basis = basis or color_basis(features)
    is_finite = np.isfinite(points).all(axis=1)
    nearest = np.full(len(points), np.inf)
    for feature in features:
        centers = feature.token_centers.astype(np.float64)
        reach = np.inf if feature.instance_id < 0 else _reach(centers)
        rows = np.flatnonzero(is_finite & _are_near(points, centers, reach))
        if not rows.size:
            continue
        distances, indices = nearest_points(points[rows], centers, _NEIGHBOURS)
        is_own = distances[:, 0] < np.minimum(nearest[rows], reach)
        rows, distances, indices = rows[is_own], distances[is_own], indices[is_own]
        weights = 1.0 / (distances**2 + _EPSILON)
        weights /= weights.sum(axis=1, keepdims=True)
        mixed = np.einsum("nk,nkc->nc", weights, _token_colors(feature, basis)[indices])
        colors[rows] = np.rint(mixed).astype(np.uint8)
        nearest[rows] = distances[:, 0]
    return colors


def _token_colors(feature: PointFeatures, basis: ColorBasis) -> Float64Array:
    """Return tokens (T, D) as colours (T, 3); a component that they do not differ in is of middle brightness."""
    values = (feature.tokens.astype(np.float64) - basis.mean) @ basis.axes.T / np.maximum(_SHOWN * basis.spread, 1e-6)
    middle, half = (_BRIGHTEST + _DARKEST) / 2, (_BRIGHTEST - _DARKEST) / 2
    return np.asarray(middle + half * np.clip(values, -1.0, 1.0))


def _are_near(points: Float32Array, centers: Float64Array, reach: float) -> NDArray[np.bool_]:
    """Return (N,) which points are near enough to tokens to be compared with them."""
    if np.isinf(reach):
        return np.ones(len(points), dtype=bool)
    lower, upper = centers.min(axis=0) - reach, centers.max(axis=0) + reach
    is_inside: NDArray[np.bool_] = ((points >= lower) & (points <= upper)).all(axis=1)
    return is_inside


def _reach(centers: Float64Array) -> float:
    """Return how far a point of a crop can be from its nearest token.

    Farthest points are nowhere closer together than any other point is to them; twice covers all scales of groups.
    """
    different = np.unique(centers, axis=0)
    if len(different) < 2:
        return 1e-6
    distances, _ = nearest_points(different, different, 2)
    return 2.0 * float(distances[:, 1].min()) + 1e-6
