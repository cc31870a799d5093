"""A cloud is coloured by its features: like parts alike, points outside of all crops grey."""

from __future__ import annotations

import numpy as np
from point_clouds import ellipsoid

from lift3d_ros.ops.cloud_search import farthest_points
from lift3d_ros.pipelines.point_colors import UNKNOWN_COLOR, color_basis, feature_colors
from lift3d_ros.types import PointFeatures

RNG = np.random.default_rng(0)
CENTERS = np.float32([[x, y, 0] for x in range(6) for y in range(4)])


def features(tokens: np.ndarray, centers: np.ndarray = CENTERS, instance_id: int = -1) -> PointFeatures:
    return PointFeatures(tokens.mean(axis=0), tokens, centers, instance_id=instance_id, num_points=100)


def two_kinds() -> np.ndarray:
    """Tokens whose kind is that of the half they lie in, with little noise."""
    kinds = np.where(CENTERS[:, :1] < 3, 1.0, -1.0) * RNG.standard_normal(16)
    return kinds + 0.01 * RNG.standard_normal((24, 16))


def test_points_near_like_tokens_have_like_colours() -> None:
    points = np.float32([[0.2, 1.1, 0.1], [1.6, 2.0, 0], [4.3, 0.5, 0], [np.nan, 0, 0]])
    colors = feature_colors(points, [features(two_kinds())]).astype(int)
    assert np.abs(colors[0] - colors[1])[0] < 10
    assert np.abs(colors[0] - colors[2])[0] > 80
    assert tuple(colors[3]) == UNKNOWN_COLOR


def test_a_point_on_a_token_has_the_colour_of_the_token_and_others_are_between() -> None:
    tokens = RNG.standard_normal((24, 16))
    colors = feature_colors(CENTERS, [features(tokens)]).astype(int)
    between = feature_colors((CENTERS[:1] + CENTERS[1:2]) / 2, [features(tokens)]).astype(int)[0]
    lower, upper = colors.min(axis=0), colors.max(axis=0)
    assert ((between >= lower) & (between <= upper)).all()
    assert (upper - lower > 60).all()
    order = np.argsort(color_basis([features(tokens)]).axes[0] @ tokens.T)
    assert (np.diff(colors[order, 0]) >= 0).all()


def test_only_points_of_a_crop_are_coloured() -> None:
    crop = ellipsoid(400)
    centers = crop[farthest_points(crop, 40)]
    tokens = RNG.standard_normal((40, 8))
    points = np.concatenate([crop, crop + np.float32([9, 0, 0])])
    colors = feature_colors(points, [features(tokens, centers, instance_id=3)])
    is_grey = (colors == UNKNOWN_COLOR).all(axis=1)
    assert is_grey[400:].all()
    assert not is_grey[:400].any()


def test_two_crops_share_their_colours() -> None:
    tokens = RNG.standard_normal((24, 8))
    near, far = features(tokens, instance_id=0), features(tokens, CENTERS + np.float32([50, 0, 0]), instance_id=1)
    points = np.concatenate([near.token_centers, far.token_centers])
    colors = feature_colors(points, [near, far])
    np.testing.assert_array_equal(colors[:24], colors[24:])


def test_a_given_basis_keeps_colours_from_one_cloud_to_the_next() -> None:
    tokens = RNG.standard_normal((24, 8))
    basis = color_basis([features(tokens)])
    half = features(tokens[:12], CENTERS[:12])
    whole = feature_colors(CENTERS, [features(tokens)])
    np.testing.assert_array_equal(feature_colors(CENTERS[:6], [half], basis), whole[:6])


def test_no_features_and_equal_tokens_have_colours_too() -> None:
    assert feature_colors(np.zeros((0, 3), np.float32), [features(two_kinds())]).shape == (0, 3)
    assert (feature_colors(CENTERS, []) == UNKNOWN_COLOR).all()
    same = feature_colors(CENTERS, [features(np.ones((24, 8)))])
    assert (same == same[0]).all()
    one = features(np.ones((1, 8)), np.zeros((1, 3)), instance_id=0)
    assert feature_colors(np.zeros((2, 3), np.float32), [one]).shape == (2, 3)
