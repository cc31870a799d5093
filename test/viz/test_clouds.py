"""Clouds are drawn so that what is near covers what is far, and every axis points where its view says."""

from __future__ import annotations

import numpy as np
import pytest

from lift3d_ros.viz.clouds import BACKGROUND, VIEWS, cloud_picture, cloud_sheet, value_colors

RED, BLUE = (255, 0, 0), (0, 0, 255)


def test_near_points_cover_far_ones() -> None:
    points = np.float32([[0, 0, 0], [0, 0, 5], [-1, -1, 0], [1, 1, 0]])
    colors = np.uint8([RED, BLUE, RED, RED])
    for view, seen in (("from +z", BLUE), ("along +z", RED)):
        picture = cloud_picture(points, colors, 64, view, point_px=3)
        assert np.argmax(picture[32, 32]) == np.argmax(seen)


@pytest.mark.parametrize(("view", "right", "up"), [("from +x", 1, 2), ("from -y", 0, 2), ("from +z", 0, 1)])
def test_axes_point_right_and_up(view: str, right: int, up: int) -> None:
    points = np.zeros((3, 3), np.float32)
    points[1, right], points[2, up] = 1.0, 1.0
    picture = cloud_picture(points, np.uint8([(0, 0, 0), RED, BLUE]), 64, view, point_px=3)
    is_red = (picture[..., 0] > 100) & (picture[..., 1] < 50)
    is_blue = (picture[..., 2] > 100) & (picture[..., 1] < 50)
    assert np.argwhere(is_red)[:, 1].mean() > 50
    assert np.argwhere(is_blue)[:, 0].mean() < 14


def test_views_are_rotations() -> None:
    for axes in VIEWS.values():
        matrix = np.array(axes)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-3)
        assert np.linalg.det(matrix) > 0


def test_points_that_are_not_finite_and_empty_clouds_are_drawn_as_nothing() -> None:
    for points in (np.zeros((0, 3)), np.full((5, 3), np.nan)):
        picture = cloud_picture(points.astype(np.float32), np.zeros((len(points), 3), np.uint8), 32)
        assert (picture == BACKGROUND).all()
    alone = cloud_picture(np.ones((1, 3), np.float32), np.zeros((1, 3), np.uint8), 32)
    assert (alone < BACKGROUND).any()


def test_a_sheet_shows_one_cloud_from_several_sides() -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (500, 3)).astype(np.float32)
    sheet = cloud_sheet(points, np.zeros((500, 3), np.uint8), "a cloud", ("from +x", "oblique"), cell=64)
    assert sheet.shape[1] == 2 * 64 + 6


def test_large_values_are_yellow_and_small_ones_dark() -> None:
    colors = value_colors(np.array([0.0, 0.5, 1.0])).astype(int)
    assert colors[0].sum() < colors[1].sum() < colors[2].sum()
    assert (value_colors(np.ones(3)) == value_colors(np.ones(3))[0]).all()
    assert value_colors(np.zeros(0)).shape == (0, 3)
