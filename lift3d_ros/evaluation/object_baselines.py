"""Guesses that need no network, to compare a model with: the mean shape of known objects, and a cut-out of the picture.

Both are grids of cells over the cube of the model. Letters: G cells along a side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.datasets.object_meshes import MeshEntry
from lift3d_ros.datasets.object_points import DepthCarver
from lift3d_ros.datasets.object_renders import ObjectRenderer
from lift3d_ros.evaluation.object_cases import ObjectCase, make_case
from lift3d_ros.geometry.rigid import invert, transform_points
from lift3d_ros.models.lrm.cameras import orbit
from lift3d_ros.models.lrm.config import LrmConfig, ViewConfig
from lift3d_ros.models.lrm.object_image import foreground_box
from lift3d_ros.types import Float64Array, UInt8Array

_CELLS = 64
_SAMPLES = 96


@dataclass(frozen=True, eq=False)
class ObjectGrid:
    """Share of each cell that is inside (G, G, G) along x, y, z, and colours (G, G, G, 3) 0..255."""

    inside: NDArray[np.float32]
    colors: NDArray[np.float32]
    half_side: float

    def surface(self) -> tuple[Float64Array, NDArray[np.int64]]:
        """Return vertices and faces where half of a cell is inside; none where no cell is."""
        from skimage.measure import marching_cubes

        padded = np.pad(self.inside, 1)
        if not padded.max() > 0.5:
            return np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)
        vertices, faces, _, _ = marching_cubes(padded, 0.5)
        cell = 2.0 * self.half_side / len(self.inside)
        return np.asarray((vertices - 0.5) * cell - self.half_side), np.asarray(faces, dtype=np.int64)

    def render(self, pose: Float64Array, focal: float, side: int) -> UInt8Array:
        """Return a picture (side, side, 3) over white, from a camera of :class:`ObjectCase`."""
        place = (np.arange(side) + 0.5) / side - 0.5
        x, y = np.meshgrid(place / focal, place / focal)
        rays = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3) @ pose[:3, :3].T
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        reach, distance = np.sqrt(3.0) * self.half_side, float(np.linalg.norm(pose[:3, 3]))
        depths = np.linspace(max(distance - reach, 0.0), distance + reach, _SAMPLES)
        cells, cell = len(self.inside), 2.0 * self.half_side / len(self.inside)
        left, color = np.ones(len(rays)), np.zeros((len(rays), 3))
        share = float(depths[1] - depths[0]) / cell
        for depth in depths:
            index = np.floor((pose[:3, 3] + depth * rays + self.half_side) / cell).astype(np.int64)
            is_in = ((index >= 0) & (index < cells)).all(axis=1)
            i, j, k = np.clip(index, 0, cells - 1).T
            opacity = np.where(is_in, 1.0 - (1.0 - np.clip(self.inside[i, j, k], 0.0, 0.999)) ** share, 0.0)
            color += (left * opacity)[:, None] * self.colors[i, j, k]
            left *= 1.0 - opacity
        picture = color + 255.0 * left[:, None]
        return np.asarray(np.rint(np.clip(picture, 0.0, 255.0)).reshape(side, side, 3), dtype=np.uint8)


def mean_shape(
    entries: Sequence[MeshEntry],
    config: LrmConfig,
    renderers: tuple[ObjectRenderer, ObjectRenderer],
    seed: int,
    on_object: Callable[[], object] = lambda: None,
) -> ObjectGrid:
    """Return the mean of meshes as a model sees them, in their mean colour: the best guess without looking."""
    points = _middles(config.field.half_side)
    total, colors = np.zeros(len(points), np.float32), []
    for entry in entries:
        case = make_case(entry, config, renderers, 0, seed)
        renderers[1].load(case.mesh)
        carver = DepthCarver(renderers[1], case.mesh)
        total += carver.hidden(transform_points(np.linalg.inv(case.T_model_object), points))
        colors.append(case.rgba[case.rgba[..., 3] > 127][:, :3].mean(axis=0))
        on_object()
    inside = (total / len(entries)).reshape((_CELLS,) * 3)
    color = np.broadcast_to(np.mean(colors, axis=0).astype(np.float32), (*inside.shape, 3))
    return ObjectGrid(inside, color, config.field.half_side)


def cut_out(case: ObjectCase, config: LrmConfig) -> ObjectGrid:
    """Return the picture of a case as a body of even thickness: what its outline hides, as deep as it is narrow."""
    view, half_side = config.view, config.field.half_side
    points = _middles(half_side)
    seen = transform_points(invert(assumed_pose(view)), points)
    side = len(case.rgba)
    column, row = np.floor((view.focal * seen[:, :2] / seen[:, 2:] + 0.5) * side).astype(np.int64).T
    is_in = (np.minimum(column, row) >= 0) & (np.maximum(column, row) < side)
    pixels = case.rgba[np.clip(row, 0, side - 1), np.clip(column, 0, side - 1)]
    box = foreground_box(case.rgba[..., 3])
    thickness = 0.0 if box is None else min(box.height, box.width) / side * view.distance / view.focal
    is_inside = is_in & (pixels[:, 3] > 127) & (np.abs(seen[:, 2] - view.distance) <= 0.5 * thickness)
    shape = (_CELLS,) * 3
    return ObjectGrid(
        is_inside.astype(np.float32).reshape(shape), pixels[:, :3].astype(np.float32).reshape(*shape, 3), half_side
    )


def assumed_pose(view: ViewConfig) -> Float64Array:
    """Return the pose (4, 4) of the camera that a model assumes."""
    return np.asarray(orbit([np.deg2rad(view.azimuth_deg)], 0.0, view.distance)[0])


def _middles(half_side: float) -> Float64Array:
    """Return the middles (G^3, 3) of all cells."""
    place = ((np.arange(_CELLS) + 0.5) / _CELLS * 2.0 - 1.0) * half_side
    return np.asarray(np.stack(np.meshgrid(place, place, place, indexing="ij"), axis=-1).reshape(-1, 3))
