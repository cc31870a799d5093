"""Triangle meshes made from parameters: finishes, primitives and their combination.

A mesh is a list of triangles with a normal, a colour and a material at each corner. Primitives are flat shaded;
`smoothed` rounds the shading where faces meet at a small angle. Lengths are metres.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from lift3d_ros.geometry.rotations import yaw_matrix
from lift3d_ros.types import Float32Array, Float64Array, UInt8Array

Color = tuple[int, int, int]


class Material(IntEnum):
    """How a surface takes light; the numbers are those of the fragment shader."""

    MATTE = 0
    PAINT = 1
    GLASS = 2
    LAMP = 3
    ASPHALT = 4
    PAVING = 5
    GRASS = 6
    FOLIAGE = 7
    PLASTER = 8
    BRICK = 9
    METAL = 10


class Finish(NamedTuple):
    """Colour (sRGB, 0..255) and material of a surface."""

    color: Color
    material: Material = Material.MATTE


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles; each three rows make one.

    Args:
        positions: (N, 3) metres.
        normals: (N, 3) unit length; the side does not matter, the shader turns them to the viewer.
        colors: (N, 4) sRGB and the material's number.
        texture: (S, S, 3) uint8 sRGB, rows from the top, multiplied with the colours; None for none.
        uvs: (N, 2) place in the texture, v from the bottom; -1 and less where a corner takes its colour alone.
    """

    positions: Float32Array
    normals: Float32Array
    colors: UInt8Array
    texture: UInt8Array | None = None
    uvs: Float32Array | None = None

    @property
    def bounds(self) -> tuple[Float64Array, Float64Array]:
        """Lowest and highest corner of the enclosing box along the axes, (3,) each."""
        return self.positions.min(axis=0).astype(np.float64), self.positions.max(axis=0).astype(np.float64)


def point(x: float, y: float, z: float) -> Float64Array:
    """Return a point or a displacement, (3,)."""
    return np.array([x, y, z], dtype=np.float64)


def triangles(corners: Any, finish: Finish) -> Mesh:
    """Return flat triangles from corners (T, 3, 3); those without area are left out."""
    corners = np.asarray(corners, dtype=np.float64).reshape(-1, 3, 3)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1)
    corners, normals, length = corners[length > 1e-9], normals[length > 1e-9], length[length > 1e-9]
    colors = np.tile(np.array([*finish.color, finish.material], dtype=np.uint8), (3 * len(corners), 1))
    flat = np.repeat(normals / length[:, None], 3, axis=0)
    return Mesh(corners.reshape(-1, 3).astype(np.float32), flat.astype(np.float32), colors)


def quads(corners: Any, finish: Finish) -> Mesh:
    """Return quadrilaterals from corners (Q, 4, 3) in order around each."""
    corners = np.asarray(corners, dtype=np.float64).reshape(-1, 4, 3)
    return triangles(corners[:, [0, 1, 2, 0, 2, 3]], finish)


def combine(parts: Iterable[Mesh]) -> Mesh:
    """Return one mesh with the triangles of all parts, of which at most one texture is used."""
    meshes = list(parts)
    textures = {id(mesh.texture): mesh.texture for mesh in meshes if mesh.texture is not None}
    if len(textures) > 1:
        raise ValueError(f"combine: the parts have {len(textures)} different textures; a mesh has one")
    uvs = None
    if textures:
        uvs = np.concatenate(
            [np.full((len(m.positions), 2), -1, np.float32) if m.uvs is None else m.uvs for m in meshes]
        )
    return Mesh(
        np.concatenate([mesh.positions for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.colors for mesh in meshes]),
        next(iter(textures.values()), None),
        uvs,
    )


def placed(mesh: Mesh, position: Any, yaw: float = 0.0, pitch: float = 0.0) -> Mesh:
    """Return the mesh pitched about +y, turned by `yaw` about +z, then moved by `position` (3,)."""
    c, s = np.cos(pitch), np.sin(pitch)
    rotation = yaw_matrix(yaw) @ np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
    positions = mesh.positions @ rotation.T + np.asarray(position, dtype=np.float64)
    normals = (mesh.normals @ rotation.T).astype(np.float32)
    return replace(mesh, positions=positions.astype(np.float32), normals=normals)


