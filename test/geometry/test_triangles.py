"""Normals face outwards, closed meshes are told from torn ones, and parts are found."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from lift3d_ros.geometry.triangles import (
    drop_unused,
    edge_uses,
    face_normals,
    is_watertight,
    keep_largest,
    vertex_normals,
)

needs_scipy = pytest.mark.skipif(importlib.util.find_spec("scipy") is None, reason="scipy is not installed")

OCTAHEDRON = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], np.float64)
FACES = np.array([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]])


def two_octahedra(scale: float) -> tuple[Any, Any]:
    return np.concatenate([OCTAHEDRON, scale * OCTAHEDRON + 5.0]), np.concatenate([FACES, FACES + 6])


def test_normals_face_outwards_and_have_twice_the_area() -> None:
    normals = face_normals(OCTAHEDRON, FACES)
    assert (np.einsum("fi,fi->f", normals, OCTAHEDRON[FACES].mean(axis=1)) > 0).all()
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), np.sqrt(3.0))
    np.testing.assert_allclose(vertex_normals(OCTAHEDRON, FACES), OCTAHEDRON, atol=1e-12)


def test_a_vertex_without_faces_has_no_normal() -> None:
    lonely = np.concatenate([OCTAHEDRON, [[9.0, 9.0, 9.0]]])
    np.testing.assert_array_equal(vertex_normals(lonely, FACES)[-1], 0.0)
    vertices, faces = drop_unused(lonely, FACES)
    np.testing.assert_array_equal(vertices, OCTAHEDRON)
    np.testing.assert_array_equal(faces, FACES)


def test_a_mesh_with_a_hole_is_not_watertight() -> None:
    assert is_watertight(FACES)
    assert not is_watertight(FACES[1:])
    assert not is_watertight(np.zeros((0, 3), np.int64))
    edges, uses = edge_uses(FACES)
    assert len(edges) == 12
    assert (uses == 2).all()


@needs_scipy
@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_the_part_with_the_largest_area_is_kept(scale: float) -> None:
    vertices, faces, num_dropped = keep_largest(*two_octahedra(scale))
    assert num_dropped == 1
    assert len(faces) == 8
    assert is_watertight(faces)
    assert np.ptp(vertices) == pytest.approx(2.0 * max(scale, 1.0))


@needs_scipy
def test_a_mesh_in_one_piece_or_without_faces_stays_as_it_is() -> None:
    vertices, faces, num_dropped = keep_largest(OCTAHEDRON, FACES)
    assert num_dropped == 0
    assert vertices is OCTAHEDRON
    assert faces is FACES
    assert keep_largest(np.zeros((0, 3)), np.zeros((0, 3), np.int64))[2] == 0
