"""Rotations, transforms and boxes keep the properties that the rest relies on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lift3d_ros.geometry.boxes import (
    bev_corners,
    bev_iou,
    centers_in_footprints,
    corners,
    footprints_meet,
    points_in_boxes,
    transform_boxes,
)
from lift3d_ros.geometry.rigid import interpolate, invert, make_transform, transform_points
from lift3d_ros.geometry.rotations import (
    matrix_to_quaternion,
    quaternion_to_matrix,
    rpy_matrix,
    slerp,
    wrap_angle,
    yaw_matrix,
    yaw_of,
)
from lift3d_ros.types import Boxes3D

coordinate = st.floats(-50, 50)
angle = st.floats(-10, 10)
quaternion = arrays(np.float64, 4, elements=st.floats(-1, 1)).filter(lambda q: np.linalg.norm(q) > 0.1)


def box(x: float, y: float, yaw: float, length: float = 4.0, width: float = 2.0) -> Boxes3D:
    return Boxes3D(
        "base_link", ("car",), np.array([[x, y, 1.0]]), np.array([[length, width, 1.5]]), np.array([yaw]),
        np.array([[1.0, 0.0]]), np.ones(1), np.zeros(1, int),
    )  # fmt: skip


@given(quaternion)
def test_quaternion_and_matrix_are_inverse_to_each_other(q: np.ndarray) -> None:
    rotation = quaternion_to_matrix(q)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(quaternion_to_matrix(matrix_to_quaternion(rotation)), rotation, atol=1e-9)


def test_a_zero_quaternion_is_refused() -> None:
    with pytest.raises(ValueError, match="not all zero"):
        quaternion_to_matrix([0, 0, 0, 0])


@given(quaternion, arrays(np.float64, 3, elements=coordinate))
def test_a_transform_times_its_inverse_is_identity(q: np.ndarray, translation: np.ndarray) -> None:
    T = make_transform(quaternion_to_matrix(q), translation)
    np.testing.assert_allclose(T @ invert(T), np.eye(4), atol=1e-9)


@given(quaternion, quaternion, st.floats(0, 1))
def test_interpolation_meets_both_ends_and_stays_rigid(q0: np.ndarray, q1: np.ndarray, fraction: float) -> None:
    T0, T1 = make_transform(quaternion_to_matrix(q0), [0, 0, 0]), make_transform(quaternion_to_matrix(q1), [1, 2, 3])
    np.testing.assert_array_equal(interpolate(T0, T1, 0.0), T0)
    np.testing.assert_array_equal(interpolate(T0, T1, 1.0), T1)
    between = interpolate(T0, T1, fraction)
    np.testing.assert_allclose(between[:3, :3] @ between[:3, :3].T, np.eye(3), atol=1e-9)


def test_slerp_turns_at_constant_rate_along_the_shorter_arc() -> None:
    q0, q1 = matrix_to_quaternion(yaw_matrix(3.0)), matrix_to_quaternion(yaw_matrix(-3.0))
    turned = yaw_of(quaternion_to_matrix(slerp(q0, q1, 0.25)))
    assert turned == pytest.approx(3.0 + 0.25 * (2 * np.pi - 6.0))
    np.testing.assert_allclose(slerp(q0, -q0, 0.3), q0, atol=1e-12)


@given(angle)
def test_wrapped_angles_are_equal_turns_within_one_circle(value: float) -> None:
    wrapped = float(wrap_angle(value))
    assert -np.pi <= wrapped < np.pi
    assert np.cos(wrapped) == pytest.approx(np.cos(value), abs=1e-9)
    assert np.sin(wrapped) == pytest.approx(np.sin(value), abs=1e-9)


def test_roll_pitch_yaw_turn_in_the_order_of_urdf() -> None:
    np.testing.assert_allclose(rpy_matrix(0, 0, np.pi / 2) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(rpy_matrix(0, np.pi / 2, 0) @ [1, 0, 0], [0, 0, -1], atol=1e-12)
    np.testing.assert_allclose(rpy_matrix(np.pi / 2, 0, np.pi / 2) @ [0, 1, 0], [0, 0, 1], atol=1e-12)


def test_corners_start_front_left_at_the_bottom() -> None:
    found = corners(box(10.0, 5.0, np.pi / 2))[0]
    np.testing.assert_allclose(found[0], [9.0, 7.0, 0.25], atol=1e-12)
    np.testing.assert_allclose(found[6], [11.0, 3.0, 1.75], atol=1e-12)


@given(coordinate, coordinate, angle, st.floats(0.5, 10), st.floats(0.5, 10))
def test_overlap_is_one_with_itself_and_symmetric(x: float, y: float, yaw: float, length: float, width: float) -> None:
    first, second = box(x, y, yaw, length, width), box(x + 1, y - 0.5, yaw + 0.7, width, length)
    assert bev_iou(first, first)[0, 0] == pytest.approx(1.0, abs=1e-6)
    forward, backward = bev_iou(first, second)[0, 0], bev_iou(second, first)[0, 0]
    assert forward == pytest.approx(backward, abs=1e-9)
    assert 0.0 <= forward <= 1.0


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        pytest.param(box(2, 0, 0), 1 / 3, id="shifted by half a length"),
        pytest.param(box(0, 0, np.pi / 2), 4 / 12, id="crossed"),
        pytest.param(box(0, 0, np.pi), 1.0, id="turned round"),
        pytest.param(box(9, 0, 0), 0.0, id="apart"),
        pytest.param(box(0, 0, 0, 2.0, 1.0), 0.25, id="inside"),
    ],
)
def test_overlap_of_known_pairs(second: Boxes3D, expected: float) -> None:
    assert bev_iou(box(0, 0, 0), second)[0, 0] == pytest.approx(expected)


def test_footprints_meet_where_they_overlap_and_centres_lie_in_them_where_points_do() -> None:
    random = np.random.default_rng(3)
    count = 60
    boxes = Boxes3D(
        "base_link",
        ("car",),
        centers=np.column_stack([random.uniform(-8, 8, (count, 2)), np.ones(count)]),
        sizes=random.uniform(0.3, 6.0, (count, 3)),
        yaws=random.uniform(-np.pi, np.pi, count),
        velocities=np.zeros((count, 2)),
        scores=np.ones(count),
        labels=np.zeros(count, dtype=np.int64),
    )
    first, second = boxes.select(np.arange(count) < 20), boxes.select(np.arange(count) >= 20)
    meet = footprints_meet(first, second)
    np.testing.assert_array_equal(meet, bev_iou(first, second) > 0)
    np.testing.assert_array_equal(meet.T, footprints_meet(second, first))
    np.testing.assert_array_equal(centers_in_footprints(first, second), points_in_boxes(first.centers, second))
    assert 0.05 < meet.mean() < 0.95


@given(coordinate, coordinate, angle, st.floats(-0.999, 0.999), st.floats(-0.999, 0.999))
def test_points_built_inside_a_box_are_found_inside(x: float, y: float, yaw: float, u: float, v: float) -> None:
    boxes = box(x, y, yaw)
    offset = yaw_matrix(yaw) @ [2.0 * u, 1.0 * v, 0.7]
    point = boxes.centers + offset
    assert points_in_boxes(point, boxes)[0, 0]
    outside = boxes.centers + yaw_matrix(yaw) @ [2.01, 0.0, 0.0]
    assert not points_in_boxes(outside, boxes)[0, 0]


@given(coordinate, coordinate, angle, angle)
def test_boxes_move_with_their_frame(x: float, y: float, yaw: float, turn: float) -> None:
    T = make_transform(yaw_matrix(turn), [x, y, 0.5])
    boxes = box(3.0, -2.0, yaw)
    moved = transform_boxes(T, boxes, "odom")
    expected = transform_points(T, corners(boxes)[0])
    np.testing.assert_allclose(corners(moved)[0], expected, atol=1e-9)
    np.testing.assert_allclose(moved.velocities[0], (yaw_matrix(turn) @ [1.0, 0, 0])[:2], atol=1e-12)
    assert moved.frame_id == "odom"


def test_empty_sets_of_boxes_pass_through() -> None:
    empty = Boxes3D.empty("base_link", ("car",))
    assert bev_corners(empty).shape == (0, 4, 2)
    assert bev_iou(empty, box(0, 0, 0)).shape == (0, 1)
    assert footprints_meet(empty, box(0, 0, 0)).shape == centers_in_footprints(empty, box(0, 0, 0)).shape == (0, 1)
    assert points_in_boxes(np.zeros((3, 3)), empty).shape == (3, 0)
    assert len(transform_boxes(np.eye(4), empty, "odom")) == 0
