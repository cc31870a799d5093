"""A mesh made from a part of a picture gets its pose and size, exact where the part is what the model assumes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lift3d_ros.geometry.camera import project
from lift3d_ros.geometry.depth_buffer import draw_depth, visible_vertices
from lift3d_ros.geometry.object_pose import (
    ObjectPose,
    PictureFit,
    PictureSquare,
    fit_to_picture,
    pose_from_box,
    pose_from_depth,
)
from lift3d_ros.geometry.rigid import invert, make_transform, transform_points
from lift3d_ros.geometry.rotations import yaw_matrix
from lift3d_ros.models.lrm.cameras import look_at_origin
from lift3d_ros.types import Boxes3D, CameraModel

FOCAL, DISTANCE = 0.75, 2.0
VIEW_K = np.array([[FOCAL, 0.0, 0.5], [0.0, FOCAL, 0.5], [0.0, 0.0, 1.0]])
T_OBJECT_VIEW = look_at_origin((0.0, -DISTANCE, 0.0))
METRES = 0.31


def block() -> tuple[Any, Any]:
    """A block of 0.8 x 1.0 x 0.6 with many vertices on each side."""
    steps = np.linspace(-1.0, 1.0, 9)
    first, second = (values.ravel() for values in np.meshgrid(steps, steps))
    number = np.arange(81).reshape(9, 9)
    corners = number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]
    a, b, c, d = (corner.ravel() for corner in corners)
    faces = np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])])
    vertices, parts = [], []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            side = np.empty((81, 3))
            side[:, axis], side[:, (axis + 1) % 3], side[:, (axis + 2) % 3] = sign, first, second
            parts.append((faces if sign > 0 else faces[:, ::-1]) + 81 * len(vertices))
            vertices.append(side)
    return np.concatenate(vertices) * [0.4, 0.5, 0.3], np.concatenate(parts)


VERTICES, FACES = block()
IS_SEEN = visible_vertices(transform_points(invert(T_OBJECT_VIEW), VERTICES), FACES, VIEW_K)


def camera(focal_px: float, center: tuple[float, float] = (319.5, 239.5)) -> CameraModel:
    K = np.array([[focal_px, 0.0, center[0]], [0.0, focal_px, center[1]], [0.0, 0.0, 1.0]])
    return CameraModel("front", "front_optical_frame", 640, 480, K)


def seen_square(model: CameraModel, side: float) -> PictureSquare:
    """What lies about the optical axis."""
    K = model.intrinsics
    return PictureSquare(K[0, 2] - side / 2, K[1, 2] - side / 2, side)


def depth_of(T_cam_object: Any, scale: float, model: CameraModel, size: tuple[int, int] = (480, 640)) -> Any:
    points = transform_points(T_cam_object, scale * VERTICES)
    normalised = np.diag([1.0 / model.width, 1.0 / model.height, 1.0]) @ (
        model.intrinsics + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    )
    depth = draw_depth(points, FACES, normalised, size).depth
    return np.where(np.isfinite(depth), depth, 0.0).astype(np.float32)


def true_pose(scale: float = METRES) -> Any:
    T_view_object = invert(T_OBJECT_VIEW)
    return make_transform(T_view_object[:3, :3], scale * T_view_object[:3, 3])


def fitted(model: CameraModel, square: PictureSquare) -> PictureFit:
    fit = fit_to_picture(VERTICES, IS_SEEN, T_OBJECT_VIEW, VIEW_K, square, model)
    assert fit is not None
    return fit


def one_box(size: Any, yaw: float = 0.0) -> Boxes3D:
    return Boxes3D("base_link", ("thing",), [[3, 1, 0]], [size], [yaw], [[0, 0]], [1.0], [0])  # type: ignore[arg-type]


def test_pose_and_metres_are_exact_where_the_camera_is_as_the_model_assumes() -> None:
    model = camera(300.0)
    square = seen_square(model, 300.0 / FOCAL)
    fit = fitted(model, square)
    np.testing.assert_allclose(fit.T_cam_object, true_pose(1.0), atol=1e-6)
    assert fit.residual_px < 1e-4
    pose = pose_from_depth(fit, VERTICES, IS_SEEN, model, depth_of(true_pose(), METRES, model))
    assert pose is not None
    assert pose.scale_source == "depth"
    assert pose.scale == pytest.approx(METRES, rel=1e-3)
    np.testing.assert_allclose(pose.place(VERTICES), transform_points(true_pose(), METRES * VERTICES), atol=1e-3)
    assert pose.scale_std < 0.03


@pytest.mark.parametrize(("angle", "distance"), [(10.0, 2.0), (20.0, 6.0), (30.0, 12.0)])
def test_an_object_aside_of_the_axis_is_found_there_and_turned_towards_the_camera(
    angle: float, distance: float
) -> None:
    """The model sees a part of the picture as if it had been in the middle, which stretches it a little."""
    turn, model = yaw_like_turn(angle), camera(600.0)
    T_cam_object = make_transform(turn @ invert(T_OBJECT_VIEW)[:3, :3], distance * turn[:, 2])
    pixels, _ = project(model, transform_points(T_cam_object, VERTICES[IS_SEEN]))
    fit = fitted(model, framed_square(pixels))
    found = fit.T_cam_object
    direction = found[:3, 3] / np.linalg.norm(found[:3, 3])
    assert np.rad2deg(np.arccos(min(1.0, direction @ turn[:, 2]))) < 0.6
    assert np.linalg.norm(found[:3, 3]) == pytest.approx(distance, rel=0.06)
    assert np.trace(found[:3, :3] @ T_cam_object[:3, :3].T) > 1.0 + 2.0 * np.cos(np.deg2rad(1.0))


def framed_square(pixels: Any) -> PictureSquare:
    """Frame the object as large and in the same place as the assumed camera sees it."""
    in_view = transform_points(invert(T_OBJECT_VIEW), VERTICES[IS_SEEN])
    places = in_view[:, :2] / in_view[:, 2:] * FOCAL + 0.5
    side = np.ptp(pixels, axis=0).max() / np.ptp(places, axis=0).max()
    left, top = 0.5 * (pixels.min(axis=0) + pixels.max(axis=0) - side * (places.min(axis=0) + places.max(axis=0)))
    return PictureSquare(left, top, side)


def yaw_like_turn(degrees: float) -> Any:
    """About the optical y axis, to the right."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


