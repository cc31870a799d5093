"""Similarity alignment of point sets."""

from __future__ import annotations

import numpy as np
import pytest

from lift3d_ros.geometry.alignment import align
from lift3d_ros.geometry.rotations import rotation_between, rotation_vectors_to_matrices

GENERATOR = np.random.default_rng(0)


def random_sets(sets: int = 20, points: int = 12) -> np.ndarray:
    return GENERATOR.normal(size=(sets, points, 3))


def test_a_turned_scaled_and_moved_set_is_brought_back_exactly() -> None:
    source = random_sets()
    rotation = rotation_vectors_to_matrices(GENERATOR.normal(size=(20, 3)) * 2)
    target = GENERATOR.uniform(0.2, 5, (20, 1, 1)) * source @ rotation + GENERATOR.normal(size=(20, 1, 3))
    np.testing.assert_allclose(align(source, target).apply(source), target, atol=1e-10)


def test_points_of_weight_zero_have_no_influence() -> None:
    source, weights = random_sets(), np.ones((20, 12))
    target = 2.0 * source
    weights[:, :4] = 0.0
    target[:, :4] += 100.0
    np.testing.assert_allclose(align(source, target, weights).apply(source)[:, 4:], target[:, 4:], atol=1e-10)


def test_a_mirrored_set_fits_only_where_reflections_are_allowed() -> None:
    source = random_sets()
    mirrored = source * [1.0, 1.0, -1.0]
    assert np.abs(align(source, mirrored).apply(source) - mirrored).mean() > 0.1
    reflected = align(source, mirrored, allows_reflection=True)
    np.testing.assert_allclose(reflected.apply(source), mirrored, atol=1e-10)
    np.testing.assert_allclose(np.linalg.det(align(source, mirrored).rotation), 1.0, atol=1e-10)


@pytest.mark.parametrize("degenerate", ["equal", "line", "plane"])
def test_degenerate_sets_give_finite_transforms_of_determinant_one(degenerate: str) -> None:
    source = random_sets()
    source[:, :, {"equal": [0, 1, 2], "line": [1, 2], "plane": [2]}[degenerate]] = 0.5
    found = align(source, random_sets())
    assert np.isfinite(found.apply(source)).all()
    np.testing.assert_allclose(np.linalg.det(found.rotation), 1.0, atol=1e-10)
    if degenerate == "equal":
        np.testing.assert_array_equal(found.scale, 0.0)


def test_no_other_rotation_fits_better() -> None:
    source, target = random_sets(), random_sets()
    best = align(source, target)
    error = ((best.apply(source) - target) ** 2).sum(axis=(1, 2))
    centred, centred_target = source - source.mean(1, keepdims=True), target - target.mean(1, keepdims=True)
    for _ in range(50):
        other = rotation_vectors_to_matrices(GENERATOR.normal(size=(20, 3)) * 0.3)
        turned = centred @ best.rotation @ other
        scale = (turned * centred_target).sum(axis=(1, 2)) / (turned**2).sum(axis=(1, 2))
        other_error = ((scale[:, None, None] * turned - centred_target) ** 2).sum(axis=(1, 2))
        assert (other_error >= error - 1e-9).all()


def test_rotation_between_takes_one_direction_to_the_other_even_the_opposite_one() -> None:
    first = GENERATOR.normal(size=(30, 3))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.roll(first, 1, axis=0)
    second[0], second[1] = first[0], -first[1]
    rotation = rotation_between(first, second)
    np.testing.assert_allclose(np.einsum("bij,bj->bi", rotation, first), second, atol=1e-10)
    np.testing.assert_allclose(np.linalg.det(rotation), 1.0, atol=1e-10)
