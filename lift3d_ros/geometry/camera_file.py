"""Intrinsics of one camera from a file: a rig file, or what the ROS camera calibrator writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from lift3d_ros.config import read_yaml_mapping
from lift3d_ros.errors import CalibrationError, ConfigError, nearest_name_hint
from lift3d_ros.geometry.rig import load_rig
from lift3d_ros.types import CameraModel, DistortionModel


def load_camera(path: Path, name: str = "") -> CameraModel:
    """Read the camera called `name` of a file; the name may be left out where there is only one.

    Args:
        path: rig file (``cameras: ...``), or calibration of one camera (``camera_matrix: ...``) as
            camera_calibration and camera_info_manager write it.

    Raises:
        ConfigError: the file is neither, or does not have such a camera.
        CalibrationError: unusable intrinsics.
    """
    content = read_yaml_mapping(path)
    if "cameras" not in content:
        return _read_calibration(content, path)
    cameras = load_rig(path).cameras
    if not name and len(cameras) == 1:
        name = next(iter(cameras))
    if name not in cameras:
        found = f"no camera '{name}'{nearest_name_hint(name, cameras)}" if name else f"{len(cameras)} cameras"
        raise ConfigError(
            f"{path}: has {found}; name one of {', '.join(cameras)}, as in {path.name}:{next(iter(cameras))}"
        )
    model = cameras[name].model(name)
    if model is None:
        raise CalibrationError(
            f"{path}: 'cameras.{name}' has no calibration; add 'calibration' with width, height, fx, fy, cx, cy"
        )
    return model


def load_camera_option(option: str) -> CameraModel:
    """Read the camera of an option ``FILE`` or ``FILE:NAME``; see :func:`load_camera`."""
    path, separator, name = option.rpartition(":")
    if separator and not Path(option).exists():
        return load_camera(Path(path), name)
    return load_camera(Path(option))


def _read_calibration(content: Mapping[str, Any], path: Path) -> CameraModel:
    def numbers(key: str, counts: Sequence[int] | None) -> list[float]:
        block = content.get(key)
        values = block.get("data") if isinstance(block, Mapping) else None
        is_good = isinstance(values, list) and all(isinstance(v, int | float) for v in values)
        if not is_good or (counts is not None and len(cast("list[float]", values)) not in counts):
            raise ConfigError(
                f"{path}: '{key}.data' is {'missing' if values is None else repr(values)[:80]}; expected a rig file "
                "('cameras: ...') or a calibration with image_width, image_height, camera_matrix.data (9 numbers), "
                "distortion_model and distortion_coefficients.data"
            )
        return [float(value) for value in cast("list[float]", values)]

    matrix = np.array(numbers("camera_matrix", (9,))).reshape(3, 3)
    size = [content.get(key) for key in ("image_width", "image_height")]
    if not all(isinstance(value, int) for value in size):
        raise ConfigError(f"{path}: image_width and image_height are {size}; expected whole numbers of pixels")
    model = content.get("distortion_model") or "none"
    if model not in get_args(DistortionModel):
        raise CalibrationError(
            f"{path}: distortion model '{model}' is not known; known: {', '.join(get_args(DistortionModel))}"
        )
    distortion = [] if model == "none" else numbers("distortion_coefficients", None)
    name = str(content.get("camera_name") or path.stem)
    width, height = cast("list[int]", size)
    try:
        return CameraModel(
            name, f"{name}_optical_frame", width, height, matrix, cast("DistortionModel", model), np.array(distortion)
        )
    except CalibrationError as error:
        raise CalibrationError(f"{path}: {error}") from None
