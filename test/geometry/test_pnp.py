"""Refinement of poses against rays."""

from __future__ import annotations

import itertools

import numpy as np

from lift3d_ros.geometry.pnp import refine_pose
from lift3d_ros.geometry.rotations import rotation_vectors_to_matrices

SETS, POINTS = 40, 15


def scenes() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return shapes, rotations, translations, rays and weights of ones; shapes stand 3 to 8 sizes away."""
    generator = np.random.default_rng(0)
    shape = generator.normal(size=(SETS, POINTS, 3)) * 0.4
    rotation = rotation_vectors_to_matrices(generator.normal(size=(SETS, 3)))
    depth = generator.uniform(3.0, 8.0, SETS)
    translation = np.stack([*(generator.uniform(-0.4, 0.4, (2, SETS)) * depth), depth], axis=1)
    placed = shape @ rotation + translation[:, None]
    return shape, rotation, translation, placed[:, :, :2] / placed[:, :, 2:], np.ones((SETS, POINTS))


def test_poses_are_found_again_from_a_rough_start() -> None:
    shape, rotation, translation, rays, weights = scenes()
    off = rotation_vectors_to_matrices(np.random.default_rng(1).normal(size=(SETS, 3)) * 0.2)
    pose = refine_pose(shape, rays, weights, rotation @ off, translation * 1.3, iterations=25)
    assert pose.residual.max() < 1e-7
    np.testing.assert_allclose(pose.place(shape), shape @ rotation + translation[:, None], atol=1e-4)


def test_hidden_points_have_no_influence() -> None:
    shape, rotation, translation, rays, weights = scenes()
    weights[:, :5], rays[:, :5] = 0.0, np.nan
    pose = refine_pose(shape, rays, weights, rotation, translation * 1.2, iterations=25)
    np.testing.assert_allclose(pose.translation, translation, rtol=1e-4, atol=1e-4)


def test_the_error_never_grows() -> None:
    shape, rotation, translation, _, weights = scenes()
    noise = np.random.default_rng(2).normal(size=(SETS, POINTS, 2)) * 0.2
    errors = [
        refine_pose(shape, noise, weights, rotation, translation, iterations=count).residual for count in (0, 1, 3, 10)
    ]
    for earlier, later in itertools.pairwise(errors):
        assert (later <= earlier + 1e-12).all()


def test_a_start_behind_the_camera_gives_an_infinite_residual_and_no_nan() -> None:
    shape, rotation, translation, rays, weights = scenes()
    pose = refine_pose(shape, rays, weights, rotation, -translation, iterations=3)
    assert not np.isnan(pose.place(shape)).any()
    assert not np.isnan(pose.residual).any()


def test_the_depth_reversed_shape_fits_worse_from_near() -> None:
    shape, rotation, translation, rays, weights = scenes()
    placed = shape @ rotation
    reversed_shape = placed * [1.0, 1.0, -1.0]
    eye = np.tile(np.eye(3), (SETS, 1, 1))
    good = refine_pose(placed, rays, weights, eye, translation, iterations=20)
    bad = refine_pose(reversed_shape, rays, weights, eye, translation, iterations=20)
    assert (bad.residual > 10 * good.residual + 1e-4).all()
