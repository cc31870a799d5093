"""Which cells of the BEV grid each camera sees.

The lists depend on calibration and grid only. They are made outside of the network, because exported graphs have
fixed sizes, and because an engine then needs no rebuild when a calibration changes or a camera is lost.

Letters: N cameras, Z pillar heights, P pairs of a camera and a cell that it sees, K cameras that see one cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import CalibrationError, EngineError
from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.types import Float32Array, Float64Array

Int64Array = NDArray[np.int64]

_MIN_DEPTH = 1e-5


@dataclass(frozen=True, eq=False)
class VisiblePairs:
    """Pairs of a camera and a cell that it sees, sorted by camera, within a camera by cell.

    Args:
        camera, cell: (P,) index of each pair; zeros behind the first `num_pairs` where padded.
        pairs_of_cell: (cells, K) the pairs of each cell by number; a free place holds P, one past the last pair.
        num_pairs: pairs without the padding.
    """

    camera: Int64Array
    cell: Int64Array
    pairs_of_cell: Int64Array
    num_pairs: int


@dataclass(frozen=True)
class PairCapacity:
    """Sizes P and K that an exported graph is made for."""

    pairs: int
    cameras_per_cell: int


@lru_cache(maxsize=8)
def anchor_grid(config: Dfa3dConfig) -> Float32Array:
    """Return the pillar anchors of every cell, read-only.

    Returns:
        (cells, Z, 3) metres in the model frame; cells row by row, row along y and column along x.

    Source: fact sheet DFA3D, section 10.
    """
    x_min, y_min, _, x_max, y_max, _ = config.point_range
    anchors = np.empty((config.bev_height, config.bev_width, len(config.pillar_heights), 3), dtype=np.float32)
    anchors[..., 0] = (x_min + _centres(config.bev_width) * (x_max - x_min))[None, :, None]
    anchors[..., 1] = (y_min + _centres(config.bev_height) * (y_max - y_min))[:, None, None]
    anchors[..., 2] = config.pillar_heights
    anchors = anchors.reshape(config.num_cells, -1, 3)
    anchors.setflags(write=False)
    return anchors


def find_visible_pairs(image_from_model: Any, config: Dfa3dConfig, is_used: Any | None = None) -> VisiblePairs:
    """List the cells of which at least one anchor lies before the camera and strictly inside of its padded picture.

    Distance is not limited: anchors nearer or farther than the depth bins count, too.

    Args:
        image_from_model: (N, 4, 4) float32, model frame to (u*depth, v*depth, depth, 1), px of the scaled picture.
        is_used: (N,) bool; the others see nothing. None uses all.

    Returns:
        Pairs without padding; K is at least 1.

    Raises:
        CalibrationError: the matrix of a used camera is not finite.

    Source: fact sheet DFA3D, section 10.
    """
    matrices = np.asarray(image_from_model, dtype=np.float64)
    used = np.ones(len(matrices), dtype=bool) if is_used is None else np.asarray(is_used, dtype=bool)
    cameras_of_cell = np.zeros(config.num_cells, dtype=np.int64)
    cells, places, counts = [], [], np.zeros(len(matrices), dtype=np.int64)
    for camera, (matrix, camera_is_used) in enumerate(zip(matrices, used, strict=True)):
        if not camera_is_used:
            continue
        if not np.isfinite(matrix).all():
            raise CalibrationError(
                f"camera {camera} of the rig: its projection has values that are not finite; expected a 4x4 matrix of "
                "numbers; check its intrinsics and its mounting"
            )
        seen = _visible_cells(matrix, config)
        counts[camera] = len(seen)
        cells.append(seen)
        places.append(cameras_of_cell[seen])
        cameras_of_cell[seen] += 1
    num_pairs = int(counts.sum())
    cell = np.concatenate(cells) if cells else np.zeros(0, dtype=np.int64)
    pairs_of_cell = np.full((config.num_cells, max(1, int(cameras_of_cell.max()))), num_pairs, dtype=np.int64)
    if num_pairs:
        pairs_of_cell[cell, np.concatenate(places)] = np.arange(num_pairs)
    return VisiblePairs(np.repeat(np.arange(len(matrices)), counts), cell, pairs_of_cell, num_pairs)


def join_pairs(samples: Sequence[VisiblePairs], num_cameras: int, config: Dfa3dConfig) -> VisiblePairs:
    """Join the pairs of a batch: camera c of sample b becomes N*b + c, its cells follow those of the sample before.

    Args:
        samples: pairs without padding, at least one sample.
        num_cameras: N, the same for every sample.
    """
    total = sum(pairs.num_pairs for pairs in samples)
    cameras_per_cell = max(pairs.pairs_of_cell.shape[1] for pairs in samples)
    table = np.full((len(samples), config.num_cells, cameras_per_cell), total, dtype=np.int64)
    first = 0
    for rows, pairs in zip(table, samples, strict=True):
        found = pairs.pairs_of_cell
        rows[:, : found.shape[1]] = np.where(found < pairs.num_pairs, found + first, total)
        first += pairs.num_pairs
    return VisiblePairs(
        np.concatenate([pairs.camera + num_cameras * b for b, pairs in enumerate(samples)]),
        np.concatenate([pairs.cell + config.num_cells * b for b, pairs in enumerate(samples)]),
        table.reshape(-1, cameras_per_cell),
        total,
    )


def pad_pairs(pairs: VisiblePairs, capacity: PairCapacity) -> VisiblePairs:
    """Bring pairs to the sizes of an exported graph; free places of `pairs_of_cell` then hold ``capacity.pairs``.

    Args:
        pairs: without padding.

    Raises:
        EngineError: more pairs, or more cameras that see one cell, than there is room for.
    """
    num_cells, cameras_per_cell = pairs.pairs_of_cell.shape
    if pairs.num_pairs > capacity.pairs or cameras_per_cell > capacity.cameras_per_cell:
        raise EngineError(
            f"the cameras of this rig see {pairs.num_pairs} pairs of camera and cell, up to {cameras_per_cell} cameras "
            f"in one cell; the engine has room for {capacity.pairs} and {capacity.cameras_per_cell}; "
            "export the model for this rig: lift3d export dfa3d --model NAME --rig RIG.yaml --out OUT.onnx (the torch "
            "backend takes any number with engine.cuda_graph false)"
        )
    padding = (0, capacity.pairs - pairs.num_pairs)
    table = np.full((num_cells, capacity.cameras_per_cell), capacity.pairs, dtype=np.int64)
    found = pairs.pairs_of_cell
    table[:, :cameras_per_cell] = np.where(found < pairs.num_pairs, found, capacity.pairs)
    return VisiblePairs(np.pad(pairs.camera, padding), np.pad(pairs.cell, padding), table, pairs.num_pairs)


def capacity_for(pairs: VisiblePairs, headroom: float = 1.25) -> PairCapacity:
    """Return room for these pairs times `headroom`, for what the motion of the vehicle between pictures changes.

    Args:
        pairs: of the whole rig, without padding.
    """
    num_cells, cameras_per_cell = pairs.pairs_of_cell.shape
    num_cameras = int(pairs.camera.max(initial=0)) + 1
    return PairCapacity(
        max(1, min(math.ceil(pairs.num_pairs * headroom), num_cells * num_cameras)),
        min(math.ceil(cameras_per_cell * headroom), num_cameras),
    )


def default_capacity(num_cameras: int, config: Dfa3dConfig) -> PairCapacity:
    """Return room for a rig of `num_cameras` whose calibration is not known.

    A camera in the middle of the grid with a horizontal field of 90 degrees sees a quarter of the cells, one with 120
    degrees a third; half of the cells more leave room for a single camera away from the middle. The six cameras of a
    nuScenes vehicle make 1.12 pairs for each cell of the grid, at most two of one cell; they get room for 2.6 and 4.
    """
    pairs = math.ceil(config.num_cells * min(num_cameras, 0.5 + 0.35 * num_cameras))
    return PairCapacity(pairs, min(num_cameras, 4))


def _centres(count: int) -> Float64Array:
    return (np.arange(count) + 0.5) / count


def _visible_cells(matrix: Float64Array, config: Dfa3dConfig) -> Int64Array:
    """Return the cells, ascending, that a camera sees.

    The field of view is bounded by five planes, and a plane is a sum of a part that depends on the column and a part
    that depends on row and height: it is enough to compare the two parts.
    """
    x, y, z = _axes(config)
    planes = _bounding_planes(config) @ matrix[:3]
    by_column = (planes[:, 0, None] * x).astype(np.float32)
    offset = planes[:, 3] - np.array([_MIN_DEPTH, 0.0, 0.0, 0.0, 0.0])
    rest = planes[:, 2, None, None] * z[:, None] + planes[:, 1, None, None] * y + offset[:, None, None]
    limit = -rest.astype(np.float32)  # (5, Z, rows); inside is by_column > limit
    # Rows of which even the best column is outside of a plane need no look at their cells, and the other way round.
    rows = np.flatnonzero((by_column.max(axis=1)[:, None, None] > limit).all(axis=0).any(axis=0))
    columns = np.flatnonzero((by_column > limit.min(axis=(1, 2))[:, None]).all(axis=0))
    if not len(rows) or not len(columns):
        return np.zeros(0, dtype=np.int64)
    box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    is_inside = by_column[0, None, None, box[1]] > limit[0, :, box[0], None]
    for plane in range(1, len(planes)):
        is_inside &= by_column[plane, None, None, box[1]] > limit[plane, :, box[0], None]
    is_seen = np.zeros((config.bev_height, config.bev_width), dtype=bool)
    is_seen[box] = is_inside.any(axis=0)
    return np.flatnonzero(is_seen)


@lru_cache(maxsize=8)
def _axes(config: Dfa3dConfig) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return x of each column, y of each row and the pillar heights, as they stand in the anchors."""
    anchors = anchor_grid(config).astype(np.float64)
    return anchors[: config.bev_width, 0, 0], anchors[:: config.bev_width, 0, 1], anchors[0, :, 2]


@lru_cache(maxsize=8)
def _bounding_planes(config: Dfa3dConfig) -> Float64Array:
    """Return (5, 3) weights of (u*depth, v*depth, depth): depth, and the distances from the four borders times it."""
    height, width = config.padded_size
    origin = 0.5 if config.pixel_origin == "center" else 0.0
    return np.array(
        [
            [0.0, 0.0, 1.0],
            [1.0, 0.0, origin],
            [-1.0, 0.0, width - origin],
            [0.0, 1.0, origin],
            [0.0, -1.0, height - origin],
        ]
    )