def mirrored(mesh: Mesh) -> Mesh:
    """Return the mesh together with its mirror image across the plane y = 0."""
    flip = np.array([1.0, -1.0, 1.0], dtype=np.float32)
    return combine([mesh, replace(mesh, positions=mesh.positions * flip, normals=mesh.normals * flip)])


def smoothed(mesh: Mesh, crease_deg: float = 40.0) -> Mesh:
    """Return the mesh with normals averaged over faces that touch and differ by less than `crease_deg`."""
    corners = mesh.positions.reshape(-1, 3, 3).astype(np.float64)
    weighted = np.repeat(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), 3, axis=0)
    _, place = np.unique(np.round(mesh.positions, 4), axis=0, return_inverse=True)
    place = place.reshape(-1)
    order, counts = np.argsort(place, kind="stable"), np.bincount(place)
    first = np.cumsum(counts) - counts
    # Every pair of corners at the same place: corner number `own` takes part of the normal of corner `other`.
    pairs = counts[place]
    own = np.repeat(np.arange(len(place)), pairs)
    step = np.arange(len(own)) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    other = order[first[place[own]] + step]
    similar = (mesh.normals[own] * mesh.normals[other]).sum(axis=1) > np.cos(np.deg2rad(crease_deg))
    own, other = own[similar], other[similar]
    sums = np.stack([np.bincount(own, weighted[other, axis], len(place)) for axis in range(3)], axis=1)
    normals = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return replace(mesh, normals=normals.astype(np.float32))


def box(center: Any, size: Any, finish: Finish, *, top: tuple[float, float] = (1.0, 1.0)) -> Mesh:
    """Return a box along the axes; its top is scaled by `top` along x and y."""
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=np.float64)
    half = np.asarray(size, dtype=np.float64) / 2
    low = np.concatenate([signs * half[:2], np.full((4, 1), -half[2])], axis=1)
    high = np.concatenate([signs * half[:2] * top, np.full((4, 1), half[2])], axis=1)
    corners = np.concatenate([low, high]) + np.asarray(center, dtype=np.float64)
    faces = [[0, 3, 2, 1], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]]
    return quads(corners[faces], finish)


def cylinder(
    start: Any,
    end: Any,
    radius: float,
    finish: Finish,
    *,
    tip: float | None = None,
    sides: int = 10,
    has_caps: bool = True,
) -> Mesh:
    """Return a smooth cylinder or cone between two points (3,); `tip` is the radius at `end`."""
    start, end = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    axis = (end - start) / max(float(np.linalg.norm(end - start)), 1e-9)
    aside = np.array([0.0, 0.0, 1.0]) if abs(axis[2]) < 0.9 else np.array([0.0, 1.0, 0.0])
    across = aside - axis * (axis @ aside)
    across /= np.linalg.norm(across)
    # The third axis is written out: np.cross is slow for single vectors, and limbs are many.
    (a, b, c), (d, e, f) = axis.tolist(), across.tolist()
    upright = np.array([b * f - c * e, c * d - a * f, a * e - b * d])
    angle = np.linspace(0.0, 2 * np.pi, sides + 1)
    spokes = np.cos(angle)[:, None] * across + np.sin(angle)[:, None] * upright
    rings = np.stack([start + radius * spokes, end + (radius if tip is None else tip) * spokes])
    parts = [_curved(rings, np.stack([spokes, spokes]), finish)]
    if has_caps:
        parts += [fan(rings[0, :-1], finish), fan(rings[1, :-1], finish)]
    return combine(parts)


def ellipsoid(center: Any, radii: Any, finish: Finish, *, rings: int = 6, sides: int = 10) -> Mesh:
    """Return a smooth ellipsoid along the axes."""
    unit = unit_sphere(rings, sides)
    radii = np.asarray(radii, dtype=np.float64)
    return _curved(unit * radii + np.asarray(center, dtype=np.float64), unit / radii, finish)


