"""The one place where a picture becomes an array for a network: rectify, resize, crop, and move the intrinsics along.

The picture is scaled to the width of the network input. If it is then too tall, rows are cropped at the top
(sky); if it is too short, zeros are added at the bottom. Distorted cameras are rectified in the same
step, with maps made once per calibration at the size of the network input.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from lift3d_ros.errors import CalibrationError
from lift3d_ros.images.decode import decode
from lift3d_ros.images.ego_mask import own_vehicle_mask
from lift3d_ros.images.rectify import Rectification
from lift3d_ros.images.shrink import shrink
from lift3d_ros.types import CameraImage, CameraModel, Float64Array, UInt8Array

_MAX_CACHED_CAMERAS = 32
_SHAPE_TOLERANCE = 0.01


@dataclass(frozen=True)
class InputSpec:
    """Size of the network input, px."""

    width: int
    height: int

    @property
    def highest_axis_row(self) -> int:
        """The middle row of a picture never goes above this row, so that the horizon of tall pictures is kept."""
        return self.height // 8


@dataclass(frozen=True)
class ResizeCrop:
    """Scaling and vertical shift from a source picture to the network input.

    A source pixel (u, v), counted from the centre of the first pixel, goes to
    ``(scale_x * (u + 0.5) - 0.5, scale_y * (v + 0.5) - 0.5 - crop_top)``. The two scales differ a little, as
    the scaled picture has a whole number of rows.
    """

    spec: InputSpec
    source_width: int
    source_height: int

    @property
    def scaled_height(self) -> int:
        """Rows of the picture after scaling it to the width of the network input."""
        return max(1, round(self.source_height * self.spec.width / self.source_width))

    @property
    def scale_x(self) -> float:
        """Network pixels per source pixel along a row."""
        return self.spec.width / self.source_width

    @property
    def scale_y(self) -> float:
        """Network pixels per source pixel along a column."""
        return self.scaled_height / self.source_height

    @property
    def crop_top(self) -> int:
        """Rows cut off at the top of the scaled picture.

        4:3 and square pictures would lose their horizon if all went at the top; the rest goes at the bottom.
        """
        excess = max(0, self.scaled_height - self.spec.height)
        return min(excess, max(0, self.scaled_height // 2 - self.spec.highest_axis_row))

    @property
    def matrix(self) -> Float64Array:
        """The mapping of homogeneous pixels, (3, 3); times the source intrinsics it gives the new ones."""
        return np.array(
            [
                [self.scale_x, 0.0, 0.5 * self.scale_x - 0.5],
                [0.0, self.scale_y, 0.5 * self.scale_y - 0.5 - self.crop_top],
                [0.0, 0.0, 1.0],
            ]
        )

    def apply(self, picture: UInt8Array) -> UInt8Array:
        """Scale and crop or pad a picture (H, W[, C]) of the source size."""
        small = shrink(picture, int(1.0 / self.scale_x))
        scaled = cv2.resize(small, (self.spec.width, self.scaled_height), interpolation=cv2.INTER_LINEAR)
        cropped = scaled[self.crop_top : self.crop_top + self.spec.height]
        padding = self.spec.height - cropped.shape[0]
        if padding > 0:
            cropped = cv2.copyMakeBorder(cropped, 0, padding, 0, 0, cv2.BORDER_CONSTANT, value=0)
        return np.asarray(cropped)


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """A picture as the network takes it: (3, H, W) uint8 RGB, and the (3, 3) intrinsics of exactly these pixels."""

    pixels: UInt8Array
    intrinsics: Float64Array


@dataclass(frozen=True, eq=False)
class _CameraPlan:
    """What one calibration needs for every picture; `keep` is 0 on the own vehicle, None where nothing is masked."""

    warp: ResizeCrop | Rectification
    intrinsics: Float64Array
    keep: UInt8Array | None


class ImagePreprocessor:
    """Prepares pictures of any size and calibration for one network input; safe to call from several threads."""

    def __init__(self, spec: InputSpec) -> None:
        """Prepare for inputs of the size `spec`."""
        self.spec = spec
        self._plans: OrderedDict[tuple[Any, ...], _CameraPlan] = OrderedDict()
        self._lock = threading.Lock()

    def to_array(
        self, image: CameraImage, model: CameraModel, own_vehicle: Sequence[Sequence[tuple[float, float]]] = ()
    ) -> PreparedImage:
        """Decode, rectify, resize and crop one picture.

        Args:
            own_vehicle: polygons of the own vehicle in pixels of the calibrated picture; they become black.

        Raises:
            ImageError: the picture cannot be decoded.
            CalibrationError: the picture has another shape than the calibration.
        """
        picture = decode(image)
        height, width = picture.shape[:2]
        plan = self._plan(scaled_to(model, width, height, image.label), model, own_vehicle)
        ready = plan.warp.apply(picture)
        if plan.keep is not None:
            ready = np.asarray(cv2.bitwise_and(ready, ready, mask=plan.keep))
        pixels = np.empty((3, self.spec.height, self.spec.width), dtype=np.uint8)
        cv2.split(ready, list(pixels))
        return PreparedImage(pixels, plan.intrinsics)

    def intrinsics_for(self, model: CameraModel) -> Float64Array:
        """Return the (3, 3) intrinsics that prepared pictures of this camera have."""
        return self._plan(model, model, ()).intrinsics

    def _plan(
        self, model: CameraModel, calibrated: CameraModel, own_vehicle: Sequence[Sequence[tuple[float, float]]]
    ) -> _CameraPlan:
        """Return the plan for pictures of `model`; polygons are in pixels of `calibrated`, which may be larger."""
        key = (
            (model.width, model.height, calibrated.width, calibrated.height),
            model.distortion_model,
            model.intrinsics.tobytes(),
            model.distortion.tobytes(),
            tuple(tuple(map(tuple, polygon)) for polygon in own_vehicle),
        )
        with self._lock:
            plan = self._plans.get(key)
            if plan is not None:
                self._plans.move_to_end(key)
                return plan
        plan = self._make_plan(model, calibrated, own_vehicle)  # outside the lock: cameras do not wait for each other
        with self._lock:
            self._plans[key] = plan
            while len(self._plans) > _MAX_CACHED_CAMERAS:
                self._plans.popitem(last=False)
        return plan

    def _make_plan(
        self, model: CameraModel, calibrated: CameraModel, own_vehicle: Sequence[Sequence[tuple[float, float]]]
    ) -> _CameraPlan:
        spec = self.spec
        warp: ResizeCrop | Rectification
        if model.is_distorted:
            warp = Rectification.fit(model, spec.width, spec.height, spec.highest_axis_row)
            intrinsics = warp.intrinsics
        else:
            warp = ResizeCrop(spec, model.width, model.height)
            intrinsics = np.asarray(warp.matrix @ model.intrinsics)
        intrinsics.setflags(write=False)
        if not own_vehicle:
            return _CameraPlan(warp, intrinsics, None)
        mask = cv2.resize(own_vehicle_mask(own_vehicle, calibrated), (model.width, model.height))
        return _CameraPlan(warp, intrinsics, np.asarray(warp.apply(mask) == 0, dtype=np.uint8))


def scaled_to(model: CameraModel, width: int, height: int, label: str) -> CameraModel:
    """Return `model` for pictures of the given size, which must have the shape of the calibrated ones.

    Raises:
        CalibrationError: the aspect ratio differs by more than 1 %; names both sizes.
    """
    if (width, height) == (model.width, model.height):
        return model
    scale_x, scale_y = width / model.width, height / model.height
    if abs(scale_x / scale_y - 1.0) > _SHAPE_TOLERANCE:
        raise CalibrationError(
            f"{label}: the picture is {width}x{height}, its calibration is for {model.width}x{model.height}; expected "
            "the same shape. Publish the CameraInfo of this resolution, or correct the rig file"
        )
    scale = np.array([[scale_x, 0, 0.5 * scale_x - 0.5], [0, scale_y, 0.5 * scale_y - 0.5], [0, 0, 1]])
    return CameraModel(
        model.name, model.frame_id, width, height, scale @ model.intrinsics, model.distortion_model, model.distortion
    )
