"""Markers stay with the object: RViz moves them instead of making new ones, and is told when one has ended."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from visualization_msgs.msg import Marker, MarkerArray

from lift3d_ros.nodes.messages import detections_msg, marker_keys, marker_msgs, with_deletions
from lift3d_ros.types import BevDetections, Boxes3D, ModelIdentity

pytestmark = pytest.mark.ros


def boxes(*objects: tuple[int, int, float]) -> Boxes3D:
    """Return a box for each (track id, label, x)."""
    count = len(objects)
    return Boxes3D(
        "base_link",
        ("car", "pedestrian"),
        centers=np.array([[x, 0.0, 0.8] for _, _, x in objects]).reshape(-1, 3),
        sizes=np.ones((count, 3)),
        yaws=np.zeros(count),
        velocities=np.zeros((count, 2)),
        scores=np.full(count, 0.5),
        labels=np.array([label for _, label, _ in objects], dtype=np.int64),
        track_ids=np.array([track_id for track_id, _, _ in objects], dtype=np.int64),
    )


def markers(found: Boxes3D) -> MarkerArray:
    return marker_msgs(found, 1, "tiny", 1.0)


def cubes(message: MarkerArray) -> dict[tuple[str, int], float]:
    return {(m.ns, m.id): m.pose.position.x for m in message.markers if m.type == Marker.CUBE and m.action == 0}


def deleted(message: MarkerArray) -> list[tuple[str, int]]:
    return [(marker.ns, marker.id) for marker in message.markers if marker.action == Marker.DELETE]


def test_the_marker_of_a_track_has_the_number_of_the_track_in_the_namespace_of_its_class() -> None:
    first = cubes(markers(boxes((7, 0, 5.0), (9, 1, 8.0), (-1, 0, 20.0), (-1, 0, 30.0))))
    second = cubes(markers(boxes((9, 1, 8.5), (-1, 0, 20.0), (7, 0, 5.5))))  # in another order
    assert first == {
        ("boxes/car", 7): 5.0,
        ("boxes/pedestrian", 9): 8.0,
        ("boxes/car without track", 0): 20.0,
        ("boxes/car without track", 1): 30.0,
    }
    assert second == {("boxes/car", 7): 5.5, ("boxes/pedestrian", 9): 8.5, ("boxes/car without track", 0): 20.0}


def test_markers_are_deleted_when_their_track_has_ended_and_only_then() -> None:
    first, second = markers(boxes((7, 0, 5.0), (9, 1, 8.0))), markers(boxes((7, 0, 5.5)))
    message = with_deletions(second, marker_keys(first))
    assert deleted(message) == [("boxes/pedestrian", 9), ("labels/pedestrian", 9)]
    assert message.markers[0].action == Marker.DELETE
    assert Marker.DELETEALL not in {marker.action for marker in message.markers}
    assert cubes(message) == {("boxes/car", 7): 5.5}
    assert deleted(with_deletions(second, marker_keys(second))) == []


def test_the_first_message_clears_what_an_earlier_run_left() -> None:
    message = with_deletions(markers(boxes((7, 0, 5.0))), None)
    assert [marker.action for marker in message.markers].count(Marker.DELETEALL) == 1
    assert message.markers[0].action == Marker.DELETEALL


def test_the_way_of_a_track_is_a_line_strip_in_its_own_frame_that_ends_with_the_track() -> None:
    way = {7: np.array([[1.0, 2.0, 0.0], [3.0, 2.0, 0.0]])}
    message = marker_msgs(boxes((7, 0, 5.0), (9, 1, 8.0)), 1, "tiny", 1.0, way, "base_footprint")
    (line,) = [marker for marker in message.markers if marker.type == Marker.LINE_STRIP]
    assert (line.ns, line.id, line.header.frame_id) == ("trails/car", 7, "base_footprint")
    assert [(point.x, point.y) for point in line.points] == [(1.0, 2.0), (3.0, 2.0)]
    assert ("trails/car", 7) in deleted(with_deletions(markers(boxes((9, 1, 8.0))), marker_keys(message)))


def test_a_box_that_moves_has_a_line_to_where_it_is_after_a_second() -> None:
    velocities = np.array([[0.2, 0.2], [3.0, -4.0], [np.nan, 1.0], [np.inf, 0.0], [0.0, 0.0]])
    standing = boxes(*((number, 0, 10.0 * number) for number in range(5)))
    found = dataclasses.replace(standing, velocities=velocities)
    (lines,) = [marker for marker in markers(found).markers if marker.type == Marker.LINE_LIST]
    pairs = zip(lines.points[::2], lines.points[1::2], strict=True)
    ways = [(one.x, one.y, other.x, other.y) for one, other in pairs]
    headings = [(10.0 * number + 0.5, 0.0, 10.0 * number + 0.9, 0.0) for number in range(5)]
    assert sorted(set(ways) - set(headings)) == [(10.0, 0.0, 13.0, -4.0)]
    assert set(headings) < set(ways)


def test_the_largest_ids_are_valid_markers_and_reach_the_message_as_they_are() -> None:
    huge = boxes((2**40 + 3, 0, 5.0))
    assert list(cubes(markers(huge))) == [("boxes/car", 3)]
    result = BevDetections(1, huge, (), ModelIdentity("tiny", "", is_trained=True), "fused")
    assert detections_msg(result, huge).detections[0].track_id == 2**40 + 3
