"""Meshes get as few triangles as asked for, keep their shape, and stay watertight."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lift3d_ros.geometry.decimation import decimate
from lift3d_ros.geometry.surface import extract_surface
from lift3d_ros.geometry.triangles import face_normals, is_watertight

pytest.importorskip("skimage", reason="scikit-image is not installed")
pytest.importorskip("scipy", reason="scipy is not installed")


def ball(points: Any) -> Any:
    return 0.6 - np.linalg.norm(points, axis=1)


def thin_plate(points: Any) -> Any:
    """Thinner than the cells that few triangles need."""
    x, y, z = points.T
    return np.minimum(0.04 - np.abs(z), 0.7 - np.maximum(np.abs(x), np.abs(y)))


def ring(points: Any) -> Any:
    x, y, z = points.T
    return 0.15 - np.hypot(np.hypot(x, y) - 0.55, z)


def block(points: Any) -> Any:
    return 0.5 - np.abs(points).max(axis=1)


def volume(vertices: Any, faces: Any) -> float:
    corners = vertices[faces]
    return float(np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6.0)


def mesh_of(density: Any, num_cells: int = 64) -> tuple[Any, Any]:
    found = extract_surface(density, 1.0, 0.0, num_cells=num_cells)
    return found.vertices, found.faces


@pytest.mark.parametrize(
    ("shape", "error"),
    [(ball, 0.02), (ring, 0.1), (block, 0.05), pytest.param(thin_plate, 0.2, id="thin_plate, whose rim gets rounded")],
)
def test_a_closed_mesh_stays_closed_with_as_few_triangles_as_asked(shape: Any, error: float) -> None:
    vertices, faces = mesh_of(shape)
    fewer_vertices, fewer = decimate(vertices, faces, 800)
    assert 400 < len(fewer) <= 800
    assert is_watertight(fewer)
    assert len(np.unique(fewer)) == len(fewer_vertices)
    assert volume(fewer_vertices, fewer) == pytest.approx(volume(vertices, faces), rel=error)


def test_the_surface_hardly_moves() -> None:
    vertices, faces = decimate(*mesh_of(ball), 600)
    assert np.abs(ball(vertices)).max() < 0.01
    middles = vertices[faces].mean(axis=1)
    assert np.abs(ball(middles)).max() < 0.02
    outwards = np.einsum("fi,fi->f", face_normals(vertices, faces), middles)
    assert (outwards > 0).all()


def test_edges_of_a_block_stay_where_they_are() -> None:
    vertices, _ = decimate(*mesh_of(block), 500)
    np.testing.assert_allclose(vertices.max(axis=0), 0.5, atol=0.02)
    np.testing.assert_allclose(vertices.min(axis=0), -0.5, atol=0.02)


def test_a_mesh_that_is_small_enough_is_left_alone() -> None:
    vertices, faces = mesh_of(ball, 16)
    same_vertices, same = decimate(vertices, faces, len(faces))
    assert same_vertices is vertices
    assert same is faces


def test_a_mesh_of_noise_gets_as_few_triangles_as_asked_and_then_is_not_closed() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((25, 25, 25))

    def noise(points: Any) -> Any:
        column, row, layer = np.rint(12.0 * (points + 1.0)).astype(int).T
        return values[column, row, layer]

    vertices, faces = mesh_of(noise, 24)
    assert is_watertight(faces)
    _, fewer = decimate(vertices, faces, 500)
    assert 0 < len(fewer) <= 500


@pytest.mark.parametrize("shape", [ball, block])
def test_fewer_triangles_than_the_shape_needs_are_as_few_as_can_be(shape: Any) -> None:
    vertices, faces = decimate(*mesh_of(shape, 32), 4)
    assert 4 < len(faces) <= 40
    assert len(vertices) >= 4


def test_an_open_mesh_may_stay_open() -> None:
    vertices, faces = mesh_of(ball)
    top = faces[vertices[faces].mean(axis=1)[:, 2] > 0.0]
    _, fewer = decimate(vertices, top, 300)
    assert 100 < len(fewer) <= 300


def test_progress_is_told_and_the_work_can_be_stopped() -> None:
    shares: list[float] = []
    decimate(*mesh_of(ball, 32), 100, shares.append)
    assert shares == sorted(shares)
    assert len(shares) > 3

    def stop(fraction: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        decimate(*mesh_of(ball, 32), 100, stop)


def test_fewer_faces_than_a_tetrahedron_has_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 4"):
        decimate(*mesh_of(ball, 16), 3)
