"""Facts of triangle meshes: normals, edges, connected parts, whether a surface is closed.

Letters: V vertices, F faces, E edges. Faces are anticlockwise seen from outside.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import Lift3dError
from lift3d_ros.types import Float64Array

Faces = NDArray[np.int64]


def face_normals(vertices: Float64Array, faces: Faces) -> Float64Array:
    """Return (F, 3) normals; their length is twice the area of the face."""
    corners = vertices[faces]
    return np.asarray(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))


def vertex_normals(vertices: Float64Array, faces: Faces) -> Float64Array:
    """Return (V, 3) unit normals, larger faces counting more; 0 for vertices that no face uses."""
    normals = face_normals(vertices, faces)
    total = np.stack(
        [np.bincount(faces.ravel(), np.repeat(normals[:, axis], 3), len(vertices)) for axis in range(3)], axis=1
    )
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-300))


def face_edges(faces: Faces) -> Faces:
    """Return (3 F, 2) edges of faces, the smaller vertex first; an edge appears once for each face that has it."""
    return np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)


def edge_uses(faces: Faces) -> tuple[Faces, NDArray[np.int64]]:
    """Return the different edges (E, 2) and how many faces have each, (E,)."""
    if not len(faces):
        return np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.int64)
    edges = face_edges(faces)
    span = int(faces.max()) + 1
    keys, counts = np.unique(edges[:, 0] * span + edges[:, 1], return_counts=True)
    return np.stack([keys // span, keys % span], axis=1), counts


def is_watertight(faces: Faces) -> bool:
    """Return whether each edge belongs to two faces; a mesh without faces is not watertight."""
    return len(faces) > 0 and bool((edge_uses(faces)[1] == 2).all())


def drop_unused(vertices: Float64Array, faces: Faces) -> tuple[Float64Array, Faces]:
    """Return the mesh without the vertices that no face uses."""
    is_used = np.zeros(len(vertices), dtype=bool)
    is_used[faces.ravel()] = True
    number = np.cumsum(is_used) - 1
    return vertices[is_used], np.asarray(number[faces], dtype=np.int64)


def keep_largest(vertices: Float64Array, faces: Faces) -> tuple[Float64Array, Faces, int]:
    """Return the connected part with the largest area, and how many parts were dropped.

    Raises:
        Lift3dError: scipy is not installed.
    """
    if not len(faces):
        return vertices, faces, 0
    part_of_face = connected(len(vertices), face_edges(faces))[faces[:, 0]]
    areas = np.bincount(part_of_face, np.linalg.norm(face_normals(vertices, faces), axis=1))
    num_parts = len(np.unique(part_of_face))
    if num_parts == 1:
        return vertices, faces, 0
    vertices, faces = drop_unused(vertices, faces[part_of_face == areas.argmax()])
    return vertices, faces, num_parts - 1


def connected(count: int, edges: Faces) -> NDArray[np.int64]:
    """Return the number of the connected part that each of `count` vertices belongs to.

    Raises:
        Lift3dError: scipy is not installed.
    """
    if importlib.util.find_spec("scipy") is None:
        raise Lift3dError("finding the parts of a mesh needs scipy, not installed; 'pip install scipy'")
    from scipy.sparse import coo_matrix  # type: ignore[import-untyped]
    from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

    graph: Any = coo_matrix((np.ones(len(edges), dtype=bool), (edges[:, 0], edges[:, 1])), (count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
