"""Pose of a known shape from its parallel projection."""

from __future__ import annotations

import numpy as np
import pytest

from lift3d_ros.geometry.orthographic_n_point import orthographic_n_point
from lift3d_ros.geometry.rotations import rotation_vectors_to_matrices

SETS, POINTS = 40, 15


def scenes(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return shapes, their true places (2D units) and weights of ones."""
    generator = np.random.default_rng(seed)
    shape = generator.normal(size=(SETS, POINTS, 3)) * [0.3, 1.0, 0.2]
    rotation = rotation_vectors_to_matrices(generator.normal(size=(SETS, 3)) * 2)
    scale = generator.uniform(0.3, 3.0, (SETS, 1, 1))
    placed = scale * shape @ rotation + np.concatenate([generator.normal(size=(SETS, 1, 2)), np.zeros((SETS, 1, 1))], 2)
    return shape, placed, np.ones((SETS, POINTS))


@pytest.mark.parametrize("iterations", [0, 8])
def test_the_pose_is_exact_for_noise_free_parallel_projections(iterations: int) -> None:
    shape, placed, weights = scenes()
    pose = orthographic_n_point(shape, placed[:, :, :2], weights, iterations=iterations)
    np.testing.assert_allclose(pose.place(shape), placed, atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(pose.rotation), 1.0, atol=1e-9)
    assert pose.residual.max() < 1e-9
    assert pose.is_determined.all()
    assert not pose.is_flat.any()


def test_hidden_points_have_no_influence_and_are_placed_by_the_shape() -> None:
    shape, placed, weights = scenes()
    points = placed[:, :, :2].copy()
    weights[:, :6], points[:, :6] = 0.0, 1e6
    np.testing.assert_allclose(orthographic_n_point(shape, points, weights).place(shape), placed, atol=1e-8)


def test_the_depth_reversed_shape_is_placed_as_the_depth_reversed_copy() -> None:
    shape, placed, weights = scenes()
    mirrored = shape * [1.0, 1.0, -1.0]
    pose = orthographic_n_point(mirrored, placed[:, :, :2], weights)
    np.testing.assert_allclose(pose.place(mirrored), placed * [1.0, 1.0, -1.0], atol=1e-9)


def test_gauss_newton_lowers_the_error_on_noisy_points_to_a_minimum() -> None:
    shape, placed, weights = scenes()
    points = placed[:, :, :2] + np.random.default_rng(1).normal(size=(SETS, POINTS, 2)) * 0.1
    start, end, longer = (orthographic_n_point(shape, points, weights, iterations=n).residual for n in (0, 8, 50))
    assert (end <= start + 1e-12).all()
    assert end.mean() < 0.97 * start.mean()
    np.testing.assert_allclose(end, longer, rtol=1e-3)


def test_a_flat_shape_is_flagged_and_either_tilt_fits() -> None:
    shape, _, weights = scenes()
    shape[:, :, 2] = 0.0
    rotation = rotation_vectors_to_matrices(np.random.default_rng(2).normal(size=(SETS, 3)))
    placed = 1.7 * shape @ rotation
    pose = orthographic_n_point(shape, placed[:, :, :2], weights)
    assert pose.is_flat.all()
    assert pose.residual.max() < 1e-6
    np.testing.assert_allclose(pose.scale, 1.7, rtol=1e-6)
    found = pose.place(shape)[:, :, 2]
    depth_error = np.minimum(*(np.abs(sign * found - placed[:, :, 2]).max(axis=1) for sign in (1, -1)))
    assert depth_error.max() < 1e-5


@pytest.mark.parametrize("case", ["line in 3D", "line in 2D", "equal", "two points", "nothing"])
def test_degenerate_input_gives_finite_undetermined_poses(case: str) -> None:
    shape, placed, weights = scenes()
    points = placed[:, :, :2].copy()
    if case == "line in 3D":
        shape[:, :, 1:] = 0.0
    elif case == "line in 2D":
        points[:, :, 1] = 2 * points[:, :, 0]
    elif case == "equal":
        points[:] = 1.0
    elif case == "two points":
        weights[:, 2:] = 0.0
    else:
        weights[:] = 0.0
    pose = orthographic_n_point(shape, points, weights)
    assert np.isfinite(pose.place(shape)).all()
    assert not pose.is_determined.any()
