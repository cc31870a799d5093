"""Stands lifted shapes in front of the camera, each as the shape it is and as its depth-reversed copy.

The network gives a shape in a frame of its own. Where it stands follows from the keypoints alone: first by parallel
projection (orthographic-N-point), then, with intrinsics, by perspective. Joints that were seen stay on their rays;
only their depth is the shape's. Shape letters: B instances, J joints (padded), 2 hypotheses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.geometry.alignment import weighted_mean
from lift3d_ros.geometry.orthographic_n_point import orthographic_n_point
from lift3d_ros.geometry.pnp import refine_pose
from lift3d_ros.geometry.rotations import rotation_between
from lift3d_ros.types import Float64Array

# Rays farther from the middle of the object than this (as depth of the unit ray) are not used.
_LEAST_FORWARD = 0.1
_ITERATIONS = 4  # from the parallel pose it converges in three


@dataclass(frozen=True, eq=False)
class CenteredRays:
    """Rays as a camera would see them that looks at the object.

    Args:
        rays: (B, J, 2) x and y at z = 1.
        is_usable: (B, J).
        T_optical_view: (B, 3, 3) rotation from that camera to the optical frame, for points as columns.
    """

    rays: Float64Array
    is_usable: NDArray[np.bool_]
    T_optical_view: Float64Array


def look_at_instances(rays: Float64Array, is_seen: NDArray[np.bool_]) -> CenteredRays:
    """Turn rays (B, J, 2) so that the middle of each instance lies on the optical axis.

    Away from the middle of a wide picture a parallel projection is sheared; seen by a camera that looks at the object
    it is the one that the network was trained on.
    """
    full = np.concatenate([np.nan_to_num(rays), np.ones((*rays.shape[:2], 1))], axis=2)
    unit = full / np.linalg.norm(full, axis=2, keepdims=True)
    middle = weighted_mean(unit, is_seen.astype(np.float64))
    length = np.linalg.norm(middle, axis=1, keepdims=True)
    forward = np.array([0.0, 0.0, 1.0])
    middle = np.where(length > 1e-9, middle / np.maximum(length, 1e-9), forward)
    T_view_optical = rotation_between(middle, np.broadcast_to(forward, middle.shape))
    turned = unit @ np.swapaxes(T_view_optical, 1, 2)
    is_usable = is_seen & (turned[:, :, 2] > _LEAST_FORWARD)
    depth = np.where(is_usable, turned[:, :, 2], 1.0)
    centred = np.where(is_usable[:, :, None], turned[:, :, :2] / depth[:, :, None], 0.0)
    return CenteredRays(centred, is_usable, np.swapaxes(T_view_optical, 1, 2))


@dataclass(frozen=True, eq=False)
class NormalisedPoints:
    """Points (B, J, 2) with their visible mean at 0 and their largest coordinate 1, and how to get back."""

    points: Float64Array
    center: Float64Array
    extent: Float64Array


def normalise_points(points: Float64Array, is_seen: NDArray[np.bool_]) -> NormalisedPoints:
    """Centre and scale points (B, J, 2); not seen ones become 0, and without extent all do (fact sheet 3.1 to 3.3)."""
    points = np.where(is_seen[:, :, None], points, 0.0)
    center = weighted_mean(points, is_seen.astype(np.float64))
    centred = np.where(is_seen[:, :, None], points - center[:, None], 0.0)
    extent = np.abs(centred).max(axis=(1, 2))
    return NormalisedPoints(centred / np.where(extent > 0, extent, 1.0)[:, None, None], center, extent)


@dataclass(frozen=True, eq=False)
class PlacedShapes:
    """Both hypotheses of each instance.

    Args:
        joints: (B, 2, J, 3), the shape as given and depth-reversed, in units of half the extent in 2D: camera frame
            with the camera at the origin where intrinsics are known, else centred on the visible joints.
        size: (B,) length of 1 RMS size of the shape in that unit.
        residuals: (B, 2) root mean square distance of the placed model from the keypoints, in that unit.
        is_determined: (B,) False where keypoints or shape lie on a line: the turn about it is arbitrary.
    """

    joints: Float64Array
    size: Float64Array
    residuals: Float64Array
    is_determined: NDArray[np.bool_]


def mean_joint(joints: Float64Array, is_counted: NDArray[np.bool_]) -> Float64Array:
    """Return the means (B, 2, 3) of the joints (B, 2, J, 3) that count (B, J); zeros where none does."""
    weights = is_counted / np.maximum(is_counted.sum(axis=1, keepdims=True), 1)
    return np.asarray((weights[:, None, None] @ joints)[:, :, 0])


def place_parallel(shape: Float64Array, points: Float64Array, is_seen: NDArray[np.bool_]) -> PlacedShapes:
    """Place shapes (B, J, 3) over normalised points (B, J, 2) by parallel projection; seen joints keep x and y."""
    pose = orthographic_n_point(shape, points, is_seen.astype(np.float64))
    placed = pose.place(shape)
    placed[:, :, 2] -= weighted_mean(placed[:, :, 2:], is_seen.astype(np.float64))
    kept = placed.copy()
    kept[:, :, :2] = np.where(is_seen[:, :, None], points, placed[:, :, :2])
    both = np.stack([kept, kept * [1.0, 1.0, -1.0]], axis=1)
    return PlacedShapes(both, pose.scale, np.stack([pose.residual] * 2, axis=1), pose.is_determined)


def place_perspective(shape: Float64Array, normalised: NormalisedPoints, is_seen: NDArray[np.bool_]) -> PlacedShapes:
    """Place shapes (B, J, 3) by perspective; `normalised` are rays at z = 1 (B, J, 2), centred and scaled.

    The parallel pose is the start; from it each hypothesis is fitted to the rays, so a wrong one shows a larger
    residual where the camera is near enough. Source: fact sheet 7.7, 7.12 and 13.8.
    """
    weights = is_seen.astype(np.float64)
    pose = orthographic_n_point(shape, normalised.points, weights)
    placed = pose.place(shape)
    placed[:, :, 2] -= weighted_mean(placed[:, :, 2:], weights)
    count, joints = shape.shape[:2]
    models = np.stack([placed, placed * [1.0, 1.0, -1.0]], axis=1).reshape(2 * count, joints, 3)
    extent = np.repeat(np.maximum(normalised.extent, 1e-9), 2)
    rays = np.repeat(normalised.points * normalised.extent[:, None, None] + normalised.center[:, None], 2, axis=0)
    both_weights = np.repeat(weights, 2, axis=0)
    # At least so far away that no joint is behind the camera.
    distance = np.maximum(1.0 / extent, 1.2 * np.abs(models[:, :, 2]).max(axis=1) + 1e-3)
    center = np.repeat(normalised.center, 2, axis=0) * distance[:, None]
    start = np.concatenate([center, distance[:, None]], axis=1)
    turn = np.tile(np.eye(3), (2 * count, 1, 1))
    fitted = refine_pose(models, rays, both_weights, turn, start, _ITERATIONS)
    standing = fitted.place(models)
    depth = np.maximum(standing[:, :, 2], 1e-3)
    on_rays = np.concatenate([rays, np.ones((*rays.shape[:2], 1))], axis=2) * depth[:, :, None]
    # In space and not in the picture, where the joints nearest to the camera would count for more.
    aside2 = np.einsum("bj,bji->b", both_weights, (on_rays - standing)[:, :, :2] ** 2)
    residuals = np.sqrt(aside2 / np.maximum(both_weights.sum(axis=1), 1.0))
    standing = np.where(both_weights[:, :, None] > 0, on_rays, standing)
    return PlacedShapes(
        standing.reshape(count, 2, joints, 3),
        pose.scale,
        np.where(np.isfinite(fitted.residual), residuals, np.inf).reshape(count, 2),
        pose.is_determined,
    )
