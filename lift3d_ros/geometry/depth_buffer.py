"""Which face of a mesh a pinhole camera sees in each pixel, and which vertices it sees; numpy alone, no graphics card.

Letters: V vertices, F faces, H, W rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.geometry.triangles import Faces, vertex_normals
from lift3d_ros.types import Float64Array

# Pixels that are looked at in one step: bounds the memory to 10 MB for each array.
_PIXELS_AT_ONCE = 400_000
_NEAREST = 1e-6
# A vertex counts as seen if it lies this many pixels' width behind what is nearest, more where it is seen at an angle.
_TOLERANCE_PX = 2.0
_SMALLEST_COSINE = 0.1


@dataclass(frozen=True, eq=False)
class DepthBuffer:
    """What a camera sees of a mesh.

    Args:
        depth: (H, W) along the optical axis, inf where nothing is seen.
        face: (H, W) int64, -1 where nothing is seen.
        weights: (H, W, 3) of the face's corners at the pixel, in space.
    """

    depth: Float64Array
    face: NDArray[np.int64]
    weights: Float64Array

    @property
    def is_hit(self) -> NDArray[np.bool_]:
        """(H, W) whether the pixel sees the mesh."""
        return np.asarray(self.face >= 0)


def draw_depth(
    points: Float64Array,
    faces: Faces,
    intrinsics: Float64Array,
    size: tuple[int, int],
    on_piece: Callable[[], object] = lambda: None,
) -> DepthBuffer:
    """Return what a camera sees of a mesh; faces that reach behind the camera are left out.

    Args:
        points: (V, 3) in the optical frame.
        intrinsics: (3, 3) in units of width and height of the picture, without skew.
        size: rows and columns.
        on_piece: called before each piece of the work; may raise to stop.
    """
    rows, columns = size
    inverse_depth = np.zeros(rows * columns)
    nearest = np.full(rows * columns, -1, dtype=np.int64)
    pixels = _pixels(points, intrinsics, size)
    in_front = points[:, 2] > _NEAREST
    kept = np.flatnonzero(in_front[faces].all(axis=1)) if len(faces) else np.zeros(0, dtype=np.int64)
    corners = pixels[faces[kept]]
    first = np.maximum(np.ceil(corners.min(axis=1)), 0).astype(np.int64)
    last = np.minimum(np.floor(corners.max(axis=1)), [columns - 1, rows - 1]).astype(np.int64)
    extent = (last - first + 1).max(axis=1, initial=0)
    is_on = (last >= first).all(axis=1)
    kept, corners, first, extent = kept[is_on], corners[is_on], first[is_on], extent[is_on]
    bucket = np.ceil(np.log2(np.maximum(extent, 1))).astype(np.int64)
    for power in np.unique(bucket):
        members = np.flatnonzero(bucket == power)
        side = 1 << int(power)
        step = max(1, _PIXELS_AT_ONCE // side**2)
        offsets = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)
        for start in range(0, len(members), step):
            on_piece()
            some = members[start : start + step]
            at = first[some][:, None] + offsets
            weights = _weights(corners[some], at)
            inverse = (weights / points[faces[kept[some]], 2][:, None]).sum(axis=2)
            is_inside = (weights >= -1e-9).all(axis=2) & (at[..., 0] < columns) & (at[..., 1] < rows)
            flat = (at[..., 1] * columns + at[..., 0])[is_inside]
            inverse = inverse[is_inside]
            face = np.broadcast_to(kept[some][:, None], is_inside.shape)[is_inside]
            is_nearer = inverse > inverse_depth[flat]
            flat, inverse, face = flat[is_nearer], inverse[is_nearer], face[is_nearer]
            order = np.argsort(inverse, kind="stable")  # of several for one pixel the last is kept
            inverse_depth[flat[order]] = inverse[order]
            nearest[flat[order]] = face[order]
    return _buffer(points, faces, pixels, inverse_depth, nearest, size)


def visible_vertices(
    points: Float64Array,
    faces: Faces,
    intrinsics: Float64Array,
    size: tuple[int, int] = (512, 512),
    on_piece: Callable[[], object] = lambda: None,
) -> NDArray[np.bool_]:
    """Return (V,) whether a camera sees each vertex: in its picture, facing it, with nothing in front.

    Args:
        points: (V, 3) in the optical frame.
        intrinsics: (3, 3) in units of width and height of the picture, without skew.
        size: rows and columns of the picture that decides what is in front; a face should cover few of its pixels.
        on_piece: called before each piece of the work; may raise to stop.
    """
    if not len(faces):
        return np.zeros(len(points), dtype=bool)
    buffer = draw_depth(points, faces, intrinsics, size, on_piece)
    distance = np.maximum(np.linalg.norm(points, axis=1), _NEAREST)
    cosine = -np.einsum("vi,vi->v", vertex_normals(points, faces), points) / distance
    nearest_pixel = np.rint(_pixels(points, intrinsics, size))
    rows, columns = size
    is_in = (points[:, 2] > _NEAREST) & (nearest_pixel >= 0).all(axis=1) & (nearest_pixel < [columns, rows]).all(axis=1)
    column, row = np.where(is_in[:, None], nearest_pixel, 0).astype(np.int64).T
    pixel_width = points[:, 2] / (intrinsics[0, 0] * columns)
    tolerance = _TOLERANCE_PX * pixel_width / np.maximum(cosine, _SMALLEST_COSINE)
    # A vertex whose faces have no area has no normal, and faces any side.
    return np.asarray(is_in & (cosine >= 0.0) & (points[:, 2] <= buffer.depth[row, column] + tolerance))


def _pixels(points: Float64Array, intrinsics: Float64Array, size: tuple[int, int]) -> Float64Array:
    """Return (V, 2) column and row, 0 at the centre of the first pixel."""
    depth = np.maximum(points[:, 2], _NEAREST)
    scale = np.array([size[1], size[0]], dtype=np.float64)
    focal, center = np.diag(intrinsics)[:2] * scale, intrinsics[:2, 2] * scale
    return np.asarray(points[:, :2] / depth[:, None] * focal + center - 0.5)


def _weights(corners: Float64Array, at: NDArray[np.int64]) -> Float64Array:
    """Return weights (B, P, 3) of the corners (B, 3, 2) of faces at pixels (B, P, 2); some negative outside."""
    first, second, third = corners[:, None, 0], corners[:, None, 1], corners[:, None, 2]

    def twice_area(a: Float64Array, b: Float64Array, c: Float64Array) -> Float64Array:
        return np.asarray(
            (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])
        )

    place = at.astype(np.float64)
    parts = np.stack(
        [twice_area(second, third, place), twice_area(third, first, place), twice_area(first, second, place)], axis=2
    )
    whole = twice_area(first, second, third)
    whole = np.where(np.abs(whole) < 1e-12, np.nan, whole)  # nan is inside of nothing
    return np.asarray(parts / whole[..., None])


def _buffer(
    points: Float64Array,
    faces: Faces,
    pixels: Float64Array,
    inverse_depth: Float64Array,
    nearest: NDArray[np.int64],
    size: tuple[int, int],
) -> DepthBuffer:
    depth = np.full(len(nearest), np.inf)
    weights = np.zeros((len(nearest), 3))
    hit = np.flatnonzero(nearest >= 0)
    if len(hit):
        depth[hit] = 1.0 / inverse_depth[hit]
        corners = faces[nearest[hit]]
        at = np.stack([hit % size[1], hit // size[1]], axis=1)
        in_picture = _weights(pixels[corners], at[:, None])[:, 0]
        weights[hit] = in_picture / points[corners, 2] * depth[hit, None]
    return DepthBuffer(depth.reshape(size), nearest.reshape(size), weights.reshape(*size, 3))
