"""How lifted shapes are stood in front of the camera."""

from __future__ import annotations

import numpy as np
from known_shapes import PERSON

from lift3d_ros.geometry.rotations import rotation_vectors_to_matrices
from lift3d_ros.pipelines.skeleton_placement import (
    look_at_instances,
    normalise_points,
    place_parallel,
    place_perspective,
)

SEEN = np.ones((1, 17), dtype=bool)
TURN = rotation_vectors_to_matrices([[0.4, -0.9, 0.3]])


def shape_of(joints: np.ndarray) -> np.ndarray:
    """Return the shape in a frame of its own, RMS size 1."""
    centred = joints - joints.mean(axis=0)
    return (centred / np.sqrt((centred**2).sum(axis=1).mean()))[None] @ TURN


def test_normalised_points_forget_place_and_size_but_not_proportions() -> None:
    points = PERSON[None, :, :2] * 300 + [640, 360]
    found = normalise_points(points, SEEN)
    again = normalise_points(points * 7.0 - 55.0, SEEN)
    np.testing.assert_allclose(found.points, again.points, atol=1e-12)
    assert np.abs(found.points).max() == 1.0
    np.testing.assert_allclose(found.points * found.extent + found.center, points)
    empty = normalise_points(points, ~SEEN)
    assert not empty.points.any()


def test_a_view_that_looks_at_the_object_keeps_every_ray() -> None:
    joints = PERSON + np.array([3.0, 0.5, 2.5])
    rays = (joints[:, :2] / joints[:, 2:])[None]
    view = look_at_instances(rays, SEEN)
    assert np.abs(view.rays.mean(axis=1)).max() < 0.05
    back = np.concatenate([view.rays, np.ones((1, 17, 1))], axis=2) @ np.swapaxes(view.T_optical_view, 1, 2)
    np.testing.assert_allclose(back[:, :, :2] / back[:, :, 2:], rays, atol=1e-10)


def test_parallel_placement_gives_the_pose_and_its_depth_reversed_copy() -> None:
    normalised = normalise_points(PERSON[None, :, :2], SEEN)
    placed = place_parallel(shape_of(PERSON), normalised.points, SEEN)
    wanted = (PERSON - PERSON.mean(axis=0)) / normalised.extent
    np.testing.assert_allclose(placed.joints[0, 0], wanted, atol=1e-9)
    np.testing.assert_allclose(placed.joints[0, 1], wanted * [1.0, 1.0, -1.0], atol=1e-9)
    assert placed.is_determined.all()


def test_perspective_placement_is_exact_up_to_scale_where_parallel_projection_is_not() -> None:
    joints = PERSON + np.array([0.0, 0.0, 2.0])
    normalised = normalise_points((joints[:, :2] / joints[:, 2:])[None], SEEN)
    placed = place_perspective(shape_of(PERSON), normalised, SEEN)
    found = placed.joints[0, 0]
    scale = joints.mean(axis=0)[2] / found.mean(axis=0)[2]
    np.testing.assert_allclose(scale * found, joints, atol=5e-3)
    assert placed.residuals[0, 0] < 2e-3 < 0.02 < placed.residuals[0, 1]
    parallel = place_parallel(shape_of(PERSON), normalised.points, SEEN).joints[0, 0]
    centred = (joints - joints.mean(axis=0)) / np.abs((joints - joints.mean(axis=0))[:, :2]).max()
    assert np.abs(parallel - centred).max() > 0.05


def test_degenerate_input_stays_finite_and_before_the_camera() -> None:
    points = np.zeros((3, 17, 2))
    points[1, :, 0] = np.linspace(-1, 1, 17)
    points[2] = PERSON[:, :2]
    seen = np.ones((3, 17), dtype=bool)
    seen[2, 2:] = False
    normalised = normalise_points(points, seen)
    placed = place_perspective(np.repeat(shape_of(PERSON), 3, axis=0), normalised, seen)
    assert np.isfinite(placed.joints).all()
    both_seen = np.repeat(seen[:, None], 2, axis=1)
    assert (placed.joints[both_seen][:, 2] > 0).all()
    assert not placed.is_determined.any()
