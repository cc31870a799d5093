"""The one place where a picture becomes an array for a network: rectify, resize, crop, and move the intrinsics along.

The picture is scaled to the width of the network input. If it is then too tall, rows are cropped at the top
(sky); if it is too short, zeros are added at the bottom. Distorted cameras are rectified in the same
step, with maps made once per calibration at the size of the network input.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from lift3d_ros.errors import CalibrationError
from lift3d_ros.geometry.camera import project, unproject
from lift3d_ros.images.decode import decode, image_size
from lift3d_ros.types import CameraImage, CameraModel, Float64Array, UInt8Array

# Wider fields do not fit one pinhole picture: at 70 degrees off the axis a pixel already covers 8 times less angle.
_MAX_HALF_ANGLE = np.deg2rad(70.0)
_MAX_CACHED_MAPS = 32


@dataclass(frozen=True)
class InputSpec:
    """Size of the network input, px."""

    width: int
    height: int


@dataclass(frozen=True)
class ResizeCrop:
    """Scaling and vertical shift from a source picture to the network input.

    A source pixel (u, v), counted from the centre of the first pixel, goes to
    ``(scale_x * (u + 0.5) - 0.5, scale_y * (v + 0.5) - 0.5 - crop_top)``.
    """

    width: int
    height: int
    scaled_height: int
    scale_x: float
    scale_y: float

    @classmethod
    def fit(cls, source_width: int, source_height: int, spec: InputSpec) -> ResizeCrop:
        """Return the mapping from a picture of the given size to the network input."""
        scaled_height = max(1, round(source_height * spec.width / source_width))
        return cls(spec.width, spec.height, scaled_height, spec.width / source_width, scaled_height / source_height)

    @property
    def crop_top(self) -> int:
        """Rows cut off at the top of the scaled picture."""
        return max(0, self.scaled_height - self.height)

    @property
    def matrix(self) -> Float64Array:
        """The mapping of homogeneous pixels, (3, 3)."""
        return np.array(
            [
                [self.scale_x, 0.0, 0.5 * self.scale_x - 0.5],
                [0.0, self.scale_y, 0.5 * self.scale_y - 0.5 - self.crop_top],
                [0.0, 0.0, 1.0],
            ]
        )

    def apply(self, picture: UInt8Array) -> UInt8Array:
        """Scale and crop or pad a picture (H, W[, C])."""
        is_smaller = self.scale_x < 1.0
        interpolation = cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR
        scaled = cv2.resize(picture, (self.width, self.scaled_height), interpolation=interpolation)
        cropped = scaled[self.crop_top :]
        padding = self.height - cropped.shape[0]
        if padding > 0:
            cropped = cv2.copyMakeBorder(cropped, 0, padding, 0, 0, cv2.BORDER_CONSTANT, value=0)
        return np.asarray(cropped)


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """A picture as the network takes it: (3, H, W) uint8 RGB, and the (3, 3) intrinsics of exactly these pixels."""

    pixels: UInt8Array
    intrinsics: Float64Array


@dataclass(frozen=True, eq=False)
class _Rectification:
    map_xy: Any
    map_fraction: Any
    intrinsics: Float64Array
    prescale: int


class ImagePreprocessor:
    """Prepares pictures of any size and calibration for one network input; safe to call from several threads."""

    def __init__(self, spec: InputSpec) -> None:
        """Prepare for inputs of the size `spec`."""
        self.spec = spec
        self._maps: OrderedDict[tuple[Any, ...], _Rectification] = OrderedDict()
        self._lock = threading.Lock()

    def to_array(self, image: CameraImage, model: CameraModel, own_vehicle: tuple[Any, ...] = ()) -> PreparedImage:
        """Decode, rectify, resize and crop one picture.

        Args:
            own_vehicle: polygons of the own vehicle in pixels of the full picture; they become black.

        Raises:
            ImageError: the picture cannot be decoded.
            CalibrationError: the picture has another shape than the calibration.
        """
        width, height = image_size(image)
        model = scaled_to(model, width, height, image.label)
        picture = decode(image)
        if own_vehicle:
            polygons = [np.rint(np.asarray(polygon)).astype(np.int32) for polygon in own_vehicle]
            cv2.fillPoly(picture, polygons, (0, 0, 0))
        if model.is_distorted:
            maps = self._rectification(model)
            if maps.prescale > 1:
                size = (width // maps.prescale, height // maps.prescale)
                picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
            picture = np.asarray(cv2.remap(picture, maps.map_xy, maps.map_fraction, cv2.INTER_LINEAR))
            intrinsics = maps.intrinsics
        else:
            resize = ResizeCrop.fit(width, height, self.spec)
            picture = resize.apply(picture)
            intrinsics = resize.matrix @ model.intrinsics
        pixels = np.stack(cv2.split(picture))  # (3, H, W)
        return PreparedImage(np.asarray(pixels, dtype=np.uint8), np.asarray(intrinsics))

    def _rectification(self, model: CameraModel) -> _Rectification:
        key = (
            model.width,
            model.height,
            model.distortion_model,
            model.intrinsics.tobytes(),
            model.distortion.tobytes(),
        )
        with self._lock:
            if key in self._maps:
                self._maps.move_to_end(key)
                return self._maps[key]
        maps = _make_rectification(model, self.spec)
        with self._lock:
            self._maps[key] = maps
            while len(self._maps) > _MAX_CACHED_MAPS:
                self._maps.popitem(last=False)
        return maps


def scaled_to(model: CameraModel, width: int, height: int, label: str) -> CameraModel:
    """Return `model` for pictures of the given size, which must have the shape of the calibrated ones.

    Raises:
        CalibrationError: the aspect ratio differs; names both sizes.
    """
    if (width, height) == (model.width, model.height):
        return model
    scale_x, scale_y = width / model.width, height / model.height
    if abs(scale_x / scale_y - 1.0) > 0.01:
        raise CalibrationError(
            f"{label}: the picture is {width}x{height}, its calibration is for {model.width}x{model.height}; expected "
            "the same shape. Publish the CameraInfo of this resolution, or correct the rig file"
        )
    shift = np.array([[scale_x, 0, 0.5 * scale_x - 0.5], [0, scale_y, 0.5 * scale_y - 0.5], [0, 0, 1]])
    return CameraModel(
        model.name, model.frame_id, width, height, shift @ model.intrinsics, model.distortion_model, model.distortion
    )


def _make_rectification(model: CameraModel, spec: InputSpec) -> _Rectification:
    """Choose a pinhole camera for the network input and map its pixels to the distorted picture."""
    left, right = _horizontal_field(model)
    fx = (spec.width - 1) / (right - left)
    fy = fx * model.intrinsics[1, 1] / model.intrinsics[0, 0]
    # Keep the lowest visible row at the bottom edge, as cropping the top does for undistorted cameras.
    bottom = _lower_field(model)
    top_of_input = (spec.height - 1) - fy * bottom
    intrinsics = np.array([[fx, 0.0, -fx * left], [0.0, fy, top_of_input], [0.0, 0.0, 1.0]])
    u, v = np.meshgrid(np.arange(spec.width, dtype=np.float64), np.arange(spec.height, dtype=np.float64))
    rays = np.stack([(u.ravel() + fx * left) / fx, (v.ravel() - top_of_input) / fy, np.ones(u.size)], axis=1)
    source, is_valid = project(model, rays)
    source = np.where(is_valid[:, None], source, -1e4).reshape(spec.height, spec.width, 2)
    prescale = max(1, int(model.intrinsics[0, 0] / fx))
    source = (source + 0.5) / prescale - 0.5
    map_xy, map_fraction = cv2.convertMaps(
        source[..., 0].astype(np.float32), source[..., 1].astype(np.float32), cv2.CV_16SC2
    )
    return _Rectification(map_xy, map_fraction, intrinsics, prescale)


def _horizontal_field(model: CameraModel) -> tuple[float, float]:
    """Return x/z of the leftmost and rightmost ray that the middle row of the picture sees."""
    row = np.stack([np.linspace(0, model.width - 1, 201), np.full(201, model.intrinsics[1, 2])], axis=1)
    x = _rays(model, row)[:, 0]
    return float(np.nanmin(x)), float(np.nanmax(x))


def _lower_field(model: CameraModel) -> float:
    """Return y/z of the lowest ray that the middle column of the picture sees."""
    column = np.stack([np.full(201, model.intrinsics[0, 2]), np.linspace(0, model.height - 1, 201)], axis=1)
    return float(np.nanmax(_rays(model, column)[:, 1]))


def _rays(model: CameraModel, pixels: Float64Array) -> Float64Array:
    """Return normalised coordinates of pixels, NaN beyond the field that one pinhole picture can hold."""
    normalised = unproject(model, pixels)[:, :2]
    return np.where(np.abs(normalised) <= np.tan(_MAX_HALF_ANGLE), normalised, np.nan)
