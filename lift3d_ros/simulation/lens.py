"""Lens distortion: a wider pinhole picture is rendered and bent into the picture of the distorted camera.

Light is interpolated; depth and instances take the nearest sample, so that no value is invented at an edge. Depth
along the optical axis stays what it is.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from lift3d_ros.geometry.camera import unproject
from lift3d_ros.simulation.gl_context import RenderingError
from lift3d_ros.simulation.renderer import SAMPLE_OFFSET_PX, RenderedView
from lift3d_ros.types import CameraModel, Float64Array

_LARGEST_SLOPE = 2.6
_GRID_PX = 6
_LARGEST_SCALE = 2.0


class Lens:
    """The way from the picture that is rendered to that of one camera, computed once for each camera.

    Args:
        pinhole: the camera to render; `model` itself where that has no distortion.
    """

    def __init__(self, model: CameraModel) -> None:
        """Compute the maps.

        Raises:
            RenderingError: a pinhole picture cannot hold the field of view (about 130 degrees).
        """
        self.model = self.pinhole = model
        if not model.is_distorted:
            return
        rays = _rays(model)
        low, high = rays[:, :2].min(axis=0), rays[:, :2].max(axis=0)
        if not np.isfinite(rays).all() or max(-low.min(), high.max()) > _LARGEST_SLOPE:
            raise RenderingError(
                f"camera '{model.name}' sees too far to the side to be rendered, or its distortion "
                f"'{model.distortion_model}' folds the picture; expected a field of view up to about 130 degrees. "
                "Give other coefficients or a longer focal length"
            )
        focal = np.array([model.intrinsics[0, 0], model.intrinsics[1, 1]])
        size = np.ceil((high - low) * focal).astype(int) + 3
        # A strongly bent picture would take many more pixels than it gives.
        shrink = min(1.0, _LARGEST_SCALE * model.width / size[0], _LARGEST_SCALE * model.height / size[1])
        focal, size = focal * shrink, np.ceil(size * shrink).astype(int)
        center = 1.0 - low * focal
        intrinsics = np.array([[focal[0], 0.0, center[0]], [0.0, focal[1], center[1]], [0.0, 0.0, 1.0]])
        self.pinhole = replace(
            model, width=int(size[0]), height=int(size[1]), intrinsics=intrinsics, distortion_model="none",
            distortion=np.zeros(0),
        )  # fmt: skip
        places = (rays[:, :2] * focal + center).reshape(model.height, model.width, 2).astype(np.float32)
        self._light_map = cv2.convertMaps(places, None, cv2.CV_16SC2)
        nearest = np.round(places - SAMPLE_OFFSET_PX).astype(np.int16)
        self._nearest_map = np.clip(nearest, 0, size - 1).astype(np.int16)

    def distort(self, view: RenderedView) -> RenderedView:
        """Return the picture of the camera from that of its `pinhole`."""
        if not self.model.is_distorted:
            return view
        edge = cv2.BORDER_REPLICATE
        light = cv2.remap(view.light, *self._light_map, interpolation=cv2.INTER_LINEAR, borderMode=edge)
        columns, rows = self._nearest_map[..., 0], self._nearest_map[..., 1]
        index = rows.astype(np.int32) * self.pinhole.width + columns
        return RenderedView(np.asarray(light), view.depth.take(index), view.instances.take(index))


def _rays(model: CameraModel) -> Float64Array:
    """Return the rays (H * W, 3) of all pixels, row by row, interpolated between those of a grid of pixels."""
    columns, across = _between(model.width)
    rows, down = _between(model.height)
    u, v = np.meshgrid(columns, rows)
    grid = unproject(model, np.stack([u.reshape(-1), v.reshape(-1)], axis=1)).reshape(len(rows), len(columns), 3)
    return np.asarray(np.einsum("vr,rci,uc->vui", down, grid, across, optimize=True).reshape(-1, 3))


def _between(count: int) -> tuple[Float64Array, Float64Array]:
    """Return places (P,) from the first to the last of `count` pixels, and how each pixel mixes them, (count, P)."""
    places = np.linspace(0, count - 1, max(count // _GRID_PX, 1) + 1)
    distance = np.abs(np.arange(count)[:, None] - places) / (places[1] - places[0])
    return places, np.maximum(1.0 - distance, 0.0)
