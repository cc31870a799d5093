"""Rig files say what is wrong in them, and mean what the documentation says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lift3d_ros.errors import CalibrationError, ConfigError
from lift3d_ros.geometry.rig import load_rig

GOOD = """
base_frame: base_link
cameras:
  left:
    topic: /left/image
    calibration: {width: 800, height: 450, fx: 620, fy: 620, cx: 400, cy: 225}
    mounting: {position: [1.0, 0.5, 1.5], rpy_deg: [0, 0, 90]}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "rig.yaml"
    path.write_text(text)
    return path


def test_yaw_90_looks_left(tmp_path: Path) -> None:
    camera = load_rig(write(tmp_path, GOOD)).cameras["left"]
    assert camera.T_base_cam is not None
    np.testing.assert_allclose(camera.T_base_cam @ [0, 0, 10, 1], [1.0, 10.5, 1.5, 1], atol=1e-9)
    np.testing.assert_allclose(camera.T_base_cam @ [0, 1, 0, 1], [1.0, 0.5, 0.5, 1], atol=1e-9)
    model = camera.model("left")
    assert model is not None
    assert model.frame_id == "left_optical_frame"


def test_a_partial_rig_leaves_the_rest_open(tmp_path: Path) -> None:
    camera = load_rig(write(tmp_path, "cameras: {front: {topic: /front/image}}")).cameras["front"]
    assert camera.model("front") is None
    assert camera.T_base_cam is None


@pytest.mark.parametrize(
    ("old", "new", "error", "expected"),
    [
        pytest.param("mounting", "mountin", ConfigError, "mountin'; did you mean 'mounting'", id="typing error"),
        pytest.param("fx: 620", "fx: 0", CalibrationError, "camera 'left': focal length is fx=0", id="zero focal"),
        pytest.param("width: 800", "width: 0", ConfigError, "width' is 0; expected 1", id="zero width"),
        pytest.param("[1.0, 0.5, 1.5]", "[1.0, 0.5]", ConfigError, "list of 3 values, got 2", id="short position"),
        pytest.param("rpy_deg: [0, 0, 90]", "quaternion: [0, 0, 0, 0]", ConfigError, "not all zero", id="quaternion"),
        pytest.param("rpy_deg:", "quaternion: [0, 0, 0, 1], rpy_deg:", ConfigError, "keep one", id="two rotations"),
        pytest.param(
            "topic:", "own_vehicle: [[]]\n    topic:", ConfigError, "of 0 corners; expected at least 3", id="polygon"
        ),
        pytest.param("fy: 620", "fy: wide", ConfigError, "'cameras.left.calibration.fy' must be a number", id="text"),
    ],
)
def test_mistakes_name_file_and_field(
    tmp_path: Path, old: str, new: str, error: type[Exception], expected: str
) -> None:
    with pytest.raises(error, match=rf"rig\.yaml.*{expected}"):
        load_rig(write(tmp_path, GOOD.replace(old, new)))


def test_a_rig_without_cameras_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'cameras' is empty"):
        load_rig(write(tmp_path, "base_frame: base_link"))


def test_the_shipped_rigs_load(repository: Path) -> None:
    paths = sorted((repository / "config" / "rigs").glob("*.yaml"))
    assert paths
    for path in paths:
        for name, camera in load_rig(path).cameras.items():
            assert camera.model(name) is not None
            assert camera.T_base_cam is not None
