"""The nouns check themselves on construction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lift3d_ros.errors import CalibrationError, Lift3dError
from lift3d_ros.types import Boxes3D, CameraImage, CameraModel, CameraView, EgoMotion, FrameSet, as_transform

INTRINSICS = np.array([[100.0, 0, 50], [0, 100, 40], [0, 0, 1]])


def camera(**changes: Any) -> CameraModel:
    fields: dict[str, Any] = {
        "name": "front", "frame_id": "front_optical", "width": 100, "height": 80, "intrinsics": INTRINSICS,
    }  # fmt: skip
    return CameraModel(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"intrinsics": np.zeros((3, 3))}, "focal length is fx=0, fy=0.*calibrate", id="zero focal length"),
        pytest.param({"width": 0}, "image size is 0x80", id="zero width"),
        pytest.param({"intrinsics": np.eye(4)}, "finite 3x3", id="wrong shape"),
        pytest.param({"intrinsics": np.diag([90.0, 90.0, 0.0])}, r"\[0.0, 0.0, 0.0\]; expected", id="no last row"),
        pytest.param(
            {"intrinsics": np.array([[90.0, 0, 0], [0, 90.0, 0], [40.0, 30.0, 1]])}, "not transposed", id="transposed"
        ),
        pytest.param({"distortion_model": "fisheye8"}, "'fisheye8' is not known; known: none, plumb_bob", id="model"),
        pytest.param(
            {"distortion_model": "plumb_bob", "distortion": np.zeros(3)}, "4 or 5 coefficients, got 3", id="n"
        ),
    ],
)
def test_a_bad_calibration_names_camera_and_remedy(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(CalibrationError, match=f"camera 'front': .*{expected}"):
        camera(**changes)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        pytest.param(np.eye(3), "4x4", id="shape"),
        pytest.param(np.diag([1, 1, -1, 1]), "not a rigid transform", id="mirrored"),
        pytest.param(
            np.eye(4) + np.diag([1.5], -3), r"expected \[0, 0, 0, 1\]. Is the matrix transposed\?", id="transposed"
        ),
        pytest.param(2 * np.eye(4), "not a rigid transform", id="scaled"),
        pytest.param(np.full((4, 4), np.nan), "not finite", id="nan"),
    ],
)
def test_only_rigid_transforms_are_accepted(matrix: Any, expected: str) -> None:
    with pytest.raises(CalibrationError, match=expected):
        as_transform(matrix, "T_base_cam")


def test_a_view_projects_from_where_the_vehicle_was_at_capture() -> None:
    image = CameraImage("front", 0, "front_optical", "jpeg", np.zeros(0, np.uint8))
    T_reference_capture = np.eye(4)
    T_reference_capture[0, 3] = -2.0  # captured 2 m further back
    view = CameraView(image, camera(), np.eye(4), T_reference_capture)
    assert (view.T_cam_reference @ [5.0, 0, 0, 1])[0] == pytest.approx(7.0)


def test_a_frame_set_needs_a_camera() -> None:
    with pytest.raises(Lift3dError, match="no camera"):
        FrameSet(0, {})


def boxes(count: int = 3, **changes: Any) -> Boxes3D:
    fields: dict[str, Any] = {
        "frame_id": "base_link", "class_names": ("car", "bus"), "centers": np.arange(count * 3.0).reshape(count, 3),
        "sizes": np.ones((count, 3)), "yaws": np.zeros(count), "velocities": np.zeros((count, 2)),
        "scores": np.linspace(0, 1, count), "labels": np.zeros(count, int),
    }  # fmt: skip
    return Boxes3D(**{**fields, **changes})


def test_boxes_select_keeps_rows_together_and_data_is_read_only() -> None:
    chosen = boxes().select(np.array([2, 0]))
    assert chosen.centers[:, 0].tolist() == [6.0, 0.0]
    assert chosen.scores.tolist() == [1.0, 0.0]
    assert chosen.track_ids is not None
    assert chosen.track_ids.tolist() == [-1, -1]
    with pytest.raises(ValueError, match="read-only"):
        chosen.centers[0, 0] = 1.0
    assert len(Boxes3D.empty("base_link", ("car",))) == 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"sizes": np.ones((2, 3))}, r"sizes must have shape \(3, 3\), got \(2, 3\)", id="shape"),
        pytest.param({"labels": np.array([0, 1, 2])}, "index the 2 class names", id="label without a name"),
    ],
)
def test_boxes_with_wrong_arrays_are_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(Lift3dError, match=expected):
        boxes(**changes)


def test_an_ego_pose_that_is_no_pose_is_refused() -> None:
    with pytest.raises(CalibrationError, match="ego pose"):
        EgoMotion(0, np.zeros((4, 4)))


@pytest.mark.parametrize(
    ("source", "label"),
    [
        ("/front/image", "topic '/front/image'"),
        ("/data/front/1.png", "/data/front/1.png"),
        ("front/1.png", "front/1.png"),
        ("", "camera 'front'"),
    ],
)
def test_a_picture_is_called_by_its_topic_or_its_file(source: str, label: str) -> None:
    assert CameraImage("front", 0, "f", "jpeg", np.zeros(1, np.uint8), source=source).label == label
