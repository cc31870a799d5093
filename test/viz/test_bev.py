"""The bird's-eye picture: forward is up, left is left, and headings and motion point the right way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from lift3d_ros.types import Boxes3D, CameraView
from lift3d_ros.viz.bev import draw_bev
from lift3d_ros.viz.palette import GROUND_TRUTH, WARNING, class_color

MakeView = Callable[..., CameraView]
MakeBoxes = Callable[..., Boxes3D]
MIDDLE = 200 - 0.5


def draw(boxes: Boxes3D, ground_truth: Boxes3D | None = None, range_m: float = 50.0) -> np.ndarray:
    return draw_bev(boxes, ground_truth, range_m=range_m, size_px=400)


def drawn_pixels(boxes: Boxes3D, ground_truth: Boxes3D | None = None, range_m: float = 50.0) -> np.ndarray:
    """Return (row, column) of what the boxes change in the picture, without the legend in the lower right corner."""
    without = draw(Boxes3D.empty(boxes.frame_id, boxes.class_names), range_m=range_m)
    found = np.argwhere((draw(boxes, ground_truth, range_m) != without).any(axis=2))
    return found[(found[:, 0] < 330) | (found[:, 1] < 270)]


@pytest.mark.parametrize(
    ("place", "expected"),
    [((20.0, 0.0), (-80, 0)), ((-20.0, 0.0), (80, 0)), ((0.0, 20.0), (0, -80)), ((0.0, -20.0), (0, 80))],
    ids=["ahead is above", "behind is below", "left is left", "right is right"],
)
def test_a_box_lies_on_its_side_of_the_vehicle(
    place: tuple[float, float], expected: tuple[int, int], make_boxes: MakeBoxes
) -> None:
    rows, columns = drawn_pixels(make_boxes(place)).T  # 4 px for each metre
    center = ((rows.min() + rows.max()) / 2 - MIDDLE, (columns.min() + columns.max()) / 2 - MIDDLE)
    assert center == pytest.approx(expected, abs=2)


@pytest.mark.parametrize("yaw", [0.0, np.pi / 2, np.pi, -2.0])
def test_the_thick_edge_is_at_the_heading_end(
    yaw: float, make_boxes: MakeBoxes, painted: Callable[..., np.ndarray]
) -> None:
    boxes = make_boxes((5.0, 3.0), yaw=yaw)
    strong = np.argwhere(painted(draw(boxes, range_m=10.0), class_color("car"), (23, 27, 32)))  # 20 px for each metre
    metres = (MIDDLE - strong) / 20 - [5.0, 3.0]
    ahead = metres @ [np.cos(yaw), np.sin(yaw)]
    ahead = ahead[np.linalg.norm(metres, axis=1) < 2.5]
    assert (ahead > 1.7).sum() > 1.5 * (ahead < -1.7).sum() > 0


def test_arrows_end_where_the_box_will_be_in_one_second(make_boxes: MakeBoxes) -> None:
    still = drawn_pixels(make_boxes((0.0, 10.0)))  # its velocity is not known
    moving = drawn_pixels(make_boxes((0.0, 10.0), velocity=(20.0, 0.0)))
    assert still[:, 0].min() == pytest.approx(MIDDLE - 2 * 4, abs=3)
    assert moving[:, 0].min() == pytest.approx(MIDDLE - 20 * 4, abs=3)
    assert moving[:, 0].max() == still[:, 0].max()


def test_ground_truth_is_dashed(make_boxes: MakeBoxes, painted: Callable[..., np.ndarray]) -> None:
    boxes = make_boxes((5.0, 3.0))
    edge = MIDDLE - 4.0 * 20  # the right side of the box, in columns; 20 px for each metre

    def share(picture: np.ndarray, color: tuple[int, int, int]) -> float:
        side = picture[round(MIDDLE - 6.5 * 20) : round(MIDDLE - 3.5 * 20), int(edge) - 1 : int(edge) + 3]
        return float(painted(side, color, (23, 27, 32)).any(axis=1).mean())

    assert 0.3 < share(draw(make_boxes(), boxes, range_m=10.0), GROUND_TRUTH) < 0.8
    assert share(draw(boxes, range_m=10.0), class_color("car")) == 1.0


def test_nothing_to_draw_and_boxes_far_outside(make_boxes: MakeBoxes) -> None:
    empty = draw(make_boxes())
    assert empty.shape == (400, 400, 3)
    np.testing.assert_array_equal(draw(make_boxes((1e9, -1e9))), empty)


def test_small_boxes_stay_visible(make_boxes: MakeBoxes) -> None:
    assert len(drawn_pixels(make_boxes((800.0, 500.0)), range_m=2000.0)) >= 4


def test_fields_of_view_are_tinted_where_the_camera_looks(make_view: MakeView, make_boxes: MakeBoxes) -> None:
    bare = draw(make_boxes())
    tinted = draw_bev(make_boxes(), range_m=50.0, size_px=400, views={"left": make_view(yaw=np.pi / 2)})
    changed = np.argwhere((bare != tinted).any(axis=2))
    assert changed[:, 1].max() < MIDDLE + 3
    assert np.median(changed[:, 0]) == pytest.approx(MIDDLE, abs=3)


def test_untrained_weights_are_a_banner(make_boxes: MakeBoxes) -> None:
    picture = draw_bev(make_boxes(), size_px=400, caption="untrained weights: boxes mean nothing")
    assert (np.abs(picture[1].astype(int) - WARNING) <= 30).all()


def test_the_way_of_a_track_is_drawn_in_the_colour_of_its_class(
    make_boxes: MakeBoxes, painted: Callable[..., np.ndarray]
) -> None:
    boxes = dataclasses.replace(make_boxes((20.0, 0.0)), track_ids=np.array([5]))
    way = {5: np.array([[-20.0, 10.0, 0.0], [0.0, 10.0, 0.0]]), 6: np.array([[-20.0, -10.0], [0.0, -10.0]])}
    with_way = draw_bev(boxes, range_m=50.0, size_px=400, trails=way)
    found = np.argwhere(painted(with_way, class_color("car"), (23, 27, 32)))
    metres = (MIDDLE - found) / 4  # 4 px for each metre
    on_way = (np.abs(metres[:, 1] - 10.0) < 0.5) & (metres[:, 0] > -20.5) & (metres[:, 0] < 0.5)
    assert on_way.sum() >= 75
    assert not (np.abs(metres[:, 1] + 10.0) < 0.5).any()  # of a track that is not there
