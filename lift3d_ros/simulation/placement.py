"""Items as arrays: where they are, which of them a camera sees, and in which order they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lift3d_ros.simulation.mesh_store import MeshStore, StoredMesh
from lift3d_ros.types import Float64Array

if TYPE_CHECKING:
    from lift3d_ros.simulation.renderer import Item

GROUND_RADIUS_M = 60.0
"""Meshes that reach farther are taken to be ground, and drawn after what stands on it."""


@dataclass(frozen=True, eq=False)
class Placed:
    """Items with what is computed for all of them at once.

    Args:
        poses: (N, 4, 4) from mesh to world.
        middles, radii: (N, 3) and (N,) of the enclosing spheres in the world, metres.
    """

    items: Sequence[Item]
    meshes: Sequence[StoredMesh]
    poses: Float64Array
    middles: Float64Array
    radii: Float64Array


def place(store: MeshStore, items: Sequence[Item]) -> Placed:
    """Look up the meshes of items and compute where they are."""
    meshes = [store[item.mesh] for item in items]
    poses = np.array([item.T_world_mesh for item in items]).reshape(-1, 4, 4)
    middles = np.array([mesh.middle for mesh in meshes]).reshape(-1, 3)
    middles = (poses[:, :3, :3] @ middles[:, :, None])[:, :, 0] + poses[:, :3, 3]
    return Placed(items, meshes, poses, middles, np.array([mesh.radius for mesh in meshes]))


def in_view(placed: Placed, projection: Float64Array, eye: Float64Array) -> list[int]:
    """Return the numbers of the items to draw with a projection (4, 4) from the world, in the order of drawing."""
    planes = np.concatenate([projection[3] + projection[:3], projection[3] - projection[:3]])
    planes /= np.linalg.norm(planes[:, :3], axis=1, keepdims=True)
    is_inside = placed.middles @ planes[:, :3].T + planes[:, 3] > -placed.radii[:, None] - 0.5
    layers = np.array([item.mark_layer for item in placed.items])
    is_drawn = is_inside.all(axis=1) & np.array([item.is_visible for item in placed.items], dtype=bool)
    # Near things first: what they hide is then not shaded.
    distance = np.linalg.norm(placed.middles - eye, axis=1) - placed.radii
    order = np.lexsort((distance, placed.radii > GROUND_RADIUS_M, layers))
    return [int(i) for i in order if is_drawn[i]]


def columns(matrices: Float64Array) -> list[bytes]:
    """Return each of the matrices (N, 4, 4) as OpenGL takes it."""
    data = np.ascontiguousarray(matrices.transpose(0, 2, 1), dtype=np.float32)
    return [matrix.tobytes() for matrix in data]
