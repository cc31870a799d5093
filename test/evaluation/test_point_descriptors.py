"""Classic descriptors are what they claim to be, and finite for every cloud."""

from __future__ import annotations

import numpy as np
import pytest
from point_files import shapes

from lift3d_ros.datasets.point_cloud_changes import to_unit_sphere, turned
from lift3d_ros.evaluation.point_descriptors import describe_shapes

POINTS = to_unit_sphere(shapes(2, 800)[0].astype(np.float32))  # ball, rod, plate, and again
HISTOGRAMS = slice(22, None)


def test_rods_are_linear_and_plates_planar() -> None:
    linearity, planarity, sphericity = describe_shapes(POINTS)[:3, 18:21].T
    assert (linearity.argmax(), planarity.argmax(), sphericity.argmax()) == (1, 2, 0)


def test_histograms_are_roots_of_shares_and_do_not_change_with_a_turn() -> None:
    found = describe_shapes(POINTS)[:, HISTOGRAMS]
    np.testing.assert_allclose((found**2).reshape(6, 3, 32).sum(axis=2), 1.0)
    moved = turned(np.random.default_rng(0), POINTS, 2, 180.0)
    np.testing.assert_allclose(describe_shapes(moved)[:, HISTOGRAMS], found, atol=0.05)


def test_shapes_of_one_kind_are_nearer_to_each_other_than_to_others() -> None:
    found = describe_shapes(POINTS)
    distance = np.linalg.norm(found[:, None] - found[None], axis=2) + 1e9 * np.eye(6)
    assert distance.argmin(axis=1).tolist() == [3, 4, 5, 0, 1, 2]


@pytest.mark.parametrize("points", [np.zeros((2, 40, 3)), np.linspace(-1, 1, 40)[None, :, None] * [[[0.0, 0.0, 1.0]]]])
def test_clouds_without_extent_have_finite_descriptors(points: np.ndarray) -> None:
    assert np.isfinite(describe_shapes(points.astype(np.float32))).all()


def test_the_same_seed_gives_the_same_descriptors() -> None:
    np.testing.assert_array_equal(describe_shapes(POINTS, 1), describe_shapes(POINTS, 1))
    assert (describe_shapes(POINTS, 1) != describe_shapes(POINTS, 2)).any()
