"""A colour means the same from cloud to cloud, as soon as some clouds are known."""

from __future__ import annotations

import numpy as np

from lift3d_ros.pipelines.stream_colors import CLOUDS_OF_BASIS, StreamColors
from lift3d_ros.types import Float32Array, ModelIdentity, PointFeatures, PointFeatureSet, UInt8Array

CENTERS = np.arange(15, dtype=np.float32).reshape(5, 3)


def result(seed: int, count: int = 1) -> PointFeatureSet:
    tokens = np.random.default_rng(seed).normal(size=(5, 8)).astype(np.float32)
    features = tuple(PointFeatures(tokens[0], tokens, CENTERS) for _ in range(count))
    return PointFeatureSet("lidar", seed, features, ModelIdentity("small", "", is_trained=True))


def colors(subject: StreamColors, seed: int, count: int = 1) -> UInt8Array:
    points: Float32Array = CENTERS
    return subject.color(points, result(seed, count))


def test_colours_change_with_the_first_clouds_and_then_keep_their_meaning() -> None:
    subject = StreamColors()
    first = colors(subject, 0)
    for seed in range(1, CLOUDS_OF_BASIS):
        colors(subject, seed)
    settled = colors(subject, 0)
    assert not np.array_equal(settled, first)
    colors(subject, 100)
    assert np.array_equal(colors(subject, 0), settled)


def test_a_cloud_without_features_settles_nothing() -> None:
    subject, other = StreamColors(), StreamColors()
    colors(subject, 5, count=0)
    assert np.array_equal(colors(subject, 0), colors(other, 0))
