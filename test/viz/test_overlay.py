"""Boxes in camera pictures: what is drawn, where, and that the picture given stays as it was."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lift3d_ros.errors import CalibrationError
from lift3d_ros.types import Boxes3D, CameraView
from lift3d_ros.viz.canvas import dashes, draw_caption, place_text
from lift3d_ros.viz.overlay import draw_overlay
from lift3d_ros.viz.palette import GROUND_TRUTH, WARNING, class_color
from lift3d_ros.viz.wireframe import wireframes

MakeView = Callable[..., CameraView]
MakeBoxes = Callable[..., Boxes3D]
Painted = Callable[..., np.ndarray]


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return (before != after).any(axis=2)


def test_no_boxes_change_nothing(grey: np.ndarray, make_view: MakeView, make_boxes: MakeBoxes) -> None:
    picture = draw_overlay(grey, make_view(), make_boxes(), make_boxes())
    np.testing.assert_array_equal(picture, grey)
    assert not np.shares_memory(picture, grey)


def test_the_picture_given_stays_as_it_was(grey: np.ndarray, make_view: MakeView, make_boxes: MakeBoxes) -> None:
    before, boxes = grey.copy(), make_boxes((12.0, 0.0))
    picture = draw_overlay(grey, make_view(), boxes, boxes, "frame 1")
    np.testing.assert_array_equal(grey, before)
    assert picture.shape == grey.shape
    assert changed(grey, picture).any()


def test_boxes_have_the_colour_of_their_class_and_a_tinted_front(
    grey: np.ndarray, make_view: MakeView, make_boxes: MakeBoxes, painted: Painted
) -> None:
    boxes = make_boxes((10.0, 4.0), yaw=np.pi / 2, labels=[1])  # heads left: its front is at the left
    view = make_view()
    picture = draw_overlay(grey, view, boxes)
    (wireframe,) = wireframes(view, boxes)
    assert painted(picture, class_color("pedestrian")).sum() > 100
    inside = np.zeros(grey.shape[:2], np.uint8)
    cv2.fillPoly(inside, [wireframe.front.round().astype(np.int32)], 1)
    inside = cv2.erode(inside, np.ones((5, 5), np.uint8)).astype(bool)
    others = changed(grey, picture) & ~inside
    assert inside.any()
    assert changed(grey, picture)[inside].all()
    assert np.median(np.nonzero(inside)[1]) < np.median(np.nonzero(others)[1])


def test_ground_truth_is_dashed_beneath_the_boxes(
    grey: np.ndarray, make_view: MakeView, make_boxes: MakeBoxes, painted: Painted
) -> None:
    view, boxes = make_view(), make_boxes((12.0, 0.0))
    only_truth = draw_overlay(grey, view, make_boxes(), boxes)
    solid = draw_overlay(grey, view, boxes)
    white = painted(only_truth, GROUND_TRUTH)
    assert 0.25 < white.sum() / painted(solid, class_color("car")).sum() < 0.75
    covered = draw_overlay(grey, view, boxes, boxes)
    assert painted(covered, GROUND_TRUTH)[white].mean() < 0.2


def test_a_scaled_picture_keeps_boxes_at_their_place(
    grey: np.ndarray, make_view: MakeView, make_boxes: MakeBoxes, painted: Painted
) -> None:
    view, boxes = make_view(), make_boxes((12.0, 3.0))

    def middle(picture: np.ndarray) -> np.ndarray:
        return np.argwhere(painted(picture, class_color("car"))).mean(axis=0) / picture.shape[:2]

    twice = np.repeat(np.repeat(grey, 2, axis=0), 2, axis=1)
    np.testing.assert_allclose(
        middle(draw_overlay(twice, view, boxes)), middle(draw_overlay(grey, view, boxes)), atol=0.01
    )


def test_a_picture_of_another_shape_is_refused(make_view: MakeView, make_boxes: MakeBoxes) -> None:
    with pytest.raises(CalibrationError, match="640x480"):
        draw_overlay(np.zeros((480, 640, 3), np.uint8), make_view(), make_boxes((12.0, 0.0)))


def test_near_labels_win_and_none_covers_another(
    grey: np.ndarray, make_view: MakeView, make_boxes: MakeBoxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lift3d_ros.viz.overlay as overlay

    written = []
    monkeypatch.setattr(overlay, "draw_text", lambda rgb, box, *_, **__: written.append(box))
    boxes = make_boxes((10.0, 0.0), (11.0, 0.0), (4.0, 2.6), (10.0, -6.5), scores=[0.1, 0.2, 0.3, 0.4])
    draw_overlay(grey, make_view(), boxes)
    assert {box.text for box in written} == {"car 0.10", "car 0.30", "car 0.40"}
    for i, box in enumerate(written):
        assert not any(box.covers(other) for other in written[i + 1 :])
        assert min(box.left, box.top) >= 0
        assert box.left + box.width <= grey.shape[1]
        assert box.top + box.height <= grey.shape[0]


@settings(max_examples=60, deadline=None)
@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.floats(4, 20))
def test_text_lies_within_the_picture(x: float, y: float, letters: float) -> None:
    box = place_text(np.zeros((200, 300, 3), np.uint8), "car 0.90", np.array([x, y]), letters)
    assert min(box.left, box.top) >= 0
    assert box.left + box.width <= 300
    assert box.top + box.height <= 200


def test_a_long_caption_is_shrunk_until_it_fits(grey: np.ndarray) -> None:
    picture = grey.copy()
    draw_caption(picture, "a very long line about this frame, its camera and its bag " * 4)
    touched = changed(grey, picture)
    columns = np.flatnonzero(touched.any(axis=0))
    assert columns[0] == 0
    assert grey.shape[1] * 0.9 < columns[-1] < grey.shape[1] - 1
    assert touched[-1].any()
    assert not touched[: grey.shape[0] // 2].any()


def test_untrained_weights_are_a_banner_across_the_top(
    grey: np.ndarray, make_view: MakeView, make_boxes: MakeBoxes, painted: Painted
) -> None:
    picture = draw_overlay(grey, make_view(), make_boxes(), caption="untrained weights: boxes mean nothing\nframe 3")
    assert (np.abs(picture[1].astype(int) - WARNING) <= 30).all()
    assert changed(grey, picture)[-2].any()  # the other line stays at the bottom


def test_dashes_cover_half_of_a_line() -> None:
    parts = dashes(np.array([[0.0, 0.0], [30.0, 0.0], [30.0, 70.0]]), 5.0)
    assert len(parts) == 10
    assert sum(np.linalg.norm(np.diff(part, axis=0), axis=1).sum() for part in parts) == pytest.approx(50.0)
