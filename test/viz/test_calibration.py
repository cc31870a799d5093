"""The horizon and the distance rings of the calibration picture lie where geometry puts them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lift3d_ros.types import CameraView
from lift3d_ros.viz.calibration import _HORIZON, _RING, _X_AXIS, _Y_AXIS, _caption, draw_calibration

MakeView = Callable[..., CameraView]
HEIGHT = 1.5


Painted = Callable[..., np.ndarray]


@pytest.mark.parametrize("pitch_down", [0.0, 0.1, -0.15])
def test_the_horizon_follows_the_pitch(
    pitch_down: float, grey: np.ndarray, make_view: MakeView, painted: Painted
) -> None:
    view = make_view(pitch_down=pitch_down)
    picture = draw_calibration(grey, view)
    expected = view.model.intrinsics[1, 2] - 400.0 * np.tan(pitch_down)  # a level camera: the row of cy
    for column in (20, 600):  # the label is in the middle
        assert np.flatnonzero(painted(picture[:, column], _HORIZON)).mean() == pytest.approx(expected, abs=1.0)


def test_rings_lie_at_their_distance(grey: np.ndarray, make_view: MakeView, painted: Painted) -> None:
    view = make_view()
    rows = np.flatnonzero(painted(draw_calibration(grey, view)[:, 400], _RING))
    ray_length = np.hypot(1.0, (400 - view.model.intrinsics[0, 2]) / 400.0)
    for distance in (5.0, 10.0, 20.0):
        expected = view.model.intrinsics[1, 2] + 400.0 * HEIGHT * ray_length / distance
        assert np.abs(rows - expected).min() < 1.5


def test_the_red_axis_points_forward_and_the_green_one_left(
    grey: np.ndarray, make_view: MakeView, painted: Painted
) -> None:
    view = make_view()
    picture = draw_calibration(grey, view)
    red = np.argwhere(painted(picture, _X_AXIS))
    assert np.median(red[:, 1]) == pytest.approx(view.model.intrinsics[0, 2], abs=1.5)
    left = draw_calibration(grey, make_view(yaw=np.pi / 2))
    green = np.argwhere(painted(left, _Y_AXIS))
    assert np.median(green[:, 1]) == pytest.approx(view.model.intrinsics[0, 2], abs=1.5)


def test_a_fisheye_bends_the_horizon_only_off_its_axis(grey: np.ndarray, make_view: MakeView, painted: Painted) -> None:
    def heights(pitch_down: float) -> list[float]:
        view = make_view("equidistant", [0.0, 0.0, 0.0, 0.0], focal=210.0, pitch_down=pitch_down)
        picture = draw_calibration(grey, view)
        return [float(np.flatnonzero(painted(picture[:, column], _HORIZON)).mean()) for column in (10, 500, 630)]

    assert heights(0.0) == pytest.approx([179.5] * 3, abs=1.0)
    left, inner, right = heights(0.5)
    assert left == pytest.approx(right, abs=2.0)
    assert left > inner + 5


@pytest.mark.parametrize("pitch_down", [-np.pi / 2 + 0.1, np.pi / 2])
def test_a_camera_without_a_horizon_is_drawn_all_the_same(
    pitch_down: float, grey: np.ndarray, make_view: MakeView, painted: Painted
) -> None:
    before = grey.copy()
    picture = draw_calibration(grey, make_view(pitch_down=pitch_down))
    assert not painted(picture, _HORIZON).any()
    np.testing.assert_array_equal(grey, before)


def test_the_caption_says_how_the_camera_looks(make_view: MakeView) -> None:
    text = _caption(make_view(yaw=np.radians(55), pitch_down=np.radians(3)))
    assert text.startswith("front: 55.0 deg left of forward, 3.0 deg down, roll 0.0 deg, 1.50 m above")
