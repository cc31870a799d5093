"""Cuts a surface out of a density that is costly to ask: coarse to fine, with fine cells only where the surface may be.

Grids of three levels (every 4th, every 2nd and every node) halve the spacing in cells with nodes on both sides of the
surface, and in cells whose values come close to it for what they change by around. The second finds parts that are
thinner than a coarse cell; only a part whose density shows at no coarse node is lost. What was not asked has the side
of the nearest coarser node. The last level is held in slabs, so that memory grows with an eighth of the fine grid.

Letters: P points.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import Lift3dError
from lift3d_ros.geometry.surface_cells import (
    BoolArray,
    Float32Array,
    crossed,
    may_hold_surface,
    nodes_of,
    split,
    spread,
    widened,
)

# Maps points (P, 3) float32 to densities (P,).
Density = Callable[[Float32Array], NDArray[Any]]

COARSEST_STRIDE = 4
# Nodes of one slab of the last level: 16 MB in float32.
_NODES_AT_ONCE = 4_000_000
# A value of exactly 0 would put several vertices into one place.
_SMALLEST = 1e-20
_LARGEST = 1e30


@dataclass(frozen=True, eq=False)
class Surface:
    """A surface as triangles that face outwards; without any where the density has none.

    Args:
        vertices: (V, 3) float64, in the frame of the cube.
        faces: (F, 3) int64, anticlockwise seen from outside.
        num_queries: points that the density was asked for.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    num_queries: int

    @property
    def is_empty(self) -> bool:
        """Whether there is no surface."""
        return len(self.faces) == 0


def extract_surface(
    density: Density,
    half_side: float,
    level: float,
    *,
    num_cells: int = 256,
    is_dense: bool = False,
    is_closed: bool = True,
    points_at_once: int = 16384,
    on_points: Callable[[int], object] = lambda count: None,
) -> Surface:
    """Return the surface where the density in a cube about the origin passes a level.

    Memory beside the density's own is below ``max_memory_bytes(num_cells)`` and the triangles.

    Args:
        density: larger inside, and at least 0 everywhere for levels above 0; what is not a number counts as empty.
        half_side: of the cube.
        num_cells: along an axis, a multiple of 4.
        is_dense: ask every node of the fine grid, as a reference.
        is_closed: what reaches the cube's border is closed there; otherwise the surface has holes there.
        points_at_once: largest number of points in one call of `density`.
        on_points: called with each number of points before they are asked; may raise to stop.

    Raises:
        ValueError: a number is out of range.
        Lift3dError: scikit-image is not installed.
    """
    if num_cells < COARSEST_STRIDE or num_cells % COARSEST_STRIDE or not half_side > 0 or not np.isfinite(level):
        raise ValueError(
            f"surface with {num_cells} cells, half side {half_side} and level {level}: expected a positive multiple of "
            f"{COARSEST_STRIDE} cells, a positive half side and a finite level"
        )
    if importlib.util.find_spec("skimage") is None:
        raise Lift3dError("cutting a surface needs scikit-image, not installed; 'pip install scikit-image'")
    grid = _Grid(density, half_side, level, num_cells, is_closed, points_at_once, on_points)
    values, is_surface = _coarse_levels(grid, is_dense=is_dense)
    vertices, faces = _fine_level(grid, values, is_surface)
    scale = 2.0 * half_side / num_cells
    return Surface(vertices * scale - half_side, faces, grid.num_queries)


