"""Cameras from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lift3d_ros.errors import CalibrationError, ConfigError
from lift3d_ros.geometry.camera_file import load_camera

CALIBRATOR = """\
image_width: 640
image_height: 480
camera_name: head
camera_matrix: {rows: 3, cols: 3, data: [500, 0, 320, 0, 510, 240, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.1, 0.01, 0, 0, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
"""
RIG = """\
cameras:
  front: {calibration: {width: 640, height: 480, fx: 500, fy: 500, cx: 320, cy: 240}}
  back: {calibration: {width: 640, height: 480, fx: 400, fy: 400, cx: 320, cy: 240}}
  blind: {topic: /x}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "camera.yaml"
    path.write_text(text)
    return path


def test_what_the_calibrator_writes_is_read(tmp_path: Path) -> None:
    camera = load_camera(written(tmp_path, CALIBRATOR))
    assert (camera.name, camera.width, camera.height, camera.distortion_model) == ("head", 640, 480, "plumb_bob")
    np.testing.assert_array_equal(np.diag(camera.intrinsics), [500, 510, 1])
    assert camera.is_distorted


def test_a_camera_of_a_rig_file_is_read_by_its_name(tmp_path: Path) -> None:
    path = written(tmp_path, RIG)
    assert load_camera(path, "back").intrinsics[0, 0] == 400
    with pytest.raises(ConfigError, match="has 3 cameras; name one of front, back, blind"):
        load_camera(path)
    with pytest.raises(ConfigError, match="no camera 'frunt'; did you mean 'front'"):
        load_camera(path, "frunt")
    with pytest.raises(CalibrationError, match=r"'cameras\.blind' has no calibration"):
        load_camera(path, "blind")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("data: [500, 0, 320, 0, 510, 240, 0, 0, 1]", "data: [500, 0, 320]", r"'camera_matrix\.data'"),
        ("camera_matrix", "matrix", r"'camera_matrix\.data' is missing"),
        ("image_width: 640", "image_width: wide", "image_width and image_height"),
        ("plumb_bob", "strange", "distortion model 'strange' is not known"),
        ("[500, 0", "[-500, 0", "focal length"),
    ],
)
def test_damaged_calibrations_are_refused_with_file_and_entry(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = written(tmp_path, CALIBRATOR.replace(old, new))
    with pytest.raises((ConfigError, CalibrationError), match=words) as caught:
        load_camera(path)
    assert str(path) in str(caught.value)
