"""Distances between surfaces are what they are by construction, and alignment takes out place, turn and size."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lift3d_ros.evaluation.object_pictures import mean_errors, picture_errors
from lift3d_ros.evaluation.object_surfaces import aligned, empty_surface, surface_errors, surface_points
from lift3d_ros.types import Float64Array

UP = np.array([0.0, 0.0, 1.0])


def box_points(size: tuple[float, float, float], count: int = 3000, seed: int = 0) -> Float64Array:
    """Points on five sides of a box, so that no half turn maps it onto itself."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-0.5, 0.5, (count, 3))
    axis, side = rng.integers(0, 3, count), rng.choice([-0.5, 0.5], count)
    points[np.arange(count), axis] = side
    points = points[~((axis == 0) & (side > 0))]
    return np.asarray(points * size)


def test_a_surface_equals_itself() -> None:
    points = box_points((1.0, 0.6, 0.4))
    errors = surface_errors(points, points, 1.0)
    assert errors.chamfer == 0.0
    assert set(errors.f_scores.values()) == {1.0}


def test_two_planes_are_as_far_apart_as_they_lie_in_shares_of_the_object() -> None:
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 40), np.linspace(0, 1, 40), [0.0]), axis=-1).reshape(-1, 3)
    errors = surface_errors(grid + np.array([0.0, 0.0, 0.06]), grid, 2.0)
    assert errors.chamfer == pytest.approx(0.03)
    assert errors.f_scores == {"0.01": 0.0, "0.02": 0.0, "0.05": 1.0, "0.1": 1.0}


def test_half_of_a_surface_is_precise_and_not_complete() -> None:
    points = box_points((1.0, 1.0, 1.0), 8000)
    errors = surface_errors(points[points[:, 2] > 0.0], points, 1.0)
    share = float((points[:, 2] > -0.01).mean())
    assert errors.f_scores["0.01"] == pytest.approx(2 * share / (1 + share), abs=0.03)


def test_alignment_takes_out_place_turn_and_size() -> None:
    truth = box_points((1.0, 0.6, 0.4), 3000)
    c, s = math.cos(2.4), math.sin(2.4)
    turned = 1.3 * box_points((1.0, 0.6, 0.4), 3000, seed=1) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]) + 0.4
    assert surface_errors(turned, truth, 1.0).chamfer > 0.1
    errors = surface_errors(aligned(turned, truth, UP), truth, 1.0)
    assert errors.chamfer < 0.02
    assert errors.f_scores["0.05"] > 0.97


def test_no_surface_has_no_distance_and_scores_zero() -> None:
    errors = empty_surface()
    assert math.isnan(errors.chamfer)
    assert set(errors.f_scores.values()) == {0.0}


def test_points_are_spread_by_area() -> None:
    vertices = np.array([[0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 5], [1, 0, 5], [0, 1, 5]], dtype=np.float64)
    points = surface_points(vertices, np.array([[0, 1, 2], [3, 4, 5]]), np.random.default_rng(0), 4000)
    assert (points[:, 2] < 1.0).mean() == pytest.approx(0.75, abs=0.02)


def test_pictures_are_compared_as_their_definitions_say() -> None:
    pytest.importorskip("skimage")
    truth = np.full((32, 32, 3), 100, np.uint8)
    errors = picture_errors(np.full((32, 32, 3), 110, np.uint8), truth)
    assert errors.psnr == pytest.approx(20 * math.log10(255 / 10))
    assert errors.lpips is None
    same = picture_errors(truth, truth)
    assert (same.psnr, same.ssim) == (100.0, 1.0)
    assert mean_errors([errors, same]).psnr == pytest.approx((errors.psnr + 100.0) / 2)
