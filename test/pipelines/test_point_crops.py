"""Crops are cut out of a cloud and brought to what an encoder takes, whatever the sensor gave."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
from point_clouds import boxes_at, ellipsoid

from lift3d_ros.datasets.point_cloud_changes import to_unit_sphere
from lift3d_ros.geometry.boxes import points_in_boxes
from lift3d_ros.models.i2p_mae.cloud_groups import group_cloud
from lift3d_ros.models.i2p_mae.config import TokenConfig
from lift3d_ros.ops.cloud_search import farthest_points
from lift3d_ros.pipelines.point_crops import cut_crops, finite_points, unit_cloud


def test_a_crop_holds_the_points_inside_of_its_turned_box() -> None:
    points = np.random.default_rng(0).uniform(-5, 5, (5000, 3)).astype(np.float32)
    boxes = boxes_at([[0, 0, 0], [3, -2, 1], [40, 0, 0]], size=[4.0, 1.0, 2.0])
    boxes = dataclasses.replace(boxes, yaws=np.array([0.7, -2.0, 0.0]))
    crops = cut_crops(points, boxes, np.array([7, 8, 9]))
    expected = points_in_boxes(points, boxes)
    assert [crop.instance_id for crop in crops] == [7, 8, 9]
    for number, crop in enumerate(crops):
        np.testing.assert_array_equal(crop.points, points[expected[:, number]])
    assert len(crops[0]) > 10
    assert len(crops[2]) == 0


def test_a_reduced_crop_is_normalised_as_in_training_and_can_be_put_back() -> None:
    crop = ellipsoid(3000) * 4 + np.float32([10, -20, 3])
    unit = unit_cloud(crop, 500)
    assert unit.points.shape == (500, 3)
    assert unit.points.dtype == np.float32
    back = unit.points * unit.radius + unit.center
    distance = np.linalg.norm(crop[:, None] - back[None], axis=2)
    assert distance.min(axis=0).max() < 1e-4  # all are points of the crop
    np.testing.assert_allclose(unit.points, to_unit_sphere(back[None].astype(np.float32))[0], atol=1e-5)


def test_neither_order_nor_density_of_the_points_decides_what_is_taken() -> None:
    crop = ellipsoid(2000)
    shuffled = np.random.default_rng(1).permutation(crop)
    np.testing.assert_allclose(unit_cloud(crop, 300).points, unit_cloud(shuffled, 300).points, atol=1e-6)
    right = crop[:, 0] > 0
    uneven = np.concatenate([crop, np.repeat(crop[right], 8, axis=0) + np.float32(1e-4)])
    share = (unit_cloud(uneven, 300).points[:, 0] > 0).mean()
    assert abs(share - 0.5) < 0.05


@pytest.mark.parametrize("count", [1, 2, 30])
def test_few_points_come_again_equally_often(count: int) -> None:
    crop = ellipsoid(count)
    unit = unit_cloud(np.repeat(crop, 40, axis=0), 60)
    different, times = np.unique(unit.points, axis=0, return_counts=True)
    assert len(different) == count
    assert times.max() - times.min() <= 1
    assert np.isfinite(unit.points).all()


@pytest.mark.parametrize("count", [2, 3, 30])
def test_gaps_between_few_points_are_filled_and_their_own_ones_come_first(count: int) -> None:
    crop = ellipsoid(count)
    unit = unit_cloud(np.repeat(crop, 40, axis=0), 60, fills_gaps=True)
    back = unit.points * unit.radius + unit.center
    assert unit.points.shape == (60, 3)
    np.testing.assert_allclose(np.sort(back[:count], axis=0), np.sort(crop, axis=0), atol=1e-5)
    assert (back >= crop.min(axis=0) - 1e-5).all()
    assert (back <= crop.max(axis=0) + 1e-5).all()
    assert len(np.unique(unit.points[: 2 * count - 1], axis=0)) == 2 * count - 1


def test_a_crop_with_enough_points_has_no_gaps_and_one_place_has_none_either() -> None:
    crop = ellipsoid(300)
    np.testing.assert_array_equal(unit_cloud(crop, 200, fills_gaps=True).points, unit_cloud(crop, 200).points)
    assert not unit_cloud(np.full((50, 3), 7.0, np.float32), 16, fills_gaps=True).points.any()


def test_a_crop_without_extent_lies_in_the_origin_and_keeps_its_place() -> None:
    unit = unit_cloud(np.full((50, 3), 7.0, np.float32), 16)
    assert not unit.points.any()
    np.testing.assert_allclose(unit.center, 7.0)


def test_crops_far_from_the_origin_keep_their_shape() -> None:
    crop = np.round(ellipsoid(400) * 64) / 64  # float32 holds sixty-fourths up to 2^18
    far = crop + np.float32([131072, -65536, 0])
    np.testing.assert_allclose(unit_cloud(far, 200).points, unit_cloud(crop, 200).points, atol=1e-6)


@pytest.mark.parametrize("factor", [2.0**60, 2.0**110])
def test_a_crop_of_any_size_has_the_same_unit_cloud(factor: float) -> None:
    crop = ellipsoid(400)
    unit, large = unit_cloud(crop, 200), unit_cloud((crop * factor).astype(np.float32), 200)
    np.testing.assert_array_equal(large.points, unit.points)
    assert large.radius == pytest.approx(unit.radius * factor)
    np.testing.assert_allclose(large.center / factor, unit.center, atol=1e-7)


@pytest.mark.filterwarnings("error")
def test_a_box_of_any_size_holds_what_is_inside() -> None:
    boxes = boxes_at(np.zeros((1, 3)))
    (crop,) = cut_crops(ellipsoid(50), dataclasses.replace(boxes, sizes=np.full((1, 3), 1e308)), np.arange(1))
    assert len(crop) == 50


def test_the_first_points_of_a_reduced_crop_are_the_centres_of_all_scales() -> None:
    unit = unit_cloud(ellipsoid(2000), 1024)
    config = TokenConfig((256, 128, 32), (16, 8, 8))
    for found, sampled in zip(
        group_cloud(unit.points, config, is_sampled=True), group_cloud(unit.points, config), strict=True
    ):
        np.testing.assert_array_equal(found.centers, sampled.centers)
        np.testing.assert_array_equal(found.neighbours, sampled.neighbours)
    np.testing.assert_array_equal(farthest_points(unit.points, 256), np.arange(256))


def test_points_that_are_not_finite_are_left_out() -> None:
    points = ellipsoid(100)
    points[3, 1], points[70, 2] = np.nan, np.inf
    np.testing.assert_array_equal(finite_points(points), np.delete(points, [3, 70], axis=0))


@pytest.mark.slow
def test_ten_million_points_take_seconds() -> None:
    points = np.random.default_rng(0).uniform(-50, 50, (10_000_000, 3)).astype(np.float32)
    start = time.process_time()
    unit_cloud(finite_points(points), 1024)
    crops = cut_crops(
        finite_points(points), boxes_at(np.random.default_rng(1).uniform(-40, 40, (10, 3))), np.arange(10)
    )
    assert all(100 < len(crop) < 400 for crop in crops)
    assert time.process_time() - start < 20.0
