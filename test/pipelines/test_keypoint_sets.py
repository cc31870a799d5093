"""Keypoints get calibration, gravity, depth and boxes of their time and frame, and nothing that is not theirs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from known_shapes import CAMERA, PERSON, known_lifter
from walk import OPTICAL, T_BASE_CAM, Walk

from lift3d_ros.errors import ConfigError
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.pipelines.keypoint_sets import (
    TRANSFORM_TOLERANCE_S,
    KeypointInputConfig,
    KeypointSet,
    KeypointSetLifter,
    KeypointSets,
    KeypointSyncConfig,
    StampedBoxes,
)
from lift3d_ros.types import Boxes3D, CameraImage, Float64Array

WALK = Walk()


def sets_with(tree: TransformTree | None = None, **config: Any) -> KeypointSets:
    sets = KeypointSets(
        tree or TransformTree(tolerance_s=TRANSFORM_TOLERANCE_S),
        KeypointInputConfig(**config),
        KeypointSyncConfig(),
        has_depth=True,
        has_boxes=True,
    )
    sets.camera = CAMERA
    return sets


def mounted() -> TransformTree:
    tree = TransformTree(tolerance_s=TRANSFORM_TOLERANCE_S)
    tree.add("base_link", OPTICAL, 0, T_BASE_CAM, is_static=True)
    return tree


def only(found: list[KeypointSet]) -> KeypointSet:
    (item,) = found
    return item


def depth_picture(stamp_ns: int, metres: float = 4.0, size: tuple[int, int] = (1280, 720), **changes: Any) -> Any:
    width, height = size
    data = np.full((height, width), round(metres * 1e3), dtype="<u2")
    values = {"frame_id": OPTICAL, "encoding": "16UC1", "width": width, "height": height, "step": 2 * width, **changes}
    return CameraImage("depth", stamp_ns, data=data.reshape(-1).view(np.uint8), source="/depth", **values)


def box_at(center: Float64Array, frame_id: str) -> Boxes3D:
    one = np.ones(1)
    return Boxes3D(frame_id, ("person",), center[None], one[:, None] * [1, 1, 2], one, np.zeros((1, 2)), one, one * 0)


def test_a_set_has_the_calibration_and_the_direction_of_gravity() -> None:
    item = only(sets_with(mounted()).add_keypoints(WALK.keypoints(0), 0))
    assert item.camera is CAMERA
    # The camera looks down by 0.2 rad.
    np.testing.assert_allclose(item.up, [0.0, -np.cos(0.2), -np.sin(0.2)], atol=1e-9)
    assert item.problems == ()


def test_a_moving_mounting_counts_at_the_time_of_the_keypoints_or_half_a_second_beside() -> None:
    tree, sets = TransformTree(tolerance_s=TRANSFORM_TOLERANCE_S), None
    tree.add("base_link", OPTICAL, WALK.stamp_ns(0) - 400_000_000, T_BASE_CAM)
    sets = sets_with(tree)
    assert only(sets.add_keypoints(WALK.keypoints(0), 0)).up is not None
    assert only(sets.add_keypoints(WALK.keypoints(2), 1)).up is None
    assert "not known: transform from" in sets.gravity_note


@pytest.mark.parametrize(
    ("is_static", "lack_s", "is_used"), [(False, 0.04, True), (False, 0.4, False), (True, 9, True)]
)
def test_boxes_of_a_frame_that_moves_need_its_pose_at_their_time(is_static: bool, lack_s: float, is_used: bool) -> None:
    tree = TransformTree(tolerance_s=TRANSFORM_TOLERANCE_S)
    sets, stamp_ns = sets_with(tree), WALK.stamp_ns(0)
    tree.add("odom", OPTICAL, stamp_ns - round(lack_s * 1e9), T_BASE_CAM, is_static=is_static)
    sets.add_boxes(StampedBoxes(stamp_ns, box_at(np.zeros(3), "odom")), 0)
    item = only(sets.add_keypoints(WALK.keypoints(0), 1))
    assert (item.boxes is not None) == is_used
    assert is_used or "boxes are not used: transform from 'odom' to 'front_optical'" in item.problems[0]


@pytest.mark.parametrize(
    ("frame", "note"), [("base_link", "not known: frame"), ("", "not used"), ("basee", "did you mean")]
)
def test_without_a_transform_there_is_no_gravity_and_a_note_says_why(frame: str, note: str) -> None:
    tree = mounted() if frame == "basee" else TransformTree()
    sets = sets_with(tree, gravity_frame=frame)
    tree.add("base", "hand", 0, np.eye(4), is_static=True)
    item = only(sets.add_keypoints(WALK.keypoints(0), 0))
    assert item.up is None
    assert item.problems == ()
    assert note in sets.gravity_note


def test_the_calibration_of_another_camera_is_not_used() -> None:
    sets = sets_with()
    sets.camera = dataclasses.replace(CAMERA, frame_id="rear_optical")
    item = only(sets.add_keypoints(WALK.keypoints(0), 0))
    assert item.camera is None
    (problem,) = item.problems
    assert "frame_id is 'front_optical', and that of the calibration is 'rear_optical'" in problem
    assert "topics.camera_info" in problem


def test_keypoints_without_frame_are_in_that_of_the_calibration() -> None:
    keypoints = dataclasses.replace(WALK.keypoints(0), frame_id="")
    frame, problems = only(sets_with(mounted()).add_keypoints(keypoints, 0)).frame()
    assert (frame.frame_id, problems) == (OPTICAL, ())
    assert frame.up is not None


def test_a_calibration_of_another_resolution_is_scaled_and_one_of_another_shape_refused() -> None:
    half = dataclasses.replace(WALK.keypoints(0), width=640, height=360)
    frame, problems = only(sets_with().add_keypoints(half, 0)).frame()
    assert problems == ()
    assert frame.camera is not None
    assert (frame.camera.width, frame.camera.intrinsics[0, 0]) == (640, 450.0)
    square = dataclasses.replace(WALK.keypoints(0), width=640, height=640)
    frame, (problem,) = only(sets_with().add_keypoints(square, 0)).frame()
    assert frame.camera is None
    assert "640x640, its calibration is for 1280x720" in problem
    assert problem.endswith("normalised, not in metres")


def test_depth_and_boxes_of_the_same_time_are_attached_and_used_for_scale() -> None:
    stamp_ns, sets = WALK.stamp_ns(0), sets_with(mounted())
    lifter = KeypointSetLifter(known_lifter()[0])
    sets.add_depth(depth_picture(stamp_ns - 30_000_000), 0)
    item = only(sets.add_keypoints(WALK.keypoints(0), 1))
    result = lifter.infer(lifter.prepare(item))
    assert result.skeletons[0].scale_source == "depth"
    center = np.array([0.3, 0.2, 4.0]) + PERSON.mean(axis=0)
    in_base = T_BASE_CAM[:3, :3] @ center + T_BASE_CAM[:3, 3]
    sets.add_boxes(StampedBoxes(WALK.stamp_ns(1), box_at(in_base, "base_link")), 2)
    item = only(sets.add_keypoints(dataclasses.replace(WALK.keypoints(0), stamp_ns=WALK.stamp_ns(1)), 3))
    assert item.depth is None
    result = lifter.infer(lifter.prepare(item))
    assert result.skeletons[0].scale_source == "box"
    np.testing.assert_allclose(result.skeletons[0].joints.mean(axis=0), center, atol=0.25)
    assert (sets.attached["depth"], sets.attached["boxes"]) == (1, 1)


def test_keypoints_that_come_faster_than_depth_and_boxes_all_have_both() -> None:
    sets = sets_with(mounted())
    for number in range(8):
        stamp_ns = WALK.start_ns + number * 33_000_000
        if number % 2 == 0:
            sets.add_depth(depth_picture(stamp_ns, size=(4, 3)), stamp_ns)
        if number % 4 == 0:
            sets.add_boxes(StampedBoxes(stamp_ns, box_at(np.zeros(3), OPTICAL)), stamp_ns)
        sets.add_keypoints(dataclasses.replace(WALK.keypoints(0), stamp_ns=stamp_ns), stamp_ns)
    assert (sets.attached["depth"], sets.attached["boxes"]) == (8, 8)


def test_depth_pictures_too_old_for_any_later_keypoints_are_not_held() -> None:
    sets = sets_with()
    for number in range(30):
        stamp_ns = WALK.start_ns + number * 33_000_000
        sets.add_depth(depth_picture(stamp_ns, size=(4, 3)), stamp_ns)
        if number % 6 == 5:
            sets.add_keypoints(dataclasses.replace(WALK.keypoints(0), stamp_ns=stamp_ns), stamp_ns)
    assert len(sets.collector._held["depth"]) <= 4


def test_depth_of_another_time_is_not_attached() -> None:
    sets = sets_with()
    sets.add_depth(depth_picture(WALK.stamp_ns(0) - 150_000_000), 0)
    assert only(sets.add_keypoints(WALK.keypoints(0), 1)).depth is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoding": "rgb8"}, "is not a depth picture"),
        ({"size": (640, 480)}, r"shape (480, 640); expected (720, 1280)"),
        ({"frame_id": "depth_optical"}, "frame_id is 'depth_optical', that of the keypoints is 'front_optical'"),
        ({"step": 100}, "step"),
    ],
)
def test_depth_that_cannot_be_used_is_named_and_costs_no_skeleton(changes: dict[str, Any], words: str) -> None:
    sets = sets_with()
    sets.add_depth(depth_picture(WALK.stamp_ns(0), **changes), 0)
    lifter = KeypointSetLifter(known_lifter()[0])
    result = lifter.infer(lifter.prepare(only(sets.add_keypoints(WALK.keypoints(0), 1))))
    assert "depth is not used: " in result.problems[0]
    assert words in result.problems[0]
    assert result.skeletons[0].scale_source == "category_size"


def test_boxes_of_an_unknown_frame_are_named() -> None:
    sets = sets_with(mounted())
    sets.add_boxes(StampedBoxes(WALK.stamp_ns(0), box_at(np.zeros(3), "mapp")), 0)
    item = only(sets.add_keypoints(WALK.keypoints(0), 1))
    assert item.boxes is None
    assert "boxes are not used: frame 'mapp' is not known" in item.problems[0]


def test_a_stamp_that_repeats_is_dropped_and_one_that_jumps_back_starts_afresh() -> None:
    sets = sets_with()
    assert sets.add_keypoints(WALK.keypoints(3), 0)
    assert sets.add_keypoints(WALK.keypoints(3), 1) == []
    assert sets.collector.drops["duplicate"] == 1
    earlier = Walk(start_ns=WALK.start_ns - 10_000_000_000)
    assert sets.add_keypoints(earlier.keypoints(0), 2)
    assert sets.collector.resets == 1


def test_known_lengths_reach_the_lifter() -> None:
    metres = float(np.linalg.norm(PERSON[11] - PERSON[13]))
    sets = sets_with(known_lengths=(f"left_hip:left_knee={metres}",))
    lifter = KeypointSetLifter(known_lifter()[0])
    person = lifter.infer(lifter.prepare(only(sets.add_keypoints(WALK.keypoints(0), 0)))).skeletons[0]
    assert person.scale_source == "bone_length"
    np.testing.assert_allclose(person.joints, PERSON + np.array([0.3, 0.2, 4.0]), atol=0.02)


@pytest.mark.parametrize("text", ["left_hip=0.4", "left_hip:left_knee", "a:b=long", ""])
def test_a_known_length_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"'input.known_lengths' holds .*; expected two joints and metres, as in"):
        sets_with(known_lengths=(text,))


def test_a_known_length_of_joints_that_no_skeleton_file_has_is_said(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    own = tmp_path / "crane.yaml"
    own.write_text("joints: [mast, hook]\n")
    sets_with(known_lengths=("left_hip:left_knee=0.4", "mast:hook=3"), skeletons=(str(own),))
    assert not caplog.messages
    sets_with(known_lengths=("left_hipp:left_knee=0.4",))
    (said,) = caplog.messages
    assert "'left_hipp:left_knee'" in said
    assert "did you mean 'left_hip'" in said
