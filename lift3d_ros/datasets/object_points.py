"""Tells for points around a mesh whether they are inside, and what colour the surface beside them has.

Meshes may be open, or wound at random: what no camera all around can look through is inside, and so is what is hardly
away from a surface that is seen from both sides. So a closed box is solid, a mug is hollow and a sheet of paper has a
thickness.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.datasets.object_renders import Framing, Light, ObjectRenderer, frame_object, turned_rotation
from lift3d_ros.datasets.object_views import ObjectPoints
from lift3d_ros.geometry.rigid import invert, transform_points
from lift3d_ros.simulation.meshes import Mesh
from lift3d_ros.types import Float32Array, Float64Array, UInt8Array

_DIRECTIONS = 40
_SAMPLES = 24_000
# In shares of the longest side of the object.
_HALF_THICKNESS = 0.012
_NEAR_OFFSETS = (0.012, 0.045)
_COLOR_REACH = 0.03
_MARGIN = 0.06
_SLACK = 0.012


class DepthCarver:
    """Depth pictures of a mesh from all around."""

    def __init__(self, renderer: ObjectRenderer, mesh: Mesh, num_directions: int = _DIRECTIONS) -> None:
        """Draw the mesh, which `renderer` has loaded."""
        framing = Framing(focal=2.0, fill=0.95)
        corners = np.unique(mesh.positions, axis=0)
        self._size = float((corners.max(axis=0) - corners.min(axis=0)).max())
        self._focal = framing.focal
        self._views: list[tuple[Float64Array, Float32Array]] = []
        for azimuth, elevation in even_directions(num_directions):
            pose, _ = frame_object(corners, turned_rotation(azimuth, elevation), framing)
            self._views.append((invert(pose), renderer.draw(pose, framing.focal, Light())[1]))

    def hidden(self, points: Float64Array) -> NDArray[np.bool_]:
        """Return whether no camera sees through points (P, 3), (P,)."""
        result = np.ones(len(points), dtype=np.bool_)
        for T_camera_object, depth in self._views:
            left = np.flatnonzero(result)
            seen = transform_points(T_camera_object, points[left])
            side = len(depth)
            pixel = (self._focal * seen[:, :2] / seen[:, 2:] + 0.5) * side
            inside = (pixel >= 0.0).all(axis=1) & (pixel < side).all(axis=1)
            column, row = np.clip(pixel.astype(np.int64), 0, side - 1).T
            found = depth[row, column]
            is_open = (found == 0.0) | (seen[:, 2] < found - _SLACK * self._size) | ~inside
            result[left[is_open]] = False
        return result


def label_points(
    renderer: ObjectRenderer, mesh: Mesh, light: Light, num_points: int, rng: np.random.Generator
) -> ObjectPoints:
    """Return labelled points: two of three near the surface, the rest in the box around the object.

    Args:
        renderer: has loaded `mesh`.
        light: that pictures of the mesh are taken in.
    """
    from scipy.spatial import cKDTree  # type: ignore[import-untyped]

    carver = DepthCarver(renderer, mesh)
    surface, normals, albedo = sample_surface(mesh, _SAMPLES, rng)
    lower, upper = mesh.bounds
    size = float((upper - lower).max())
    # A normal points to the side from which the surface is seen.
    step = 2.0 * _SLACK * size * normals
    is_closed, is_closed_behind = carver.hidden(surface + step), carver.hidden(surface - step)
    is_turned, sheets = is_closed & ~is_closed_behind, surface[~is_closed & ~is_closed_behind]
    normals = np.where(is_turned[:, None], -normals, normals)
    lit = np.clip(albedo * light.shade(normals)[:, None], 0.0, 255.0)
    num_near = 2 * num_points // 3
    chosen = rng.integers(0, len(surface), num_near)
    spread = size * rng.choice(_NEAR_OFFSETS, num_near)
    near = surface[chosen] + rng.normal(size=(num_near, 3)) * spread[:, None]
    margin = _MARGIN * size
    around = rng.uniform(lower - margin, upper + margin, (num_points - num_near, 3))
    points = np.concatenate([near, around])
    distances, nearest = cKDTree(surface).query(points)
    is_inside = carver.hidden(points)
    if len(sheets):
        is_inside |= cKDTree(sheets).query(points)[0] < _HALF_THICKNESS * size
    return ObjectPoints(
        points.astype(np.float32), is_inside, lit[nearest].astype(np.uint8), distances < _COLOR_REACH * size
    )


def sample_surface(mesh: Mesh, count: int, rng: np.random.Generator) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return points on a mesh, evenly by area, their normals (N, 3) and colours (N, 3) sRGB 0..255."""
    corners = mesh.positions.reshape(-1, 3, 3).astype(np.float64)
    face, weights = draw_on_triangles(corners, count, rng)

    def blend(values: NDArray[np.generic]) -> Float64Array:
        return np.asarray((values.reshape(len(corners), 3, -1)[face].astype(np.float64) * weights).sum(axis=1))

    normals = blend(mesh.normals)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    colors = blend(mesh.colors[:, :3])
    if mesh.texture is not None and mesh.uvs is not None:
        uvs = blend(mesh.uvs)
        colors = np.where(uvs[:, :1] < -0.5, colors, colors / 255.0 * _texels(mesh.texture, uvs))
    return blend(mesh.positions), normals, colors


def draw_on_triangles(
    corners: Float64Array, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], Float64Array]:
    """Return triangles (N,) of corners (F, 3, 3) and weights (N, 3, 1) of their corners: points evenly by area."""
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    face = rng.choice(len(corners), count, p=areas / areas.sum())
    first, second = np.sqrt(rng.uniform(size=count)), rng.uniform(size=count)
    return face, np.stack([1.0 - first, first * (1.0 - second), first * second], axis=1)[..., None]


def even_directions(count: int) -> list[tuple[float, float]]:
    """Return azimuths and elevations (rad) that cover the sphere evenly."""
    golden = np.pi * (3.0 - np.sqrt(5.0))
    heights = 1.0 - 2.0 * (np.arange(count) + 0.5) / count
    return [(float(golden * number % (2.0 * np.pi)), float(np.arcsin(z))) for number, z in enumerate(heights)]


def _texels(texture: UInt8Array, uvs: Float64Array) -> Float64Array:
    rows, columns = texture.shape[:2]
    places = np.mod(uvs, 1.0)
    row = np.minimum(((1.0 - places[:, 1]) * rows).astype(np.int64), rows - 1)
    column = np.minimum((places[:, 0] * columns).astype(np.int64), columns - 1)
    return np.asarray(texture[row, column], dtype=np.float64)
