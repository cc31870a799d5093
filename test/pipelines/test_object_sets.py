"""Which picture belongs to which boxes, where a 3D box lies in it, and what is known besides."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from tabletop import CAMERA, OPTICAL, START_NS, T_BASE_CAM, ball_box, ball_pixels, camera_image

from lift3d_ros.errors import ImageError
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.pipelines.keypoint_sets import StampedBoxes
from lift3d_ros.pipelines.object_sets import ObjectRequest, ObjectSets, ObjectSyncConfig, StampedRegions
from lift3d_ros.pipelines.object_triggers import DetectedObject, TriggerConfig
from lift3d_ros.types import CameraImage

MS = 1_000_000


class Sets(ObjectSets):
    """Sets of the calibrated and mounted camera of `tabletop`, with what they complain of."""

    def __init__(self, *, is_mounted: bool = True, **sync: Any) -> None:
        tree = TransformTree(10.0, 0.5)
        if is_mounted:
            tree.add("base_link", OPTICAL, 0, T_BASE_CAM, is_static=True)
        self.problems: list[str] = []
        trigger = TriggerConfig(min_interval_s=0.0)
        super().__init__(tree, ObjectSyncConfig(**sync), trigger, self.problems.append)
        self.camera = CAMERA


def boxes(ms: int, *track_ids: int) -> StampedBoxes:
    return StampedBoxes(START_NS + ms * MS, ball_box(track_ids or (7,)))


def image(ms: int, **changes: Any) -> CameraImage:
    return dataclasses.replace(camera_image(START_NS + ms * MS), **changes)


def gray(ms: int, encoding: str = "mono8", frame_id: str = OPTICAL) -> CameraImage:
    size = 2 if encoding == "16UC1" else 1
    data = np.ones(320 * 240 * size, dtype=np.uint8)
    return CameraImage("front", START_NS + ms * MS, frame_id, encoding, data, 320, 240, 320 * size, source="/gray")


def test_a_3d_box_is_where_the_object_is_in_the_picture() -> None:
    sets = Sets()
    assert sets.add_image(image(0)) == []
    (request,) = sets.add_boxes(boxes(0))
    assert request.box is not None
    inner, outer = ball_pixels(), request.box
    assert outer.top <= inner.top + 10 < inner.bottom - 10 <= outer.bottom
    assert outer.left <= inner.left + 10 < inner.right - 10 <= outer.right
    assert outer.width < 2 * inner.width
    assert (request.label, request.track_id, request.key) == ("ball", 7, "ball 7")
    assert request.box_3d is not None
    assert len(request.box_3d) == 1
    np.testing.assert_allclose(request.T_cam_box @ T_BASE_CAM, np.eye(4), atol=1e-12)


def test_boxes_that_come_late_find_their_picture_among_the_last_ones() -> None:
    sets = Sets(history=4)
    for ms in range(0, 600, 100):
        sets.add_image(image(ms))
    (request,) = sets.add_boxes(boxes(310))
    assert request.stamp_ns == START_NS + 300 * MS
    assert sets.add_boxes(boxes(100)) == []
    assert sets.skipped["no picture of that time"] == 1


def test_boxes_that_come_first_wait_for_their_picture_the_newest_alone() -> None:
    sets = Sets()
    assert sets.add_boxes(boxes(0)) == sets.add_boxes(boxes(100)) == []
    assert sets.add_image(image(0)) == []
    (request,) = sets.add_image(image(100))
    assert request.stamp_ns == START_NS + 100 * MS
    assert sets.add_image(image(140)) == []


def test_boxes_whose_picture_never_comes_are_given_up_with_the_next_one() -> None:
    sets = Sets()
    sets.add_boxes(boxes(0))
    assert sets.add_image(image(200)) == []
    assert sets.skipped["no picture of that time"] == 1
    assert sets.add_image(image(300)) == []


def test_mask_and_depth_of_the_time_of_the_picture_are_attached() -> None:
    sets = Sets()
    for ms in (0, 100):
        sets.add_mask(gray(ms + 10))
        sets.add_depth(gray(ms - 20, "16UC1"))
        sets.add_image(image(ms))
    (request,) = sets.add_boxes(boxes(100))
    assert request.mask is not None
    assert request.depth is not None
    assert (request.mask.stamp_ns - START_NS, request.depth.stamp_ns - START_NS) == (110 * MS, 80 * MS)
    sets.add_image(image(500))
    (alone,) = sets.add_boxes(boxes(500))
    assert alone.mask is alone.depth is None


def test_boxes_in_the_picture_need_neither_calibration_nor_transforms() -> None:
    sets = Sets(is_mounted=False)
    sets.camera = None
    sets.add_image(image(0))
    found = DetectedObject(105.0, 65.0, 215.0, 175.0, "ball")
    (request,) = sets.add_boxes(StampedRegions(START_NS, (found,)))
    assert request.box == ball_pixels()
    assert request.box_3d is None
    assert sets.problems == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"camera": None}, "its calibration is not known yet", id="no calibration"),
        pytest.param({"is_mounted": False}, "frame 'front_optical' is not known", id="no transform"),
        pytest.param(
            {"frame_id": "rear_optical"}, "frame_id is 'rear_optical', and that of the calibration", id="frame"
        ),
    ],
)
def test_3d_boxes_that_cannot_be_placed_are_named_and_counted(changes: dict[str, Any], message: str) -> None:
    sets = Sets(is_mounted=changes.get("is_mounted", True))
    if "camera" in changes:
        sets.camera = None
    sets.add_image(image(0, frame_id=changes.get("frame_id", OPTICAL)))
    assert sets.add_boxes(boxes(0)) == []
    assert message in sets.problems[0]
    assert sets.skipped["not placed in the picture"] == 1


def test_boxes_behind_the_camera_are_left_out() -> None:
    sets = Sets()
    sets.add_image(image(0))
    ball = ball_box((1, 2))
    behind = dataclasses.replace(ball, centers=ball.centers * [[-1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    (request,) = sets.add_boxes(StampedBoxes(START_NS, behind))
    assert request.track_id == 2
    assert sets.skipped["not in front of the camera"] == 1


def test_stamps_that_jump_back_start_afresh() -> None:
    sets = Sets()
    sets.add_image(image(5000))
    sets.add_image(image(0))
    assert sets.resets == 1
    assert sets.add_boxes(boxes(5000)) == []


def test_the_newest_picture_is_taken_for_who_sends_none() -> None:
    sets = Sets()
    with pytest.raises(ImageError, match="holds no picture, and none has arrived on the topic; send one"):
        sets.newest_request()
    sets.add_image(image(0))
    sets.add_image(image(100))
    sets.add_mask(gray(100))
    request = sets.newest_request(ball_pixels(), 64)
    assert (request.stamp_ns, request.box, request.resolution) == (START_NS + 100 * MS, ball_pixels(), 64)
    assert request.mask is not None
    assert request.camera is CAMERA
    assert request.key == ""


def test_a_request_is_decoded_with_what_belongs_to_it() -> None:
    request = ObjectRequest(image(0), ball_pixels(), gray(0), gray(0, "16UC1"), CAMERA, label="ball", track_id=3)
    frame, problems = request.frame("grabcut")
    assert problems == ()
    assert request.name == "ball 3"
    assert frame.picture.shape == (240, 320, 3)
    assert frame.mask is not None
    assert frame.mask.dtype == np.bool_
    assert frame.depth is not None
    assert frame.depth[0, 0] == pytest.approx(0.257)


def test_depth_of_another_camera_and_calibration_of_another_shape_cost_the_size_alone() -> None:
    depth = gray(0, "16UC1", "rear_optical")
    frame, problems = ObjectRequest(image(0), ball_pixels(), depth=depth, camera=CAMERA).frame("grabcut")
    assert frame.depth is None
    assert "depth is not used" in problems[0]
    assert "that of the picture is 'front_optical'" in problems[0]
    square = dataclasses.replace(CAMERA, width=320, height=320)
    frame, problems = ObjectRequest(image(0), ball_pixels(), camera=square).frame("grabcut")
    assert frame.camera is None
    assert "the mesh has no size in metres" in problems[0]


def test_a_mask_of_colours_is_refused() -> None:
    with pytest.raises(ImageError, match=r"encoding 'rgb8' is no mask; expected mono8 or 8UC1, above 0 where"):
        ObjectRequest(image(0), mask=image(0)).frame("grabcut")
