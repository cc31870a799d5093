"""Cameras around an object are proper in every place, and told as the published models expect."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lift3d_ros.models.lrm.cameras import (
    camera_numbers,
    look_at_origin,
    move_to_view,
    orbit,
    turntable,
    view_intrinsics,
    view_numbers,
)
from lift3d_ros.models.lrm.config import ViewConfig, preset


@pytest.mark.parametrize(
    "position",
    [
        pytest.param((1.0, 2.0, 3.0), id="anywhere"),
        pytest.param((0.0, 0.0, 2.0), id="straight above"),
        pytest.param((0.0, 0.0, -2.0), id="straight below"),
        pytest.param((0.0, -2.0, 0.0), id="in front"),
    ],
)
def test_a_camera_looks_at_the_origin_with_a_proper_rotation(position: tuple[float, float, float]) -> None:
    T = look_at_origin(position)
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1.0)
    np.testing.assert_allclose(T[:3, 2], -np.asarray(position) / np.linalg.norm(position))
    assert T[2, 1] <= 1e-12  # the picture's downward axis never points up


def test_a_camera_at_the_origin_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a distance above 0"):
        look_at_origin((0.0, 0.0, 0.0))


def test_openlrm_is_told_the_numbers_of_its_training() -> None:
    expected = [1, 0, 0, 0, 0, 0, -1, -2, 0, 1, 0, 0, 0.75, 0.75, 0.5, 0.5]
    np.testing.assert_allclose(view_numbers(ViewConfig()), expected, atol=1e-12)


def test_triposr_looks_from_plus_x_with_40_degrees() -> None:
    config = preset("triposr")
    assert config is not None
    (pose,) = turntable(1, config.view)
    np.testing.assert_allclose(pose[:3, 3], [1.9, 0.0, 0.0], atol=1e-12)
    assert 2.0 * math.degrees(math.atan(0.5 / config.view.focal)) == pytest.approx(40.0)


@pytest.mark.parametrize("num_views", [0, 1, 3, 8])
def test_a_turntable_starts_at_the_picture_and_shows_no_view_twice(num_views: int) -> None:
    poses = turntable(num_views, ViewConfig(), elevation=0.3)
    assert poses.shape == (num_views, 4, 4)
    if num_views:
        assert poses[0, 1, 3] == pytest.approx(-2.0 * math.cos(0.3))
    centers = {tuple(np.round(pose[:3, 3], 6)) for pose in poses}
    assert len(centers) == num_views
    for pose in poses:
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)


def test_moving_an_object_to_its_view_keeps_cameras_together() -> None:
    poses = orbit([0.3, 1.0, 2.5], 0.2, 1.7)
    moved = move_to_view(poses)
    np.testing.assert_allclose(moved[0], orbit([-0.5 * math.pi], 0.0, 1.7)[0], atol=1e-12)
    for before, after in zip(poses, moved, strict=True):
        np.testing.assert_allclose(np.linalg.inv(moved[0]) @ after, np.linalg.inv(poses[0]) @ before, atol=1e-12)
    np.testing.assert_allclose(move_to_view(poses, 2.0)[0, :3, 3], [0.0, -2.0, 0.0], atol=1e-12)


def test_intrinsics_are_told_in_units_of_the_picture() -> None:
    numbers = camera_numbers(np.eye(4), np.array([[1.2, 0.0, 0.4], [0.0, 1.1, 0.6], [0.0, 0.0, 1.0]]))
    np.testing.assert_allclose(numbers[12:], [1.2, 1.1, 0.4, 0.6])
    assert view_intrinsics(ViewConfig(focal=1.5))[0, 0] == 1.5