@pytest.mark.parametrize("magnification", [0.6, 2.0, 5.0])
def test_a_lens_of_another_length_gives_the_object_its_distance(magnification: float) -> None:
    model = camera(300.0 * magnification)
    fit = fitted(model, seen_square(model, 300.0 / FOCAL))
    distance = float(np.linalg.norm(fit.T_cam_object[:3, 3]))
    # The front of the block has its size in the picture, so roughly the middle does.
    assert distance == pytest.approx(DISTANCE * magnification, rel=0.35)
    scale = 0.2
    placed = make_transform(fit.T_cam_object[:3, :3], scale * fit.T_cam_object[:3, 3])
    pose = pose_from_depth(fit, VERTICES, IS_SEEN, model, depth_of(placed, scale, model))
    assert pose is not None
    assert pose.scale == pytest.approx(scale, rel=2e-3)


def test_something_in_front_of_less_than_half_of_it_changes_nothing() -> None:
    model = camera(300.0)
    depth = depth_of(true_pose(), METRES, model)
    depth[:, :290] = 0.1
    pose = pose_from_depth(fitted(model, seen_square(model, 400.0)), VERTICES, IS_SEEN, model, depth)
    assert pose is not None
    assert pose.scale == pytest.approx(METRES, rel=0.02)


def test_a_smaller_depth_picture_of_the_same_camera_will_do() -> None:
    model = camera(300.0)
    depth = depth_of(true_pose(), METRES, model, (240, 320))
    pose = pose_from_depth(fitted(model, seen_square(model, 400.0)), VERTICES, IS_SEEN, model, depth)
    assert pose is not None
    assert pose.scale == pytest.approx(METRES, rel=0.01)


def test_without_measured_depth_there_is_no_size() -> None:
    model = camera(300.0)
    nothing = np.zeros((480, 640), np.float32)
    assert pose_from_depth(fitted(model, seen_square(model, 400.0)), VERTICES, IS_SEEN, model, nothing) is None


def test_a_mesh_that_is_hardly_seen_has_no_pose() -> None:
    hidden = np.zeros(len(VERTICES), bool)
    hidden[:3] = True
    model = camera(300.0)
    assert fit_to_picture(VERTICES, hidden, T_OBJECT_VIEW, VIEW_K, seen_square(model, 400.0), model) is None


def test_a_box_gives_the_size_along_its_own_axes() -> None:
    yaw = 0.7
    # The base frame is turned against the object by the yaw of the box, and the box has the block's true size.
    T_cam_object = true_pose(1.0)
    T_cam_base = T_cam_object @ make_transform(yaw_matrix(-yaw), np.zeros(3))
    fit = PictureFit(T_cam_object, 0.0)
    pose = pose_from_box(fit, VERTICES, one_box(METRES * np.array([0.8, 1.0, 0.6]), yaw), T_cam_base)
    assert pose is not None
    assert pose.scale_source == "box"
    assert pose.scale == pytest.approx(METRES, rel=1e-9)
    np.testing.assert_allclose(pose.place(VERTICES), transform_points(true_pose(), METRES * VERTICES), atol=1e-9)
    assert pose.scale_std == pytest.approx(0.05)
    crooked = pose_from_box(fit, VERTICES, one_box(METRES * np.array([1.6, 1.0, 0.6]), yaw), T_cam_base)
    assert crooked is not None
    assert crooked.scale_std > 0.2


def test_a_box_or_mesh_without_a_size_gives_no_pose() -> None:
    fit = PictureFit(true_pose(1.0), 0.0)
    assert pose_from_box(fit, VERTICES, one_box((0.0, 1.0, 1.0)), np.eye(4)) is None
    assert pose_from_box(fit, np.zeros((0, 3)), one_box((1.0, 1.0, 1.0)), np.eye(4)) is None
    with pytest.raises(ValueError, match="0 boxes"):
        pose_from_box(fit, VERTICES, one_box((1.0, 1.0, 1.0)).select(np.array([], np.int64)), np.eye(4))


def test_a_pose_places_vertices_in_metres() -> None:
    pose = ObjectPose(make_transform(np.eye(3), [0.0, 0.0, 4.0]), 2.0, "depth", 0.02, 0.5)
    np.testing.assert_allclose(pose.place(np.array([[1.0, 0.0, 0.5]])), [[2.0, 0.0, 5.0]])
