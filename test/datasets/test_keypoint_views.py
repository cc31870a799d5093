"""Random cameras look from where they should."""

from __future__ import annotations

import numpy as np
import pytest

from lift3d_ros.datasets.keypoint_views import looking, project, random_views


@pytest.mark.parametrize("view_range", ["upright", "frontal", "so3"])
def test_views_are_rotations(view_range: str) -> None:
    rotations = random_views(np.random.default_rng(0), 50, view_range, 10.0)  # type: ignore[arg-type]
    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (50, 1, 1)), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(rotations), 1.0, atol=1e-5)


def test_up_is_up_in_the_picture_and_forward_is_depth() -> None:
    rotation = looking(np.zeros(1), np.zeros(1))[0]
    np.testing.assert_allclose(rotation @ [0.0, 0.0, 1.0], [0.0, -1.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(rotation @ [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], atol=1e-12)


def test_upright_cameras_look_10_degrees_up_to_45_down() -> None:
    forward = random_views(np.random.default_rng(0), 2000, "upright")[:, 2]
    pitch = np.rad2deg(np.arcsin(-forward[:, 2]))
    assert -10.1 < pitch.min() < -9.0
    assert 44.0 < pitch.max() < 45.1


def test_frontal_cameras_see_what_faces_along_minus_y() -> None:
    forward = random_views(np.random.default_rng(0), 2000, "frontal")[:, 2]
    assert (forward[:, 1] > np.cos(np.deg2rad(70.0)) * np.cos(np.deg2rad(25.0)) - 1e-3).all()


def test_a_near_camera_enlarges_what_is_near() -> None:
    points = np.array([[[1.0, 0.0, -1.0], [1.0, 0.0, 1.0]]], np.float32)
    near, far = project(points, np.array([3.0], np.float32))[0, :, 0]
    assert near == pytest.approx(1.5)
    assert far == pytest.approx(0.75)
    np.testing.assert_array_equal(project(points, np.array([np.inf], np.float32)), points[..., :2])