def unit_sphere(rings: int, sides: int) -> Float64Array:
    """Return points (rings + 1, sides + 1, 3) from pole to pole; the last column repeats the first."""
    polar = np.linspace(0.0, np.pi, rings + 1)[:, None]
    angle = np.linspace(0.0, 2 * np.pi, sides + 1)[None]
    return np.stack([np.sin(polar) * np.cos(angle), np.sin(polar) * np.sin(angle), np.cos(polar) + 0 * angle], axis=-1)


def ring(center: Any, radius: float, thickness: float, finish: Finish, *, sides: int = 18) -> Mesh:
    """Return a torus whose axis is y, such as a tyre; `thickness` is the diameter of its tube."""
    angle = np.linspace(0.0, 2 * np.pi, sides + 1)[:, None]
    tube = np.linspace(0.0, 2 * np.pi, 7)[None]
    normals = np.stack([np.cos(tube) * np.cos(angle), np.sin(tube) + 0 * angle, np.cos(tube) * np.sin(angle)], axis=-1)
    spine = (radius - thickness / 2) * np.stack([np.cos(angle), 0 * angle, np.sin(angle)], axis=-1)
    return _curved(spine + thickness / 2 * normals + np.asarray(center, dtype=np.float64), normals, finish)


def _curved(points: Float64Array, normals: Float64Array, finish: Finish) -> Mesh:
    """Return the smooth surface over a grid of points (R, C, 3) with their normals, of any length."""

    def corners(grid: Float64Array) -> Float32Array:
        a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
        return np.asarray(np.stack([a, b, c, a, c, d], axis=2).reshape(-1, 3), dtype=np.float32)

    directions = corners(normals / np.linalg.norm(normals, axis=-1, keepdims=True))
    positions = corners(points)
    colors = np.tile(np.array([*finish.color, finish.material], dtype=np.uint8), (len(positions), 1))
    return Mesh(positions, directions, colors)


def loft(
    sections: Any, finish: Finish | Callable[[int, int], Finish], *, has_caps: bool = True, is_closed: bool = True
) -> Mesh:
    """Return the skin over successive sections.

    Args:
        sections: (S, P, 3) outlines of P points each.
        finish: for everything, or a function of the numbers of the section interval and of the point interval.
        has_caps: whether the first and the last section are closed by fans around their middle.
        is_closed: whether the last point of a section joins the first.
    """
    sections = np.asarray(sections, dtype=np.float64)
    following = np.roll(sections, -1, axis=1)
    count = sections.shape[1] if is_closed else sections.shape[1] - 1
    cells = np.stack([sections[:-1], following[:-1], following[1:], sections[1:]], axis=2)[:, :count]
    if isinstance(finish, Finish):
        parts = [quads(cells, finish)]
        cap_finish = finish
    else:
        by_finish: dict[Finish, list[Float64Array]] = {}
        for row in range(cells.shape[0]):
            for column in range(count):
                by_finish.setdefault(finish(row, column), []).append(cells[row, column])
        parts = [quads(np.stack(group), key) for key, group in by_finish.items()]
        cap_finish = finish(0, count - 1)
    if has_caps:
        for section in (sections[0], sections[-1][::-1]):
            parts.append(fan(section, cap_finish))
    return combine(parts)


def fan(outline: Any, finish: Finish) -> Mesh:
    """Return the face inside an outline (P, 3) whose middle sees all its corners."""
    outline = np.asarray(outline, dtype=np.float64)
    middle = np.broadcast_to(outline.mean(axis=0), outline.shape)
    return triangles(np.stack([middle, np.roll(outline, -1, axis=0), outline], axis=1), finish)


def extruded(profile: Any, width: float, finish: Finish) -> Mesh:
    """Return the body with the side view `profile` (P, 2: x, z) and the given width along y."""
    profile = np.asarray(profile, dtype=np.float64)
    outline = np.stack([profile[:, 0], np.zeros(len(profile)), profile[:, 1]], axis=1)
    shift = np.array([0.0, width / 2, 0.0])
    return loft(np.stack([outline - shift, outline + shift]), finish)
