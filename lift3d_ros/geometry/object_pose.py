"""Pose and size, in front of a real camera, of a mesh that was made from a part of its picture.

A mesh stands in front of the camera that its model assumes, and has no size. Its seen vertices lie on rays of the real
camera, which tells the pose but for one factor on everything; depth or a box gives that factor.
Letters: V vertices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.geometry.camera import project, unproject
from lift3d_ros.geometry.rigid import invert, make_transform, transform_points
from lift3d_ros.geometry.rotations import yaw_matrix
from lift3d_ros.types import Boxes3D, CameraModel, Float32Array, Float64Array

MeshScaleSource = Literal["depth", "box"]

# Relative errors that remain whatever the readings say: of depth sensors, and of the sizes of boxes.
_DEPTH_STD = 0.02
_BOX_STD = 0.05
# Enough for a pose; more only cost time.
_MOST_POINTS = 2000
_FEWEST_POINTS = 6
_FEWEST_READINGS = 12


class PictureSquare(NamedTuple):
    """A square of a picture: column of its left edge, row of its top edge, and side; px, may reach beyond it."""

    left: float
    top: float
    side: float

    def to_pixels(self, places: Float64Array) -> Float64Array:
        """Return pixels (V, 2) of places (V, 2) in the square, 0..1 from its left and top edge."""
        return np.asarray(np.array([self.left, self.top]) + places * self.side)


@dataclass(frozen=True, eq=False)
class PictureFit:
    """Where a mesh stands so that it covers its picture, in units of the mesh: all of it may be scaled.

    Args:
        T_cam_object: (4, 4), maps vertices into the optical frame.
        residual_px: root mean square distance of seen vertices from where the picture has them.
    """

    T_cam_object: Float64Array
    residual_px: float


@dataclass(frozen=True, eq=False)
class ObjectPose:
    """Pose of a mesh in metres: ``T_cam_object`` applied to ``scale`` times its vertices.

    Args:
        T_cam_object: (4, 4), translation in metres of the optical frame.
        scale: metres per unit of the mesh.
        scale_source: what told the size.
        scale_std: relative standard deviation of size and distance.
        residual_px: as in :class:`PictureFit`.
    """

    T_cam_object: Float64Array
    scale: float
    scale_source: MeshScaleSource
    scale_std: float
    residual_px: float

    def place(self, vertices: Float64Array) -> Float64Array:
        """Return vertices (V, 3) of the mesh in the optical frame, metres."""
        return transform_points(self.T_cam_object, self.scale * np.asarray(vertices, dtype=np.float64))


def fit_to_picture(
    vertices: Float64Array,
    is_seen: NDArray[np.bool_],
    T_object_view: Float64Array,
    view_intrinsics: Float64Array,
    square: PictureSquare,
    camera: CameraModel,
) -> PictureFit | None:
    """Return how a mesh stands in front of the real camera, None where too few of its vertices are seen.

    The mesh is turned as the model saw it, along the ray through the middle of the square, and moved to where it fits
    the picture best. That is exact where the assumed camera, turned so, sees the square.

    Args:
        vertices: (V, 3) object frame.
        is_seen: (V,) by the camera that the model assumes.
        T_object_view: (4, 4) pose of that camera.
        view_intrinsics: (3, 3) of it, in units of the square's side.
        square: what of the real picture the model was shown.
        camera: of the real picture.
    """
    chosen = np.flatnonzero(is_seen)
    chosen = chosen[:: max(1, len(chosen) // _MOST_POINTS)]
    if len(chosen) < _FEWEST_POINTS:
        return None
    in_view = transform_points(invert(T_object_view), vertices[chosen])
    places = in_view[:, :2] / in_view[:, 2:] * np.diag(view_intrinsics)[:2] + view_intrinsics[:2, 2]
    pixels = square.to_pixels(places)
    rays = unproject(camera, pixels)
    is_good = np.isfinite(rays).all(axis=1)
    center = unproject(camera, square.to_pixels(view_intrinsics[None, :2, 2]))[0]
    if is_good.sum() < _FEWEST_POINTS or not np.isfinite(center).all():
        return None
    rotation = _look_along(center) @ T_object_view[:3, :3].T
    turned = vertices[chosen] @ rotation.T
    T_cam_object = make_transform(rotation, _translation(turned[is_good], rays[is_good, :2]))
    if (turned[:, 2] + T_cam_object[2, 3]).min() <= 0.0:
        return None
    projected, is_valid = project(camera, transform_points(T_cam_object, vertices[chosen]))
    offsets = (projected - pixels)[is_valid & is_good]
    residual = float(np.sqrt((offsets**2).sum(axis=1).mean())) if len(offsets) else float("inf")
    return PictureFit(T_cam_object, residual)


def pose_from_depth(
    fit: PictureFit, vertices: Float64Array, is_seen: NDArray[np.bool_], camera: CameraModel, depth: Float32Array
) -> ObjectPose | None:
    """Return the pose whose seen surface lies at the measured depth; None where hardly any of it is measured.

    The median over all seen vertices, so less than half of them may be hidden behind something nearer.

    Args:
        depth: (H, W) metres along the optical axis of the same camera, 0 or not finite where not measured.
    """
    placed = transform_points(fit.T_cam_object, vertices[is_seen])
    pixels, is_valid = project(camera, placed)
    height, width = depth.shape
    # Depth may be smaller than the picture, as long as it shows the same.
    at = np.rint((pixels + 0.5) * np.array([width / camera.width, height / camera.height]) - 0.5)
    is_in = is_valid & (at >= 0).all(axis=1) & (at < [width, height]).all(axis=1)
    columns, rows = at[is_in].astype(np.int64).T
    measured = depth[rows, columns].astype(np.float64)
    is_measured = np.isfinite(measured) & (measured > 0)
    if is_measured.sum() < _FEWEST_READINGS:
        return None
    ratios = measured[is_measured] / placed[is_in][is_measured, 2]
    scale = float(np.median(ratios))
    # Errors of the guessed shape are common to many vertices, so their number makes the scale no more certain.
    scatter = 1.4826 * float(np.median(np.abs(ratios / scale - 1.0)))
    return _scaled(fit, scale, "depth", float(np.hypot(_DEPTH_STD, scatter)))


def pose_from_box(fit: PictureFit, vertices: Float64Array, box: Boxes3D, T_cam_box: Float64Array) -> ObjectPose | None:
    """Return the pose in which the mesh is as large as a box; None for a mesh or box without a size.

    Length, width and height are compared along the axes of the box, and their ratios averaged; where the mesh stands
    is left to the picture.

    Args:
        box: one box, in any frame.
        T_cam_box: (4, 4) from its frame to the optical frame.

    Raises:
        ValueError: `box` holds not exactly one.
    """
    if len(box) != 1:
        raise ValueError(f"{len(box)} boxes; expected the one of the object")
    axes = T_cam_box[:3, :3] @ yaw_matrix(float(box.yaws[0]))
    if not len(vertices):
        return None
    extents = np.ptp(vertices @ fit.T_cam_object[:3, :3].T @ axes, axis=0)
    if extents.min() <= 1e-9 or box.sizes[0].min() <= 0:
        return None
    ratios = np.log(box.sizes[0] / extents)
    return _scaled(fit, float(np.exp(ratios.mean())), "box", float(np.hypot(_BOX_STD, ratios.std())))


def _translation(points: Float64Array, rays: Float64Array) -> Float64Array:
    """Return the translation (3,) that brings points (V, 3) nearest to rays (V, 2), x and y at z = 1."""
    rows = np.zeros((2, len(points), 3))
    rows[0, :, 0] = rows[1, :, 1] = 1.0
    rows[:, :, 2] = -rays.T
    wanted = rays.T * points[:, 2] - points[:, :2].T
    return np.asarray(np.linalg.lstsq(rows.reshape(-1, 3), wanted.reshape(-1), rcond=None)[0])


def _scaled(fit: PictureFit, scale: float, source: MeshScaleSource, std: float) -> ObjectPose:
    pose = make_transform(fit.T_cam_object[:3, :3], scale * fit.T_cam_object[:3, 3])
    return ObjectPose(pose, scale, source, std, fit.residual_px)


def _look_along(ray: Float64Array) -> Float64Array:
    """Return the smallest rotation (3, 3) that takes the optical axis to a ray."""
    direction = ray / np.linalg.norm(ray)
    axis = np.cross([0.0, 0.0, 1.0], direction)
    skew = np.array([[0.0, -axis[2], axis[1]], [axis[2], 0.0, -axis[0]], [-axis[1], axis[0], 0.0]])
    return np.asarray(np.eye(3) + skew + skew @ skew / (1.0 + direction[2]))
