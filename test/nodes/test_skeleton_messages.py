"""Skeletons become messages and markers; what is not metric, not seen or not decided can be told from both."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from known_shapes import frame_of, known_lifter, seen_person
from visualization_msgs.msg import Marker, MarkerArray

from lift3d_ros.nodes.messages import marker_keys, with_deletions
from lift3d_ros.nodes.skeleton_messages import skeleton_marker_msgs, skeletons_msg
from lift3d_ros.types import Keypoints2D, Skeletons3D

pytestmark = pytest.mark.ros


def lifted(*instances: Keypoints2D, **frame: Any) -> Skeletons3D:
    lifter, _ = known_lifter()
    return lifter.infer(lifter.prepare(frame_of(*instances, **frame)))


def person(**changes: Any) -> Keypoints2D:
    return seen_person(**changes)[1]


def markers(result: Skeletons3D) -> MarkerArray:
    return skeleton_marker_msgs(result, "front_optical", 1.5)


def of_namespace(message: MarkerArray, start: str) -> list[Marker]:
    return [marker for marker in message.markers if marker.ns.startswith(start)]


def test_a_message_holds_both_hypotheses_and_what_was_seen() -> None:
    visible = np.arange(17) != 3
    result = lifted(person(is_visible=visible, track_id=2**40 + 3, instance_id=5))
    (skeleton,), message = result.skeletons, skeletons_msg(result)
    (found,) = message.skeletons
    np.testing.assert_allclose(np.array(found.points).reshape(17, 3), skeleton.joints, atol=1e-5)
    np.testing.assert_allclose(np.array(found.hypotheses).reshape(2, 17, 3), skeleton.hypotheses, atol=1e-5)
    assert sum(found.probabilities) == pytest.approx(1.0)
    assert list(found.is_valid) == visible.tolist()
    assert (found.is_metric, found.skeleton, found.category) == (True, "coco17", "person")
    assert (found.scale_source, found.mirror_cue) == (skeleton.scale_source, skeleton.mirror_cue)
    assert found.scale_std == pytest.approx(skeleton.scale_std)
    assert (found.track_id, found.instance_id, len(found.edges)) == (2**40 + 3, 5, 38)
    assert len(found.uncertainty) == len(found.joint_names) == 17
    assert (message.header.frame_id, message.model, message.is_trained) == ("front_optical", "known", True)


def test_one_hypothesis_is_not_sent_twice() -> None:
    result = lifted(person())
    one = dataclasses.replace(
        result.skeletons[0], hypotheses=result.skeletons[0].hypotheses[:1], probabilities=np.ones(1)
    )
    (found,) = skeletons_msg(dataclasses.replace(result, skeletons=(one,))).skeletons
    assert (len(found.hypotheses), len(found.probabilities)) == (0, 0)
    assert len(found.points) == 51


def test_without_calibration_the_message_says_that_it_is_normalised() -> None:
    result = lifted(person(), camera=None)
    (found,) = skeletons_msg(result).skeletons
    assert not found.is_metric
    assert np.abs(np.array(found.points).reshape(17, 3)[:, :2]).max() == pytest.approx(1.0, abs=1e-5)
    message = markers(result)
    (label,) = of_namespace(message, "labels/")
    assert "normalised, no metres" in label.text
    (joints,) = of_namespace(message, "joints/")
    assert np.mean([point.z for point in joints.points]) == pytest.approx(5.0, abs=0.5), "in front of the camera"


def test_markers_show_bones_joints_and_the_uncertainty_of_each_joint() -> None:
    result = lifted(person(is_visible=np.arange(17) != 3, track_id=7))
    message, skeleton = markers(result), result.skeletons[0]
    (bones,), (joints,) = of_namespace(message, "bones/"), of_namespace(message, "joints/")
    (crosses,) = of_namespace(message, "uncertainty/")
    assert (bones.type, len(bones.points), len(bones.colors)) == (Marker.LINE_LIST, 38, 38)
    assert (joints.type, len(joints.points), len(joints.colors)) == (Marker.SPHERE_LIST, 17, 17)
    assert joints.colors[3] not in [joints.colors[1], joints.colors[2]], "a joint that was not seen is grey"
    assert joints.colors[1] != joints.colors[2], "left and right"
    ends = np.array([[p.x, p.y, p.z] for p in crosses.points]).reshape(17, 3, 2, 3)
    np.testing.assert_allclose(ends[:, 0, 1, 0] - ends[:, 0, 0, 0], 2 * skeleton.uncertainty, atol=1e-6)
    assert (bones.lifetime.sec, bones.lifetime.nanosec) == (1, 500_000_000)
    assert {marker.id for marker in message.markers if marker.ns != "model"} == {7}


def test_the_other_mirror_image_is_drawn_where_nothing_decided() -> None:
    undecided = lifted(person(), camera=None)
    assert undecided.skeletons[0].mirror_cue == "undecided"
    assert len(of_namespace(markers(undecided), "other mirror image/")) == 1
    assert "mirror undecided" in of_namespace(markers(undecided), "labels/")[0].text
    decided = dataclasses.replace(undecided.skeletons[0], mirror_cue="model")
    assert of_namespace(markers(dataclasses.replace(undecided, skeletons=(decided,))), "other mirror image/") == []


def test_a_skeleton_without_edges_has_joints_and_no_bones() -> None:
    result = lifted(person())
    bare = dataclasses.replace(result.skeletons[0].skeleton, edges=np.zeros((0, 2), np.int64))
    result = dataclasses.replace(result, skeletons=(dataclasses.replace(result.skeletons[0], skeleton=bare),))
    assert of_namespace(markers(result), "bones/") == []
    assert len(of_namespace(markers(result), "joints/")) == 1


def test_markers_are_deleted_when_their_track_has_ended() -> None:
    both = markers(lifted(person(track_id=7), person(place=(-0.5, 0.2, 4.0), track_id=9, instance_id=1)))
    one = markers(lifted(person(track_id=9)))
    gone = [m for m in with_deletions(one, marker_keys(both)).markers if m.action == Marker.DELETE]
    assert {marker.id for marker in gone} == {7}
    assert "bones/person coco17" in {marker.ns for marker in gone}


def test_skeletons_without_a_track_are_numbered_beside() -> None:
    message = markers(lifted(person(), person(place=(-0.5, 0.2, 4.0), instance_id=1)))
    assert [(m.ns, m.id) for m in of_namespace(message, "joints/")] == [
        ("joints/person coco17 without track", 0),
        ("joints/person coco17 without track", 1),
    ]
