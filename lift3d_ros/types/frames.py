"""Pictures with their cameras and the motion of the vehicle, and sets of them around one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np

from lift3d_ros.errors import CalibrationError, Lift3dError
from lift3d_ros.types.arrays import Float64Array, UInt8Array, as_transform, read_only

DistortionModel = Literal["none", "plumb_bob", "rational_polynomial", "equidistant"]

_DISTORTION_LENGTHS: dict[str, tuple[int, ...]] = {
    "none": (0,),
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
}


@dataclass(frozen=True, eq=False)
class CameraModel:
    """Intrinsics of one camera, for the image size `width` x `height`.

    Args:
        name: camera name inside the rig, for example ``front_left``.
        frame_id: optical frame (z forward), taken from the image header.
        intrinsics: (3, 3) float64 pinhole matrix K.
        distortion: (n,) float64 coefficients in OpenCV order; n fits `distortion_model`.
    """

    name: str
    frame_id: str
    width: int
    height: int
    intrinsics: Float64Array
    distortion_model: DistortionModel = "none"
    distortion: Float64Array = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        where = f"camera '{self.name}'"
        if self.width <= 0 or self.height <= 0:
            raise CalibrationError(
                f"{where}: image size is {self.width}x{self.height}; expected positive width and height. "
                "Fill in width and height of the CameraInfo or the rig file"
            )
        intrinsics = np.array(self.intrinsics, dtype=np.float64)
        if intrinsics.shape != (3, 3) or not np.isfinite(intrinsics).all():
            raise CalibrationError(f"{where}: intrinsics must be a finite 3x3 matrix, got shape {intrinsics.shape}")
        if intrinsics[0, 0] <= 0 or intrinsics[1, 1] <= 0:
            raise CalibrationError(
                f"{where}: focal length is fx={intrinsics[0, 0]:g}, fy={intrinsics[1, 1]:g}; expected positive pixels. "
                "The camera is uncalibrated: calibrate it, or give its intrinsics in a rig file"
            )
        if intrinsics[1, 0] != 0 or intrinsics[2].tolist() != [0.0, 0.0, 1.0]:
            raise CalibrationError(
                f"{where}: intrinsics have the rows {intrinsics[1].tolist()} and {intrinsics[2].tolist()}; expected "
                "[0, fy, cy] and [0, 0, 1]. Give K in row-major order, not transposed, and complete"
            )
        if self.distortion_model not in get_args(DistortionModel):
            raise CalibrationError(
                f"{where}: distortion model '{self.distortion_model}' is not known; known: "
                f"{', '.join(get_args(DistortionModel))}. Rectify upstream and publish the rectified image"
            )
        distortion = np.array(self.distortion, dtype=np.float64).reshape(-1)
        if not np.isfinite(distortion).all():
            raise CalibrationError(f"{where}: distortion coefficients are not finite")
        expected = _DISTORTION_LENGTHS[self.distortion_model]
        if distortion.size not in expected:
            raise CalibrationError(
                f"{where}: distortion model '{self.distortion_model}' takes "
                f"{' or '.join(map(str, expected))} coefficients, got {distortion.size}"
            )
        object.__setattr__(self, "intrinsics", read_only(intrinsics))
        object.__setattr__(self, "distortion", read_only(distortion))

    @property
    def is_distorted(self) -> bool:
        """Whether pixels deviate from the pinhole projection."""
        return bool(np.any(self.distortion != 0.0)) or self.distortion_model == "equidistant"


@dataclass(frozen=True, eq=False)
class CameraImage:
    """One picture as it came from a topic, a bag or a file: bytes, not yet decoded.

    Args:
        camera: camera name inside the rig (also the stream name in the collector).
        stamp_ns: capture time of the header.
        frame_id: optical frame of the header.
        encoding: ROS encoding name (``rgb8``, ``bayer_rggb8``, ...) or ``jpeg`` / ``png`` for compressed data.
        data: the raw buffer, one-dimensional uint8; not copied.
        width, height, step: pixels, pixels and bytes per row; all zero for compressed data.
        source: topic or file, for error messages.
    """

    camera: str
    stamp_ns: int
    frame_id: str
    encoding: str
    data: UInt8Array
    width: int = 0
    height: int = 0
    step: int = 0
    is_bigendian: bool = False
    source: str = ""

    @property
    def is_compressed(self) -> bool:
        """Whether `data` is a JPEG or PNG stream."""
        return self.encoding in ("jpeg", "png")

    @property
    def label(self) -> str:
        """Name of the picture in error messages."""
        is_topic = self.source.startswith("/") and "." not in self.source  # a file has an ending
        return f"topic '{self.source}'" if is_topic else (self.source or f"camera '{self.camera}'")


@dataclass(frozen=True, eq=False)
class EgoMotion:
    """Pose and motion of the vehicle at one time.

    Args:
        T_world_base: (4, 4) pose of the base frame in a frame that does not jump (``odom``).
        linear_velocity, angular_velocity: (3,) in the base frame, m/s and rad/s; None where unknown.
    """

    stamp_ns: int
    T_world_base: Float64Array
    world_frame: str = "odom"
    linear_velocity: Float64Array | None = None
    angular_velocity: Float64Array | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "T_world_base", as_transform(self.T_world_base, "ego pose T_world_base"))


@dataclass(frozen=True, eq=False)
class CameraView:
    """One camera's part of a frame set: the picture and how to project into it.

    Args:
        T_base_cam: (4, 4) static mounting; maps optical-frame points to the base frame.
        T_reference_capture: (4, 4) motion of the base frame between the capture of this picture and the
            reference stamp; maps base-frame points at capture time to the base frame at the reference stamp.
            Identity where ego motion is not known or compensation is switched off.
        offset_ns: the stamp of the picture is late by this much.
    """

    image: CameraImage
    model: CameraModel
    T_base_cam: Float64Array
    T_reference_capture: Float64Array = field(default_factory=lambda: np.eye(4))
    offset_ns: int = 0

    def __post_init__(self) -> None:
        name = self.model.name
        object.__setattr__(self, "T_base_cam", as_transform(self.T_base_cam, f"camera '{name}': T_base_cam"))
        object.__setattr__(
            self,
            "T_reference_capture",
            as_transform(self.T_reference_capture, f"camera '{name}': T_reference_capture"),
        )

    @property
    def capture_ns(self) -> int:
        """When the picture was taken."""
        return self.image.stamp_ns - self.offset_ns

    @property
    def T_cam_reference(self) -> Float64Array:
        """Map base-frame points at the reference stamp into the optical frame at capture time."""
        return np.asarray(np.linalg.inv(self.T_reference_capture @ self.T_base_cam))


@dataclass(frozen=True, eq=False)
class FrameSet:
    """One assembly of surround cameras around a reference stamp, ready for a pipeline.

    Args:
        stamp_ns: reference stamp; results carry it.
        views: camera name -> view, in rig order.
        missing: cameras of the rig that are not in this set.
        base_frame: frame in which results are given.
        ego: ego motion at `stamp_ns`; None switches temporal fusion off for this frame.
        cameras: every camera of the rig in rig order; `views` and then `missing` where not given.
        problems: one sentence for each thing that is wrong with this set, for logs and diagnostics.
    """

    stamp_ns: int
    views: Mapping[str, CameraView]
    missing: tuple[str, ...] = ()
    base_frame: str = "base_link"
    ego: EgoMotion | None = None
    problems: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.views:
            raise Lift3dError(f"frame set at {self.stamp_ns} ns has no camera; expected at least one")
        object.__setattr__(self, "cameras", self.cameras or (*self.views, *self.missing))
        object.__setattr__(self, "views", MappingProxyType(dict(self.views)))
