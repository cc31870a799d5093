"""Writes reconstructed meshes as files, with colours at the vertices or a texture.

PLY and OBJ keep the object frame, z up. GLB is y up and has linear vertex colours, as its standard says, so that
viewers show it upright and in the right colours. Letters: V vertices, F faces, S side of the texture.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.atomic_file import write_atomically
from lift3d_ros.errors import ConfigError, Lift3dError, nearest_name_hint
from lift3d_ros.types import Float32Array, Float64Array, UInt8Array

MESH_ENDINGS = (".glb", ".ply", ".obj")

# z up to y up: x stays, z becomes y.
_Y_UP = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
# Two triangles share a square of texels; between them and to the neighbours lie this many texels that belong to one.
_GUTTER = 5
_SMALLEST_SQUARE = 8
_USUAL_SQUARE = 12
_TEXTURE_SIDES = (256, 512, 1024, 2048, 4096)
_TEXELS_AT_ONCE = 262_144


@dataclass(frozen=True, eq=False)
class Texture:
    """A texture in which each triangle has its own texels.

    Args:
        image: (S, S, 3) uint8 sRGB, rows from the top.
        uvs: (F, 3, 2) of the corners of each face, v from the bottom.
    """

    image: UInt8Array
    uvs: Float64Array


def check_mesh_path(path: Path, *, has_texture: bool = False) -> None:
    """Refuse a file that could not be written, before much work is done.

    Raises:
        ConfigError: its ending is not known.
        Lift3dError: a package that writes it is not installed.
    """
    ending = path.suffix.lower()
    if ending not in MESH_ENDINGS:
        raise ConfigError(
            f"{path}: a mesh cannot be written as '{ending}'{nearest_name_hint(ending, MESH_ENDINGS)}; expected a name "
            f"that ends in {', '.join(MESH_ENDINGS)}"
        )
    if has_texture and ending == ".ply":
        raise ConfigError(f"{path}: PLY files have no texture; write .glb or .obj, or leave the texture out")
    needed = {"trimesh": "trimesh", "PIL": "Pillow"} if has_texture else {"trimesh": "trimesh"}
    missing = [package for module, package in needed.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise Lift3dError(f"{path}: writing it needs {' and '.join(missing)}; 'pip install {' '.join(missing)}'")


def write_mesh(
    path: Path,
    vertices: Float64Array,
    faces: NDArray[np.int64],
    colors: UInt8Array,
    is_seen: NDArray[np.bool_] | None = None,
    texture: Texture | None = None,
) -> None:
    """Write a mesh; the ending of the path says as what.

    Args:
        vertices: (V, 3).
        faces: (F, 3).
        colors: (V, 3) sRGB.
        is_seen: (V,) stored as ``is_seen`` in PLY and ``_is_seen`` in GLB files without texture.
        texture: takes the place of colours at the vertices; corners of faces become vertices of their own.

    Raises:
        ConfigError, Lift3dError: as :func:`check_mesh_path`; or there are no faces.
        OSError: the file cannot be written.
    """
    check_mesh_path(path, has_texture=texture is not None)
    if not len(faces):
        raise Lift3dError(f"{path}: the mesh has no faces, and was not written")
    ending = path.suffix.lower()
    mesh = (
        _with_colors(vertices, faces, colors, is_seen, ending)
        if texture is None
        else _textured(vertices, faces, texture, path)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    if ending == ".obj":
        _write_obj(path, mesh)
    else:
        write_atomically(path, mesh.export(file_type=ending[1:]))


def glb_bytes(
    vertices: Float64Array, faces: NDArray[np.int64], colors: UInt8Array, is_seen: NDArray[np.bool_]
) -> bytes:
    """Return a mesh with colours at its vertices as a binary glTF file; arguments as of :func:`write_mesh`.

    Raises:
        Lift3dError: trimesh is not installed, or there are no faces.
    """
    if importlib.util.find_spec("trimesh") is None:
        raise Lift3dError("a mesh as glTF needs trimesh; 'pip install trimesh'")
    if not len(faces):
        raise Lift3dError("the mesh has no faces, and cannot be written as glTF")
    return bytes(_with_colors(vertices, faces, colors, is_seen, ".glb").export(file_type="glb"))


def bake_texture(
    vertices: Float64Array,
    faces: NDArray[np.int64],
    colors_of: Callable[[Float64Array], UInt8Array],
    side: int | None = None,
    on_piece: Callable[[float], object] = lambda fraction: None,
) -> Texture:
    """Return a texture whose texels have the colours of the places on the surface that they cover.

    Args:
        vertices: (V, 3).
        faces: (F, 3).
        colors_of: maps points (P, 3) to colours (P, 3).
        side: S; None takes one that gives a face about 60 texels, at most 4096.
        on_piece: called with the share that is done; may raise to stop.

    Raises:
        ConfigError: more faces than the texture has room for.
    """
    per_row = math.ceil(math.sqrt(max(math.ceil(len(faces) / 2), 1)))
    if side is None:
        side = next((size for size in _TEXTURE_SIDES if size >= per_row * _USUAL_SQUARE), _TEXTURE_SIDES[-1])
    square = side // per_row
    if square < _SMALLEST_SQUARE:
        room = 2 * (side // _SMALLEST_SQUARE) ** 2
        raise ConfigError(
            f"a texture of {side}x{side} has room for {room} triangles, the mesh has {len(faces)}; lower "
            "surface.max_faces, or enlarge the texture"
        )
    leg = square - _GUTTER
    image: UInt8Array = np.full((side, side, 3), 127, dtype=np.uint8)
    used = per_row * square
    flat = np.arange(used * used)
    for first in range(0, len(flat), _TEXELS_AT_ONCE):
        on_piece(first / len(flat))
        rows, columns = np.divmod(flat[first : first + _TEXELS_AT_ONCE], used)
        x, y = columns % square, rows % square
        is_second = x + y > square - 2
        face = 2 * ((rows // square) * per_row + columns // square) + is_second
        is_face = face < len(faces)
        rows, columns, face = rows[is_face], columns[is_face], face[is_face]
        x, y, is_second = x[is_face], y[is_face], is_second[is_face]
        # The second triangle of a square is the first one turned by half a turn.
        x, y = np.where(is_second, square - 1 - x, x), np.where(is_second, square - 1 - y, y)
        along, across = (x - 0.5) / leg, (y - 0.5) / leg
        weights = np.stack([1.0 - along - across, along, across], axis=1)
        points = np.einsum("pk,pki->pi", weights, vertices[faces[face]])
        image[rows, columns] = colors_of(points)
    number = np.arange(len(faces)) // 2
    is_second = np.arange(len(faces)) % 2 == 1
    corners = np.array([[0.5, 0.5], [0.5 + leg, 0.5], [0.5, 0.5 + leg]])
    local = np.where(is_second[:, None, None], square - 1 - corners, corners)
    texels = local + square * np.stack([number % per_row, number // per_row], axis=1)[:, None]
    uvs = (texels + 0.5) / side
    return Texture(image, np.stack([uvs[..., 0], 1.0 - uvs[..., 1]], axis=2))


def linear_colors(colors: UInt8Array) -> UInt8Array:
    """Return sRGB colours as linear ones, both 0..255, as vertex colours of GLB files are."""
    values = colors.astype(np.float64) / 255.0
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return np.asarray(np.rint(255.0 * linear), dtype=np.uint8)


def _with_colors(
    vertices: Float64Array,
    faces: NDArray[np.int64],
    colors: UInt8Array,
    is_seen: NDArray[np.bool_] | None,
    ending: str,
) -> Any:
    import trimesh

    is_glb = ending == ".glb"
    shown = linear_colors(colors) if is_glb else colors
    mesh = trimesh.Trimesh(vertices, faces, vertex_colors=shown, process=False)
    if is_glb:
        mesh.apply_transform(_Y_UP)
    if is_seen is not None and ending != ".obj":
        values = is_seen.astype(np.uint8) if ending == ".ply" else is_seen.astype(np.float32)
        mesh.vertex_attributes["is_seen" if ending == ".ply" else "_is_seen"] = values
    return mesh


def _textured(vertices: Float64Array, faces: NDArray[np.int64], texture: Texture, path: Path) -> Any:
    import trimesh
    from PIL import Image

    from lift3d_ros.geometry.triangles import vertex_normals

    image = Image.fromarray(texture.image)
    uvs: Float32Array = texture.uvs.reshape(-1, 2).astype(np.float32)
    material: Any
    if path.suffix.lower() == ".glb":
        material = trimesh.visual.material.PBRMaterial(baseColorTexture=image, metallicFactor=0.0, roughnessFactor=1.0)
    else:
        material = trimesh.visual.material.SimpleMaterial(image=image, name=path.stem)
    mesh = trimesh.Trimesh(
        vertices[faces].reshape(-1, 3),
        np.arange(3 * len(faces)).reshape(-1, 3),
        vertex_normals=vertex_normals(vertices, faces)[faces].reshape(-1, 3),
        visual=trimesh.visual.TextureVisuals(uv=uvs, material=material),
        process=False,
    )
    if path.suffix.lower() == ".glb":
        mesh.apply_transform(_Y_UP)
    return mesh


def _write_obj(path: Path, mesh: Any) -> None:
    """Write an OBJ file, with a texture beside it under the same name."""
    from trimesh.exchange.obj import export_obj

    text, others = export_obj(mesh, return_texture=True, mtl_name=f"{path.stem}.mtl")
    for name, data in others.items():
        write_atomically(path.parent / Path(name).name, data)
    write_atomically(path, text.encode())
