"""Meshes are written as GLB, PLY and OBJ, upright, in their colours, or with a texture of the field's colours."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lift3d_ros.errors import ConfigError, Lift3dError
from lift3d_ros.pipelines import object_mesh
from lift3d_ros.pipelines.object_mesh import bake_texture, check_mesh_path, linear_colors, write_mesh

needs_trimesh = pytest.mark.skipif(importlib.util.find_spec("trimesh") is None, reason="trimesh is not installed")
needs_pillow = pytest.mark.skipif(importlib.util.find_spec("PIL") is None, reason="Pillow is not installed")

# An octahedron that is tallest along z.
VERTICES = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 3], [0, 0, -3]], np.float64)
FACES = np.array([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]])
COLORS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [128, 128, 128], [10, 20, 30]], np.uint8)
IS_SEEN = np.array([True, False, True, False, True, False])


def loaded(path: Path) -> Any:
    import trimesh

    return trimesh.load(path, process=False, force="mesh")


def place_colors(points: Any) -> Any:
    """Encode places as colours."""
    return np.rint(255.0 * np.clip(points / [2.0, 2.0, 6.0] + 0.5, 0.0, 1.0)).astype(np.uint8)


@needs_trimesh
@pytest.mark.parametrize("ending", [".ply", ".obj"])
def test_ply_and_obj_keep_the_object_frame_and_the_colours(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "new folder" / f"mesh{ending}"
    write_mesh(path, VERTICES, FACES, COLORS, IS_SEEN)
    found = loaded(path)
    np.testing.assert_allclose(found.vertices, VERTICES, atol=1e-6)
    np.testing.assert_array_equal(found.faces, FACES)
    np.testing.assert_allclose(found.visual.vertex_colors[:, :3].astype(int), COLORS, atol=1)
    assert found.is_watertight
    assert found.volume > 0


@needs_trimesh
def test_glb_is_y_up_with_linear_colours_as_its_standard_says(tmp_path: Path) -> None:
    path = tmp_path / "mesh.glb"
    write_mesh(path, VERTICES, FACES, COLORS, IS_SEEN)
    found = loaded(path)
    np.testing.assert_allclose(found.vertices, VERTICES[:, [0, 2, 1]] * [1, 1, -1], atol=1e-6)
    assert np.ptp(found.vertices, axis=0).argmax() == 1
    np.testing.assert_array_equal(found.visual.vertex_colors[:, :3], linear_colors(COLORS))
    assert found.volume > 0
    np.testing.assert_array_equal(np.ravel(found.vertex_attributes["_is_seen"]), IS_SEEN)


@needs_trimesh
def test_a_ply_says_of_each_vertex_whether_it_was_seen(tmp_path: Path) -> None:
    path = tmp_path / "mesh.ply"
    write_mesh(path, VERTICES, FACES, COLORS, IS_SEEN)
    assert b"is_seen" in path.read_bytes().partition(b"end_header")[0]
    found = loaded(path).metadata["_ply_raw"]["vertex"]["data"]["is_seen"]
    np.testing.assert_array_equal(np.ravel(found), IS_SEEN)


def test_linear_colours_are_those_of_the_srgb_standard() -> None:
    np.testing.assert_array_equal(linear_colors(np.array([0, 10, 128, 188, 255], np.uint8)), [0, 1, 55, 128, 255])


def test_texels_have_the_colour_of_their_place() -> None:
    texture = bake_texture(VERTICES, FACES, place_colors, 64)
    assert texture.image.shape == (64, 64, 3)
    corners = VERTICES[FACES]
    rng = np.random.default_rng(0)
    for face in range(len(FACES)):
        weights = rng.dirichlet(np.ones(3), 20)
        expected = place_colors(weights @ corners[face]).astype(float)
        np.testing.assert_allclose(sampled(texture.image, weights @ texture.uvs[face]), expected, atol=1.5)


def sampled(image: Any, uvs: Any) -> Any:
    """Read a texture bilinearly, as viewers do."""
    side = len(image)
    x, y = uvs[:, 0] * side - 0.5, (1.0 - uvs[:, 1]) * side - 0.5
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    u, v = (x - column)[:, None], (y - row)[:, None]
    values = image.astype(float)
    above = (1 - u) * values[row, column] + u * values[row, column + 1]
    below = (1 - u) * values[row + 1, column] + u * values[row + 1, column + 1]
    return (1 - v) * above + v * below


def test_neighbours_in_the_texture_do_not_mix() -> None:
    """Each face in its own colour, read up to its corners."""
    of_face = np.random.default_rng(1).integers(0, 256, (len(FACES), 3), dtype=np.uint8)

    def colors_of(points: Any) -> Any:
        signs = (points > 0).astype(int)
        return table[signs[:, 0], signs[:, 1], signs[:, 2]]

    table = np.zeros((2, 2, 2, 3), np.uint8)
    for number, face in enumerate(FACES):
        table[tuple((VERTICES[face].sum(axis=0) > 0).astype(int))] = of_face[number]
    texture = bake_texture(VERTICES, FACES, colors_of, 64)
    inner = np.array([[0.96, 0.02, 0.02], [0.02, 0.96, 0.02], [0.02, 0.02, 0.96], [0.45, 0.45, 0.1], [1 / 3] * 3])
    for number in range(len(FACES)):
        found = sampled(texture.image, inner[3:] @ texture.uvs[number])
        np.testing.assert_allclose(found, np.tile(of_face[number], (2, 1)), atol=1e-9)


def test_the_texture_grows_with_the_mesh_and_says_when_it_is_full() -> None:
    many = np.tile(FACES, (500, 1))
    assert len(bake_texture(VERTICES, many, place_colors).image) == 1024
    with pytest.raises(ConfigError, match="has room for 128 triangles, the mesh has 4000"):
        bake_texture(VERTICES, many, place_colors, 64)


def test_baking_tells_how_far_it_is() -> None:
    shares: list[float] = []
    bake_texture(VERTICES, FACES, place_colors, 1024, shares.append)
    assert shares == sorted(shares)
    assert shares[0] == 0.0


@needs_trimesh
@needs_pillow
@pytest.mark.parametrize("ending", [".glb", ".obj"])
def test_a_textured_mesh_is_read_with_its_texture(tmp_path: Path, ending: str) -> None:
    texture = bake_texture(VERTICES, FACES, place_colors, 64)
    path = tmp_path / f"mug{ending}"
    write_mesh(path, VERTICES, FACES, COLORS, IS_SEEN, texture)
    found = loaded(path)
    material = found.visual.material
    image = material.baseColorTexture if ending == ".glb" else material.image
    np.testing.assert_allclose(np.asarray(image.convert("RGB")).astype(int), texture.image, atol=2)
    places = found.vertices if ending == ".obj" else found.vertices[:, [0, 2, 1]] * [1, -1, 1]
    shown = sampled(np.asarray(image.convert("RGB")), np.asarray(found.visual.uv))
    np.testing.assert_allclose(shown, place_colors(places).astype(float), atol=14.0)
    if ending == ".obj":
        assert {item.name for item in tmp_path.iterdir()} == {"mug.obj", "mug.mtl", "mug.png"}


@needs_trimesh
def test_files_that_cannot_be_written_are_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be written as '\.stl'; expected a name that ends in \.glb"):
        check_mesh_path(tmp_path / "mesh.stl")
    with pytest.raises(ConfigError, match="PLY files have no texture"):
        check_mesh_path(tmp_path / "mesh.ply", has_texture=True)
    with pytest.raises(Lift3dError, match="has no faces"):
        write_mesh(tmp_path / "mesh.ply", np.zeros((0, 3)), np.zeros((0, 3), np.int64), np.zeros((0, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_without_trimesh_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_mesh.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Lift3dError, match="'pip install trimesh Pillow'"):
        check_mesh_path(Path("mesh.glb"), has_texture=True)
