"""Colours of one cloud after the other, in which a colour means the same from cloud to cloud."""

from __future__ import annotations

from lift3d_ros.pipelines.point_colors import ColorBasis, color_basis, feature_colors
from lift3d_ros.types import Float32Array, PointFeatures, PointFeatureSet, UInt8Array

# What a colour means is settled by the features of so many clouds; later ones keep it, and do not flicker.
CLOUDS_OF_BASIS = 10


class StreamColors:
    """Colours clouds by their features, in the components of the first clouds that had any."""

    def __init__(self) -> None:
        """Know no cloud yet."""
        self._basis: ColorBasis | None = None
        self._seen: list[tuple[PointFeatures, ...]] = []

    def color(self, points: Float32Array, result: PointFeatureSet) -> UInt8Array:
        """Return RGB colours (N, 3) of the points (N, 3) of the next cloud, in the frame of its result."""
        if result.features and len(self._seen) < CLOUDS_OF_BASIS:
            self._seen.append(result.features)
            self._basis = color_basis([features for one in self._seen for features in one])
        return feature_colors(points, result.features, self._basis)
