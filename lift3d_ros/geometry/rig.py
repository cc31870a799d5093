"""The rig: a vehicle's cameras, read from a YAML file.

A rig file may be complete (`lift3d detect` needs that) or partial; what it leaves out comes from
CameraInfo and TF. Every camera is one block::

    base_frame: base_link
    world_frame: odom                                 # frame that does not jump, for ego motion
    odometry_topic: /odom                             # ego motion, where transforms do not carry it
    cameras:
      front:
        topic: /cam_front/image_raw/compressed        # picture
        camera_info_topic: /cam_front/camera_info     # calibration, where it is not given below
        frame_id: cam_front_optical_frame             # optical frame, where messages carry another or none
        offset_s: 0.0                                 # stamps of this camera are late by this much
        embedding: front                              # its row in a checkpoint with learned camera embeddings
        calibration:
          width: 1600
          height: 900
          fx: 1266.4
          fy: 1266.4
          cx: 816.3
          cy: 491.5
          distortion_model: plumb_bob
          distortion: [0.0, 0.0, 0.0, 0.0, 0.0]
        mounting:                                     # where the camera sits in base_frame
          position: [1.70, 0.02, 1.51]                # x forward, y left, z up, m
          rpy_deg: [0.0, 0.0, 0.0]                    # of the camera body: 0 0 0 looks forward, yaw 90 left
        own_vehicle:                                  # polygons of the own body, px of the full picture
          - [[0, 880], [1600, 880], [1600, 900], [0, 900]]

`mounting` may give `quaternion: [x, y, z, w]` of the optical frame in place of `rpy_deg`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lift3d_ros.config import from_mapping, read_yaml_mapping, setting
from lift3d_ros.errors import CalibrationError, ConfigError
from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.rotations import quaternion_to_matrix, rpy_matrix
from lift3d_ros.types import CameraModel, DistortionModel, Float64Array

Polygon = tuple[tuple[float, float], ...]

# Optical axes (x right, y down, z forward) of a camera whose body looks along +x of the base frame.
_BODY_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


@dataclass(frozen=True)
class RigCalibration:
    """Intrinsics of one camera as written in the file."""

    width: int = setting(0, "image width", unit="px", minimum=1)
    height: int = setting(0, "image height", unit="px", minimum=1)
    fx: float = setting(0.0, "horizontal focal length", unit="px")
    fy: float = setting(0.0, "vertical focal length", unit="px")
    cx: float = setting(0.0, "principal point, from the centre of the first pixel", unit="px")
    cy: float = setting(0.0, "principal point, from the centre of the first pixel", unit="px")
    distortion_model: DistortionModel = setting("none", "how the lens bends rays")
    distortion: tuple[float, ...] = setting((), "coefficients in OpenCV order")


@dataclass(frozen=True)
class RigMounting:
    """Mounting of one camera as written in the file."""

    position: tuple[float, float, float]
    rpy_deg: tuple[float, float, float] | None = None
    quaternion: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class RigCamera:
    """One camera of a rig; what is None comes from CameraInfo and TF."""

    topic: str | None = None
    camera_info_topic: str | None = None
    frame_id: str | None = None
    offset_s: float = setting(0.0, "stamps of this camera are late by this much", unit="s", minimum=-1.0, maximum=1.0)
    embedding: str = setting("", "name of the camera in a checkpoint with learned camera embeddings")
    calibration: RigCalibration | None = None
    mounting: RigMounting | None = None
    own_vehicle: tuple[Polygon, ...] = ()

    def optical_frame(self, name: str) -> str:
        """Return the optical frame of the camera called `name`; made from the name where none is given."""
        return self.frame_id or f"{name}_optical_frame"

    def model(self, name: str) -> CameraModel | None:
        """Return the camera model of the camera called `name`, None where the file gives no calibration.

        Raises:
            CalibrationError: focal length not positive or wrong number of distortion coefficients.
        """
        c = self.calibration
        if c is None:
            return None
        intrinsics = np.array([[c.fx, 0.0, c.cx], [0.0, c.fy, c.cy], [0.0, 0.0, 1.0]])
        return CameraModel(
            name, self.optical_frame(name), c.width, c.height, intrinsics, c.distortion_model, np.array(c.distortion)
        )

    @property
    def T_base_cam(self) -> Float64Array | None:
        """Pose of the optical frame in the base frame, None where the file gives no mounting."""
        if self.mounting is None:
            return None
        if self.mounting.quaternion is not None:
            rotation = quaternion_to_matrix(self.mounting.quaternion)
        else:
            rotation = rpy_matrix(*np.deg2rad(self.mounting.rpy_deg or (0.0, 0.0, 0.0))) @ _BODY_OPTICAL
        return make_transform(rotation, self.mounting.position)


@dataclass(frozen=True)
class Rig:
    """A vehicle: its frames, its ego motion (None: to be found), and its cameras in the order of the file."""

    base_frame: str = "base_link"
    cameras: Mapping[str, RigCamera] = field(default_factory=dict)
    world_frame: str | None = None
    odometry_topic: str | None = None


def load_rig(path: Path) -> Rig:
    """Read a rig file.

    Raises:
        ConfigError: unknown name (with the nearest), wrong type, no camera, or a mounting that is no rotation.
        CalibrationError: unusable intrinsics; both name the file and the camera.
    """
    rig = from_mapping(Rig, read_yaml_mapping(path), str(path))
    if not rig.cameras:
        raise ConfigError(f"{path}: 'cameras' is empty; expected one block per camera")
    for name, camera in rig.cameras.items():
        mounting = camera.mounting
        if mounting is not None and mounting.quaternion is not None and mounting.rpy_deg is not None:
            raise ConfigError(f"{path}: 'cameras.{name}.mounting' gives both rpy_deg and quaternion; keep one")
        for polygon in camera.own_vehicle:
            if len(polygon) < 3:
                raise ConfigError(
                    f"{path}: 'cameras.{name}.own_vehicle' has a polygon of {len(polygon)} corners; expected at least 3"
                )
        try:
            camera.model(name)
            _ = camera.T_base_cam
        except CalibrationError as error:
            raise CalibrationError(f"{path}: {error}") from None
        except ValueError as error:
            raise ConfigError(f"{path}: 'cameras.{name}.mounting': {error}") from None
    return rig
