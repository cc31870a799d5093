"""The way of a tracked object stays where it was on the ground while the vehicle drives on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from lift3d_ros.geometry.boxes import transform_boxes
from lift3d_ros.geometry.rigid import invert, make_transform
from lift3d_ros.geometry.rotations import rpy_matrix
from lift3d_ros.types import Boxes3D, EgoMotion
from lift3d_ros.viz.trails import TrackTrails

MakeBoxes = Callable[..., Boxes3D]
SECOND_NS = 1_000_000_000


def tracked(boxes: Boxes3D, *ids: int) -> Boxes3D:
    return dataclasses.replace(boxes, track_ids=np.array(ids, dtype=np.int64))


def ego(stamp_ns: int, x: float = 0.0, yaw: float = 0.0) -> EgoMotion:
    return EgoMotion(stamp_ns, make_transform(rpy_matrix(0.0, 0.0, yaw), [x, 0.0, 0.0]))


def test_the_way_of_a_parked_car_is_a_point_from_a_vehicle_that_drives_and_turns(make_boxes: MakeBoxes) -> None:
    trails = TrackTrails()
    for index in range(4):
        pose = ego(index * SECOND_NS, 5.0 * index, 0.4 * index)
        seen = transform_boxes(invert(pose.T_world_base), make_boxes((20.0, 3.0)), "base_link")
        ways = trails.add(tracked(seen, 7), index * SECOND_NS, pose)
    assert list(ways) == [7]
    np.testing.assert_allclose(ways[7], np.tile([*seen.centers[0, :2], 0.0], (4, 1)), atol=1e-9)


def test_a_way_has_its_oldest_point_first_and_forgets_what_was_long_ago(make_boxes: MakeBoxes) -> None:
    trails = TrackTrails(duration_s=2.0)
    for index in range(6):
        ways = trails.add(tracked(make_boxes((10.0 + index, 0.0)), 3), index * SECOND_NS, ego(index * SECOND_NS))
    assert ways[3][:, 0].tolist() == [13.0, 14.0, 15.0]


def test_only_tracks_that_are_there_now_have_a_way(make_boxes: MakeBoxes) -> None:
    trails = TrackTrails()
    both = tracked(make_boxes((10.0, 0.0), (20.0, 0.0), (30.0, 0.0)), 1, 2, -1)
    trails.add(both, 0, ego(0))
    ways = trails.add(both.select(np.array([1, 2])), SECOND_NS, ego(SECOND_NS))
    assert list(ways) == [2]


@pytest.mark.parametrize("break_", ["no ego motion", "the clock jumps back"])
def test_ways_start_anew_after_a_break(break_: str, make_boxes: MakeBoxes) -> None:
    trails = TrackTrails()
    boxes = tracked(make_boxes((10.0, 0.0)), 1)
    for stamp_ns in (5 * SECOND_NS, 6 * SECOND_NS):
        trails.add(boxes, stamp_ns, ego(stamp_ns))
    if break_ == "no ego motion":
        assert trails.add(boxes, 7 * SECOND_NS, None) == {}
        assert trails.add(boxes, 8 * SECOND_NS, ego(8 * SECOND_NS)) == {}
    else:
        assert trails.add(boxes, 2 * SECOND_NS, ego(2 * SECOND_NS)) == {}
