"""Wireframes lie where the camera model puts the edges, and end at the borders and before the camera."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lift3d_ros.geometry.boxes import corners
from lift3d_ros.geometry.camera import largest_radius, project
from lift3d_ros.geometry.rigid import transform_points
from lift3d_ros.types import Boxes3D, CameraView
from lift3d_ros.viz.lines import NEAR_PLANE_M, visible_lines
from lift3d_ros.viz.wireframe import wireframes

MakeView = Callable[..., CameraView]
MakeBoxes = Callable[..., Boxes3D]

EDGES = [(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)]
LENSES = {
    "pinhole": ("none", [], 400.0),
    "plumb_bob": ("plumb_bob", [-0.28, 0.09, 0.0011, -0.0007, -0.012], 400.0),
    "rational": ("rational_polynomial", [0.3, -0.08, 0.0005, 0.0003, 0.004, 0.65, -0.05, 0.02], 400.0),
    "equidistant": ("equidistant", [-0.013, 0.02, -0.012, 0.003], 210.0),
}
# Ahead; cut by the right border; passing the camera at its left; around the camera.
PLACES = [(12.0, 0.0), (5.0, -4.0), (1.0, 2.2), (0.5, 0.4)]


def seen_points(view: CameraView, boxes: Boxes3D) -> np.ndarray:
    return np.concatenate([part for wireframe in wireframes(view, boxes) for part in wireframe.polylines])


def assert_inside(view: CameraView, pixels: np.ndarray) -> None:
    assert (pixels >= -0.5 - 1e-9).all()
    assert (pixels <= np.array([view.model.width, view.model.height]) - 0.5 + 1e-9).all()


def true_edges(view: CameraView, boxes: Boxes3D) -> np.ndarray:
    """Return pixels of dense points on all edges of the first box that lie clearly within the field of view."""
    ends = transform_points(view.T_cam_reference, corners(boxes)[0])[EDGES]
    fractions = np.linspace(0, 1, 4001)[None, :, None]
    points = (ends[:, :1] * (1 - fractions) + ends[:, 1:] * fractions).reshape(-1, 3)
    points = points[points[:, 2] > 0.21]
    pixels, is_valid = project(view.model, points)
    # Of a line that leaves the field in which the lens is one-to-one, the last piece is not drawn.
    is_valid &= np.linalg.norm(points[:, :2] / points[:, 2:], axis=1) < 0.9 * largest_radius(view.model)
    pixels = pixels[is_valid]
    last = np.array([view.model.width, view.model.height]) - 1
    return pixels[((pixels > 0) & (pixels < last)).all(axis=1)]


def distance_to_polylines(points: np.ndarray, polylines: list[np.ndarray]) -> np.ndarray:
    starts = np.concatenate([line[:-1] for line in polylines])
    ends = np.concatenate([line[1:] for line in polylines])
    along = ends - starts
    length2 = np.maximum((along**2).sum(axis=1), 1e-12)
    offsets = points[:, None] - starts
    fraction = np.clip((offsets * along).sum(axis=2) / length2, 0, 1)
    return np.linalg.norm(offsets - fraction[..., None] * along, axis=2).min(axis=1)


def test_a_box_ahead_shows_all_its_corners(make_view: MakeView, make_boxes: MakeBoxes) -> None:
    view, boxes = make_view(), make_boxes((12.0, 1.0), yaw=0.4)
    (wireframe,) = wireframes(view, boxes)
    expected, _ = project(view.model, transform_points(view.T_cam_reference, corners(boxes)[0]))
    np.testing.assert_allclose(np.array(wireframe.polylines), expected[EDGES])
    np.testing.assert_allclose(wireframe.front, expected[[0, 1, 5, 4]])
    assert wireframe.index == 0
    assert wireframe.depth == pytest.approx(12.0)
    assert wireframe.label_anchor[1] == pytest.approx(expected[:, 1].min())


def test_the_front_is_the_face_that_the_box_heads_with(make_view: MakeView, make_boxes: MakeBoxes) -> None:
    def front_width(yaw: float) -> float:
        return float(np.ptp(wireframes(make_view(), make_boxes((12.0, 0.0), yaw=yaw))[0].front[:, 0]))

    assert front_width(np.pi) == pytest.approx(400 * 2 / 10)  # towards the camera: the near face
    assert front_width(0.0) == pytest.approx(400 * 2 / 14)


def test_a_box_behind_or_beside_the_picture_is_not_seen(make_view: MakeView, make_boxes: MakeBoxes) -> None:
    assert wireframes(make_view(), make_boxes((-12.0, 0.0), (3.0, 30.0))) == ()
    assert len(wireframes(make_view(yaw=np.pi), make_boxes((-12.0, 0.0)))) == 1
    assert wireframes(make_view(), make_boxes()) == ()


def test_a_box_that_passes_the_camera_stays_on_its_side(make_view: MakeView, make_boxes: MakeBoxes) -> None:
    view = make_view()
    for side in (1.0, -1.0):
        points = seen_points(view, make_boxes((1.0, side * 2.2)))
        assert_inside(view, points)
        assert (side * points[:, 0] < side * view.model.intrinsics[0, 2]).all()


def test_lines_end_at_the_near_plane(make_view: MakeView) -> None:
    model = make_view().model
    starts = np.array([[0.02, 0.0, 0.1], [0.1, 0.0, 1.0]])
    ends = np.array([[-0.02, 0.0, 0.15], [0.1, 0.0, -1.0]])
    nearer, crossing = visible_lines(model, starts, ends)
    assert nearer == []
    np.testing.assert_allclose(crossing[0][-1], project(model, [[0.1, 0.0, NEAR_PLANE_M]])[0][0])


def test_a_box_at_the_border_is_cut_there(make_view: MakeView, make_boxes: MakeBoxes) -> None:
    view = make_view()
    (wireframe,) = wireframes(view, make_boxes((8.0, 6.0)))
    points = np.concatenate(wireframe.polylines)
    assert_inside(view, points)
    assert points[:, 0].min() == pytest.approx(-0.5)
    assert_inside(view, wireframe.front)
    assert_inside(view, wireframe.label_anchor)


@pytest.mark.parametrize("lens", LENSES)
@pytest.mark.parametrize("place", PLACES)
def test_lines_follow_the_lens(
    lens: str, place: tuple[float, float], make_view: MakeView, make_boxes: MakeBoxes
) -> None:
    model, distortion, focal = LENSES[lens]
    view, boxes = make_view(model, distortion, focal=focal), make_boxes(place, yaw=0.1)
    (wireframe,) = wireframes(view, boxes)
    assert_inside(view, np.concatenate(wireframe.polylines))
    assert_inside(view, wireframe.front)
    true = true_edges(view, boxes)[::7]
    assert len(true) > 100
    # Nothing is left out, and what is drawn is where it belongs.
    assert distance_to_polylines(true, list(wireframe.polylines)).max() < 0.5


def test_a_fisheye_sees_beside_itself(make_view: MakeView, make_boxes: MakeBoxes) -> None:
    """A box at 80 degrees to the left is seen at the place that the lens equation gives."""
    angle = np.radians(80)
    view = make_view("equidistant", [0.0, 0.0, 0.0, 0.0], focal=210.0)
    (wireframe,) = wireframes(view, make_boxes((20 * np.cos(angle), 20 * np.sin(angle)), yaw=angle))
    middle = np.concatenate(wireframe.polylines).mean(axis=0)
    assert middle[0] == pytest.approx(view.model.intrinsics[0, 2] - 210 * angle, abs=3)


def test_motion_between_capture_and_reference_moves_the_box(make_view: MakeView, make_boxes: MakeBoxes) -> None:
    moved = np.eye(4)
    moved[0, 3] = -2.0  # at capture the vehicle stood 2 m further back
    still, driving = make_view(), make_view(T_reference_capture=moved)
    assert wireframes(driving, make_boxes((12.0, 0.0)))[0].depth == pytest.approx(14.0)
    np.testing.assert_allclose(
        seen_points(driving, make_boxes((12.0, 0.0))), seen_points(still, make_boxes((14.0, 0.0)))
    )


def test_the_farthest_box_comes_first(make_view: MakeView, make_boxes: MakeBoxes) -> None:
    drawn = wireframes(make_view(), make_boxes((10.0, 0.0), (30.0, 0.0), (-5.0, 0.0), (20.0, 0.0)))
    assert [wireframe.index for wireframe in drawn] == [1, 3, 0]
