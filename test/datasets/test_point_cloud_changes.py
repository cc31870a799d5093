"""Sizes, samples and random changes of clouds are what their names say."""

from __future__ import annotations

import numpy as np
import pytest
from point_files import shapes

from lift3d_ros.datasets.point_cloud_changes import (
    brought_to,
    drawn_points,
    first_points,
    noisy,
    occluded,
    stretched,
    thinned,
    to_unit_sphere,
    turned,
)

POINTS = shapes(2, 100)[0].astype(np.float32)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_cloud_in_the_unit_sphere_has_mean_zero_and_largest_norm_one() -> None:
    found = to_unit_sphere(7.0 * POINTS + np.array([100.0, 0.0, -3.0], np.float32))
    np.testing.assert_allclose(found.mean(axis=1), 0.0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=2).max(axis=1), 1.0, atol=1e-5)


def test_a_cloud_in_one_place_comes_to_lie_in_the_origin() -> None:
    np.testing.assert_array_equal(to_unit_sphere(np.full((2, 5, 3), 4.0, np.float32)), 0.0)


def test_fewer_points_than_wanted_come_again_and_all_are_there() -> None:
    for found in (first_points(POINTS, 250), drawn_points(rng(), POINTS, 250)):
        assert found.shape == (6, 250, 3)
        for before, after in zip(POINTS, found, strict=True):
            times = np.unique(after, axis=0, return_counts=True)[1]
            assert len(times) == len(np.unique(before, axis=0))
            assert times.max() <= 3


def test_gaps_are_filled_where_that_is_asked_for() -> None:
    found = brought_to(POINTS, 250, fills_gaps=True)
    assert (found.shape, found.dtype) == ((6, 250, 3), np.float32)
    np.testing.assert_array_equal(found[:, :100], POINTS)
    assert all(len(np.unique(cloud, axis=0)) > 200 for cloud in found)
    np.testing.assert_array_equal(brought_to(POINTS, 250, fills_gaps=False), first_points(POINTS, 250))
    np.testing.assert_array_equal(brought_to(POINTS, 40, fills_gaps=True), POINTS[:, :40])


def test_a_draw_takes_no_point_twice_and_another_one_of_each_cloud() -> None:
    ramp = np.broadcast_to(np.arange(100, dtype=np.float32)[None, :, None], (2, 100, 3))
    found = drawn_points(rng(), ramp, 60)[..., 0]
    assert all(len(set(row)) == 60 for row in found.tolist())
    assert set(found[0]) != set(found[1])


def test_a_thinned_cloud_repeats_its_first_points_a_random_number_of_them() -> None:
    ramp = np.broadcast_to(np.arange(100, dtype=np.float32)[None, :, None], (200, 100, 3))
    kept = [len(np.unique(cloud[:, 0])) for cloud in thinned(rng(), ramp, 25)]
    assert 25 <= min(kept) <= 27
    assert 97 <= max(kept) <= 100
    assert np.median(kept) == pytest.approx(50, abs=5)  # of the logarithm
    np.testing.assert_array_equal(thinned(rng(), ramp, 100), ramp)
    np.testing.assert_array_equal(thinned(rng(), ramp, 500), ramp)
    filled = thinned(rng(), ramp, 25, fills_gaps=True)
    assert filled.shape == ramp.shape
    assert (filled % 1 == 0.5).any()


def test_a_stretch_is_one_factor_and_one_shift_for_each_axis_of_a_cloud() -> None:
    found = stretched(rng(), POINTS, (0.5, 2.0), 0.3)
    for before, after in zip(POINTS, found, strict=True):
        for axis in range(3):
            factor, shift = np.polyfit(before[:, axis], after[:, axis], 1)
            assert 0.5 <= factor <= 2.0
            assert abs(shift) <= 0.3
            np.testing.assert_allclose(factor * before[:, axis] + shift, after[:, axis], atol=1e-5)


@pytest.mark.parametrize("up_axis", [0, 1, 2])
def test_a_turn_keeps_heights_and_distances_from_the_axis(up_axis: int) -> None:
    found = turned(rng(), POINTS, up_axis, 180.0)
    others = [axis for axis in range(3) if axis != up_axis]
    np.testing.assert_array_equal(found[..., up_axis], POINTS[..., up_axis])
    np.testing.assert_allclose(
        np.linalg.norm(found[..., others], axis=2), np.linalg.norm(POINTS[..., others], axis=2), atol=1e-5
    )
    assert np.abs(found - POINTS).max() > 0.1


def test_noise_has_its_standard_deviation() -> None:
    assert float((noisy(rng(), POINTS, 0.05) - POINTS).std()) == pytest.approx(0.05, rel=0.05)


def test_occlusion_takes_one_side_away_and_leaves_heights_alone() -> None:
    found = occluded(rng(), POINTS, 2, 0.3)
    assert found.shape == (6, 70, 3)
    for before, after in zip(POINTS, found, strict=True):
        kept = {tuple(point) for point in after.tolist()}
        gone = np.array([point for point in before.tolist() if tuple(point) not in kept])
        assert len(gone) == 30
        direction = gone.mean(axis=0)[:2] - after.mean(axis=0)[:2]
        assert np.linalg.norm(direction) > 0.05
    assert occluded(rng(), POINTS[:, :1], 2, 0.9).shape == (6, 1, 3)


def test_changes_leave_their_input_alone_and_follow_from_the_seed() -> None:
    before = POINTS.copy()
    for change in (
        lambda r: stretched(r, POINTS, (0.5, 2.0), 0.3),
        lambda r: turned(r, POINTS, 2, 90.0),
        lambda r: noisy(r, POINTS, 0.1),
        lambda r: occluded(r, POINTS, 2, 0.5),
        lambda r: drawn_points(r, POINTS, 50),
    ):
        first = change(rng())
        assert first.dtype == np.float32
        np.testing.assert_array_equal(first, change(rng()))
    np.testing.assert_array_equal(POINTS, before)
