"""Clouds, boxes and frames come together, wait as long as they should, and are encoded in the frame of the boxes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from cloud_layouts import LIDAR, cloud_message
from hypothesis import given, settings
from hypothesis import strategies as st

from lift3d_ros.bags.cloud_messages import packed_cloud_from_msg
from lift3d_ros.errors import CloudError
from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.pipelines.cloud_sets import CloudBoxes, CloudSet, CloudSetEncoder, CloudSets, CloudSyncConfig

pytest.importorskip("torch")
from point_clouds import boxes_at, ellipsoid, encoder
from scans import SIZE, T_BASE_LIDAR, Scan, lidar_points

MS = 1_000_000
SCAN = Scan()


def cloud_at(ms: int, points: Any = None, frame_id: str = LIDAR) -> Any:
    points = np.zeros((1, 3)) if points is None else points
    return packed_cloud_from_msg(cloud_message(points, stamp_ns=ms * MS, frame_id=frame_id), "/lidar/points")


def boxes_of(ms: int, frame_id: str = "base_link", centers: Any = ((6.0, 0.0, 1.0),), **changes: Any) -> CloudBoxes:
    boxes = boxes_at(centers, SIZE, frame_id)
    fields = {"indices": np.arange(len(boxes)), "count": len(boxes), **changes}
    return CloudBoxes(ms * MS, boxes, **fields)


def mounted() -> TransformTree:
    tree = TransformTree()
    tree.add("base_link", LIDAR, 0, T_BASE_LIDAR, is_static=True)
    return tree


def sets_with_boxes(tree: TransformTree | None = None, output_frame: str = "", **sync: Any) -> CloudSets:
    return CloudSets(tree or mounted(), CloudSyncConfig(**sync), has_boxes=True, output_frame=output_frame)


def encoded(item: CloudSet) -> Any:
    subject = CloudSetEncoder(encoder())
    return subject.infer(subject.prepare(item))


def test_without_boxes_each_cloud_is_a_set_at_once() -> None:
    sets = CloudSets(TransformTree(), CloudSyncConfig())
    found = [item for ms in (100, 200) for item in sets.add_cloud(cloud_at(ms), ms * MS)]
    assert [(item.stamp_ns, item.boxes, item.output_frame) for item in found] == [
        (100 * MS, None, LIDAR),
        (200 * MS, None, LIDAR),
    ]


def test_boxes_get_the_nearest_cloud_although_they_come_later() -> None:
    sets = sets_with_boxes()
    assert [sets.add_cloud(cloud_at(ms), ms * MS) for ms in (100, 200, 300)] == [[], [], []]
    (item,) = sets.add_boxes(boxes_of(170), 350 * MS)
    assert item.stamp_ns == 200 * MS
    assert item.boxes is not None
    assert item.problems == ()


def test_boxes_that_come_first_wait_until_a_cloud_has_their_stamp_or_a_newer_one() -> None:
    sets = sets_with_boxes()
    sets.add_cloud(cloud_at(100), 100 * MS)
    assert sets.add_boxes(boxes_of(180), 181 * MS) == []
    assert sets.expire(200 * MS) == []
    (item,) = sets.add_cloud(cloud_at(200), 210 * MS)
    assert item.stamp_ns == 200 * MS


def test_boxes_without_a_cloud_near_them_are_dropped_and_counted() -> None:
    sets = sets_with_boxes(window_s=0.05)
    sets.add_cloud(cloud_at(100), 100 * MS)
    assert sets.add_boxes(boxes_of(200), 200 * MS) == []
    assert sets.expire(600 * MS) == []
    assert sets.drops["boxes without a cloud"] == 1


def test_no_more_clouds_are_kept_than_allowed() -> None:
    sets = sets_with_boxes(max_clouds=3, window_s=0.05)
    for ms in range(100, 700, 100):
        sets.add_cloud(cloud_at(ms), ms * MS)
    assert sets.add_boxes(boxes_of(300), 700 * MS) == []
    (item,) = sets.add_boxes(boxes_of(400), 700 * MS)
    assert item.stamp_ns == 400 * MS


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["cloud", "boxes"]), st.integers(0, 900), st.integers(0, 200)), max_size=60),
    st.integers(1, 20),
)
def test_whatever_comes_no_cloud_is_used_twice_and_results_never_go_back(
    events: list[tuple[str, int, int]], max_clouds: int
) -> None:
    sets, now_ns, found = sets_with_boxes(window_s=0.1, max_clouds=max_clouds), 0, []
    for kind, ms, elapsed_ms in events:
        now_ns += elapsed_ms * MS
        added = sets.add_cloud(cloud_at(ms), now_ns) if kind == "cloud" else sets.add_boxes(boxes_of(ms), now_ns)
        found += added
    found += sets.flush()
    stamps = [item.stamp_ns for item in found]
    assert stamps == sorted(set(stamps))
    for item in found:
        assert item.boxes is not None
        assert abs(item.boxes.stamp_ns - item.stamp_ns) <= 100 * MS


def test_boxes_that_are_faster_than_clouds_do_not_get_an_older_cloud() -> None:
    sets = sets_with_boxes()
    for ms in (90, 105):
        sets.add_cloud(cloud_at(ms), ms * MS)
    (item,) = sets.add_boxes(boxes_of(100), 110 * MS)
    assert item.stamp_ns == 105 * MS
    assert sets.add_boxes(boxes_of(110), 115 * MS) + sets.expire(600 * MS) == []
    assert sets.drops["boxes without a cloud"] == 1


def moving(until_ms: int) -> TransformTree:
    """Return a tree in which the base moves by 10 m/s along x of odom."""
    tree = mounted()
    for ms in range(0, until_ms + 1, 20):
        tree.add("odom", "base_link", ms * MS, make_transform(np.eye(3), [0.01 * ms, 0.0, 0.0]))
    return tree


def test_moving_transforms_are_waited_for_and_taken_at_the_stamp_of_the_cloud() -> None:
    tree = moving(80)
    sets = CloudSets(tree, CloudSyncConfig(), output_frame="odom")
    assert sets.add_cloud(cloud_at(100), 100 * MS) == []
    tree.add("odom", "base_link", 120 * MS, make_transform(np.eye(3), [1.2, 0.0, 0.0]))
    (item,) = sets.transforms_added(125 * MS)
    np.testing.assert_allclose(item.T_output_cloud[:3, 3], [1.5, 0.0, 1.5], atol=1e-9)
    assert item.output_frame == "odom"


def test_moving_transforms_that_do_not_come_are_waited_for_until_the_deadline() -> None:
    sets = CloudSets(moving(100), CloudSyncConfig(deadline_s=0.3), output_frame="odom")
    assert sets.add_cloud(cloud_at(500), 500 * MS) == []
    assert sets.expire(799 * MS) == []
    (item,) = sets.expire(800 * MS)
    assert item.output_frame == LIDAR
    (problem,) = item.problems
    assert problem.startswith("results stay in 'lidar': transform from 'lidar' to 'odom' at 500000000 ns is not known")


def test_the_frame_of_boxes_may_move() -> None:
    sets = sets_with_boxes(moving(400))
    sets.add_cloud(cloud_at(200), 200 * MS)
    (item,) = sets.add_boxes(boxes_of(200, "odom"), 220 * MS)
    np.testing.assert_allclose(item.T_encoding_cloud[:3, 3], [2.5, 0.0, 1.5], atol=1e-9)


def test_boxes_in_an_unknown_frame_are_not_used_and_nothing_is_encoded_in_their_place() -> None:
    sets = sets_with_boxes()
    sets.add_cloud(cloud_at(100, ellipsoid(50)), 100 * MS)
    assert sets.add_boxes(boxes_of(100, "base_linc"), 120 * MS) == []
    (item,) = sets.expire(500 * MS)
    result = encoded(item)
    assert result.features == ()
    assert item.boxes is not None
    assert item.boxes.count == 1
    assert "boxes are not used: frame 'base_linc' is not known; did you mean 'base_link'?" in result.problems[0]


@pytest.mark.parametrize("frame_id", ["base_link", ""])
def test_a_message_without_boxes_gives_a_result_without_features(frame_id: str) -> None:
    sets = sets_with_boxes()
    sets.add_cloud(cloud_at(100, ellipsoid(50)), 100 * MS)
    nothing = boxes_of(100, frame_id, np.zeros((0, 3)))
    (item,) = sets.add_boxes(nothing, 120 * MS) + sets.expire(500 * MS)
    result = encoded(item)
    assert (result.features, result.problems, result.frame_id) == ((), (), LIDAR)


def test_stamps_that_jump_back_start_afresh() -> None:
    sets = sets_with_boxes()
    sets.add_cloud(cloud_at(9000), 9000 * MS)
    sets.add_boxes(boxes_of(9000), 9010 * MS)
    sets.add_cloud(cloud_at(100), 9100 * MS)
    assert sets.collector.resets == 1
    sets.add_cloud(cloud_at(200), 9200 * MS)
    assert [item.stamp_ns for item in sets.add_boxes(boxes_of(200), 9210 * MS)] == [200 * MS]


def test_two_objects_of_one_shape_have_the_same_features_however_the_sensor_is_mounted() -> None:
    shape = ellipsoid(300)
    centers = np.array([[6.0, 0.0, 1.0], [-4.0, 3.0, 2.0]])
    points = lidar_points(np.concatenate([shape + center for center in centers]))
    sets = sets_with_boxes()
    sets.add_cloud(cloud_at(100, points), 100 * MS)
    (item,) = sets.add_boxes(boxes_of(100, centers=centers), 120 * MS)
    first, second = encoded(item).features
    alone = encoded(CloudSet(cloud_at(100, shape), LIDAR)).features[0]
    np.testing.assert_allclose(first.descriptor, alone.descriptor, atol=1e-3)
    np.testing.assert_allclose(second.descriptor, alone.descriptor, atol=1e-3)
    # Token centres are in the frame of the cloud, at its points.
    for features in (first, second):
        distances = np.linalg.norm(features.token_centers[:, None] - points, axis=2).min(axis=1)
        assert distances.max() < 1e-4
    assert [first.instance_id, second.instance_id] == [0, 1]


def test_results_are_brought_to_the_output_frame() -> None:
    points = SCAN.points(0)
    sets = sets_with_boxes(output_frame="base_link")
    sets.add_cloud(cloud_at(100, points), 100 * MS)
    (item,) = sets.add_boxes(boxes_of(100), 120 * MS)
    result = encoded(item)
    assert result.frame_id == "base_link"
    offsets = result.features[0].token_centers - [6.0, 0.0, 1.0]
    assert (np.abs(offsets) <= np.array(SIZE) / 2 + 1e-4).all()
    prepared = CloudSetEncoder(encoder()).prepare(item)
    expected = points @ T_BASE_LIDAR[:3, :3].T + T_BASE_LIDAR[:3, 3]
    np.testing.assert_allclose(prepared.output_points, expected, atol=1e-5)


def test_features_carry_the_places_of_their_boxes_in_the_message() -> None:
    sets = sets_with_boxes()
    sets.add_cloud(cloud_at(100, lidar_points(ellipsoid(300) + np.array([6.0, 0.0, 1.0]))), 100 * MS)
    problems = ("topic '/boxes', detections[0]: bad; it is left out",)
    (item,) = sets.add_boxes(boxes_of(100, indices=np.array([1]), count=2, problems=problems), 120 * MS)
    result = encoded(item)
    assert [features.instance_id for features in result.features] == [1]
    assert result.problems == problems
    assert list(result.timings_s) == ["unpack", "prepare", "inference"]


def test_a_cloud_that_cannot_be_read_is_an_error_of_preparing() -> None:
    item = CloudSet(dataclasses.replace(cloud_at(100), fields=()), LIDAR)
    with pytest.raises(CloudError, match=r"topic '/lidar/points': field 'x' is missing"):
        CloudSetEncoder(encoder()).prepare(item)
