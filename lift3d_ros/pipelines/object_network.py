"""Runs the network of an object reconstructor piece by piece: picture to planes, places to density and colour, views.

Letters: C channels, R texels of a plane, P points, N views.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.models.lrm.cameras import view_intrinsics, view_numbers
from lift3d_ros.models.lrm.config import LrmConfig
from lift3d_ros.pipelines.backends import engine_notice
from lift3d_ros.pipelines.object_engine import LrmEngine
from lift3d_ros.types import Float32Array, Float64Array, ModelIdentity, UInt8Array

# Called with the share that is done, 0..1; may raise to stop.
OnShare = Callable[[float], object]


class ObjectNetwork:
    """The engines of one loaded model; keeps nothing from one object to the next."""

    def __init__(self, lrm_engine: LrmEngine, points_at_once: int) -> None:
        """Ask the field for at most so many points at once, which bounds the memory."""
        self._engine, self._points_at_once = lrm_engine, points_at_once
        self._planes_state, self._field_state = lrm_engine.planes.new_state(), lrm_engine.field.new_state()

    @property
    def identity(self) -> ModelIdentity:
        """Which model and weights are running."""
        return self._engine.identity

    @property
    def config(self) -> LrmConfig:
        """Facts of the model."""
        return self._engine.config

    @property
    def notice(self) -> str:
        """What the engines say of themselves; empty while all is well."""
        return "; ".join(filter(None, map(engine_notice, (self._engine.planes, self._engine.field))))

    @property
    def renders_views(self) -> bool:
        """Whether views of the field can be rendered: not by an exported graph."""
        return self._engine.encoder is not None

    def planes_of(self, image: Float32Array, on_layer: OnShare) -> Float32Array:
        """Return the planes (1, 3, C, R, R) of a framed picture (3, side, side).

        Args:
            on_layer: called before each layer; an exported graph runs in one piece, and calls nothing.

        Raises:
            EngineError: the engine failed.
        """
        inputs = {
            "images": image[None],
            "cameras": view_numbers(self.config.view).astype(np.float32)[None],
        }
        self._engine.watch(on_layer)
        try:
            planes = self._engine.planes.run(inputs, self._planes_state)["planes"]
        finally:
            self._engine.watch(lambda fraction: None)
        return np.asarray(planes)

    def density_at(self, planes: Float32Array, points: Float32Array) -> NDArray[Any]:
        """Return the density (P,) at points (P, 3) of the object frame, all of them at once."""
        return self._ask(planes, points)[0]

    def colors_at(
        self, planes: Float32Array, points: Float64Array, on_piece: OnShare = lambda fraction: None
    ) -> UInt8Array:
        """Return the colours (P, 3) sRGB of points (P, 3) of the object frame."""
        colors = np.zeros((len(points), 3), dtype=np.uint8)
        for first in range(0, len(points), self._points_at_once):
            on_piece(first / len(points))
            piece = points[first : first + self._points_at_once].astype(np.float32)
            colors[first : first + self._points_at_once] = _to_bytes(self._ask(planes, piece)[1])
        return colors

    def render(
        self, planes: Float32Array, T_object_cameras: Float64Array, side: int, on_band: OnShare
    ) -> list[UInt8Array]:
        """Render a field as seen by the model's camera from other places, over white.

        Args:
            T_object_cameras: (N, 4, 4).
            side: of each picture, px.

        Returns:
            N pictures (side, side, 3).

        Raises:
            EngineError: the network is an exported graph.
        """
        intrinsics = view_intrinsics(self.config.view)
        pictures = []
        occupancy = self._engine.find_occupancy(planes, lambda share: on_band(0.0))
        for number, pose in enumerate(T_object_cameras):
            bands: list[Float32Array] = []
            on_band(number / len(T_object_cameras))
            for band in self._engine.render(planes, pose, intrinsics, side, occupancy):
                bands.append(band)
                rows = sum(len(one) for one in bands)
                on_band((number + rows / side) / len(T_object_cameras))
            pictures.append(_to_bytes(np.concatenate(bands)))
        return pictures

    def _ask(self, planes: Float32Array, points: Float32Array) -> tuple[NDArray[Any], NDArray[Any]]:
        outputs = self._engine.field.run({"planes": planes, "points": points[None]}, self._field_state)
        return outputs["density"][0], outputs["color"][0]


def _to_bytes(colors: Float32Array) -> UInt8Array:
    """Return colours 0..1, with what overshoots cut off, as 0..255."""
    return np.asarray(np.rint(255.0 * np.clip(np.nan_to_num(colors), 0.0, 1.0)), dtype=np.uint8)