def max_memory_bytes(num_cells: int) -> int:
    """Return what :func:`extract_surface` needs at most beside the triangles and the density's own memory.

    That is the grid of every 2nd node with masks and scratch, and 16 bytes for each node of a slab.
    """
    coarse = (num_cells // 2 + 1) ** 3
    return 16 * coarse + 16 * max(_NODES_AT_ONCE, 5 * (num_cells + 1) ** 2) + 20_000_000


class _Grid:
    """Asks for densities at nodes of the fine grid; `ask` gives them relative to the level, above 0 inside."""

    def __init__(
        self,
        density: Density,
        half_side: float,
        level: float,
        num_cells: int,
        is_closed: bool,
        points_at_once: int,
        on_points: Callable[[int], object],
    ) -> None:
        self.density = density
        self.half_side = half_side
        self.level = level
        self.num_cells = num_cells
        self.is_closed = is_closed
        self.points_at_once = points_at_once
        self.on_points = on_points
        self.num_queries = 0
        self.emptiness = max(abs(level), 1e-6)

    def ask(self, values: Float32Array, wanted: BoolArray, stride: int, first: int = 0) -> None:
        """Fill in the wanted nodes of a grid of the given stride, which begins at plane `first` of its own grid."""
        flat = np.flatnonzero(wanted)
        spacing = 2.0 * self.half_side / self.num_cells
        target = values.reshape(-1)
        for start in range(0, len(flat), self.points_at_once):
            piece = flat[start : start + self.points_at_once]
            nodes = np.stack(np.unravel_index(piece, values.shape), axis=1)
            nodes[:, 0] += first
            nodes *= stride
            self.on_points(len(piece))
            points = (nodes * spacing - self.half_side).astype(np.float32)
            found: NDArray[Any] = np.asarray(self.density(points), dtype=np.float64) - self.level
            found = np.where(np.isnan(found), -self.emptiness, found)
            if self.is_closed:
                at_border = ((nodes == 0) | (nodes == self.num_cells)).any(axis=1)
                found = np.where(at_border, np.minimum(found, -self.emptiness), found)
            relative = np.clip(found, -_LARGEST, _LARGEST).astype(np.float32)
            relative[np.abs(relative) < _SMALLEST] = _SMALLEST
            target[piece] = relative
            self.num_queries += len(piece)


def _coarse_levels(grid: _Grid, *, is_dense: bool) -> tuple[Float32Array, BoolArray]:
    """Return the grid of every 2nd node, and which of its cells the last level has to look into."""
    stride = COARSEST_STRIDE
    side = grid.num_cells // stride + 1
    values = np.empty((side,) * 3, dtype=np.float32)
    grid.ask(values, np.ones(values.shape, dtype=bool), stride)
    is_cell = np.full((side - 1,) * 3, is_dense) | may_hold_surface(values, grid.level)
    stride //= 2
    values, is_cell = spread(values), split(is_cell)
    is_known = np.zeros(values.shape, dtype=bool)
    is_known[::2, ::2, ::2] = True
    while True:
        wanted = nodes_of(is_cell)
        grid.ask(values, wanted & ~is_known, stride)
        is_known |= wanted
        # The surface may leave the cells that were looked into: go after it.
        beyond = crossed(values) & ~is_cell
        if not beyond.any():
            break
        is_cell |= widened(beyond)
    if is_dense:
        return values, np.ones(is_cell.shape, dtype=bool)
    return values, may_hold_surface(values, grid.level)


def _fine_level(grid: _Grid, coarse: Float32Array, is_cell: BoolArray) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return vertices in units of fine cells, and faces."""
    from skimage.measure import marching_cubes

    side = grid.num_cells + 1
    thickness = max(2, 2 * (_NODES_AT_ONCE // side**2 // 2))
    parts: list[NDArray[np.float64]] = []
    faces: list[NDArray[np.int64]] = []
    last_plane: Float32Array | None = None
    seam: tuple[NDArray[np.float64], NDArray[np.int64]] | None = None
    count = 0
    for start in range(0, grid.num_cells, thickness):
        end = min(start + thickness, grid.num_cells)
        cells = slice(start // 2, end // 2)
        values = spread(coarse[cells.start : cells.stop + 1])
        # Neighbours beyond both ends share the nodes of the end planes.
        wider = is_cell[max(cells.start - 1, 0) : cells.stop + 1]
        wanted = nodes_of(split(wider))
        skipped = 2 if cells.start > 0 else 0
        wanted = wanted[skipped : skipped + len(values)]
        wanted[::2, ::2, ::2] = False
        if last_plane is not None:
            values[0], wanted[0] = last_plane, False
        grid.ask(values, wanted, 1, start)
        last_plane = values[-1].copy()
        if not (values.min() < 0.0 < values.max()):
            seam = None
            continue
        found, triangles, _, _ = marching_cubes(values, 0.0, gradient_direction="ascent")
        vertices = found.astype(np.float64)
        vertices[:, 0] += start
        index = np.arange(count, count + len(vertices))
        on_seam = np.flatnonzero(vertices[:, 0] == start)
        if seam is not None and len(on_seam):
            index = _joined(index, vertices, on_seam, *seam)
        is_new = index >= count
        index[is_new] = count + np.arange(int(is_new.sum()))
        parts.append(vertices[is_new])
        faces.append(index[triangles.astype(np.int64)])
        count += int(is_new.sum())
        at_end = np.flatnonzero(vertices[:, 0] == end)
        seam = vertices[at_end], index[at_end]
    if not faces:
        return np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)
    joined = np.concatenate(faces)
    is_flat = (joined == np.roll(joined, 1, axis=1)).any(axis=1)  # lost a corner where slabs were joined
    return np.concatenate(parts), joined[~is_flat]


def _joined(
    index: NDArray[np.int64],
    vertices: NDArray[np.float64],
    on_seam: NDArray[np.int64],
    former: NDArray[np.float64],
    former_index: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Give vertices on the plane between two slabs the numbers that they have in the former one."""
    places = {tuple(vertex): number for vertex, number in zip(former.tolist(), former_index.tolist(), strict=True)}
    for position in on_seam:
        index[position] = places.get(tuple(vertices[position].tolist()), index[position])
    return index
