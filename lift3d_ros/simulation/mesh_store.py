"""Meshes and textures on the graphics device: added and removed while scenes come and go."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lift3d_ros.simulation import shaders
from lift3d_ros.simulation.meshes import Material, Mesh
from lift3d_ros.types import Float64Array, UInt8Array

_GROUP_OF = np.zeros(256, dtype=np.int64)
for _number, _members in enumerate(shaders.GROUPS):
    _GROUP_OF[[int(material) for material in _members]] = _number
assert {m for group in shaders.GROUPS for m in group} == set(Material)

_LINEAR = ((np.arange(256) / 255) ** 2.2).astype(np.float16)
_TEXTURE_SIZE = 256
_FIRST_LAYERS = 32


@dataclass(eq=False)
class StoredMesh:
    """One mesh on the device.

    Args:
        middle, radius: of the enclosing sphere, metres, in the frame of the mesh.
        ranges: group of materials, first corner and number of corners.
        layer: of the texture array; -1 for none.
    """

    buffer: Any
    corners: int
    middle: Float64Array
    radius: float
    ranges: tuple[tuple[int, int, int], ...]
    layer: int
    arrays: dict[Any, Any] = field(default_factory=dict)


class MeshStore:
    """Vertex buffers by number, and one array of all textures."""

    def __init__(self, gl: Any) -> None:
        self._gl = gl
        self._meshes: dict[int, StoredMesh] = {}
        self._next = 0
        self._textures: dict[int, tuple[int, int, UInt8Array]] = {}  # id of the picture: layer, uses, the picture
        self._free = list(range(_FIRST_LAYERS))[::-1]
        self._array = self._new_array(_FIRST_LAYERS)
        self._is_stale = False

    def __getitem__(self, number: int) -> StoredMesh:
        """Return a mesh by its number."""
        return self._meshes[number]

    def add(self, mesh: Mesh) -> int:
        """Upload a mesh; return its number."""
        group = _GROUP_OF[mesh.colors[::3, 3]]
        order = np.argsort(group, kind="stable")
        corner = (3 * order[:, None] + np.arange(3)).reshape(-1)
        row = np.dtype([("p", "f4", 3), ("n", "f2", 4), ("c", "f2", 4), ("t", "f2", 2)])
        rows = np.empty(len(mesh.positions), dtype=row)
        rows["p"], rows["n"][:, 3] = mesh.positions[corner], 0
        rows["n"][:, :3] = mesh.normals[corner]
        rows["c"][:, :3] = _LINEAR[mesh.colors[corner, :3]]
        rows["c"][:, 3] = mesh.colors[corner, 3]
        rows["t"] = -1.0 if mesh.uvs is None else mesh.uvs[corner]
        counts = 3 * np.bincount(group, minlength=len(shaders.GROUPS))
        firsts = np.cumsum(counts) - counts
        ranges = tuple((g, int(firsts[g]), int(counts[g])) for g in range(len(counts)) if counts[g])
        lower, upper = mesh.bounds
        layer = -1 if mesh.texture is None else self._hold_texture(mesh.texture)
        self._meshes[self._next] = StoredMesh(
            self._gl.buffer(rows.tobytes()), len(rows), (lower + upper) / 2,
            float(np.linalg.norm(upper - lower) / 2), ranges, layer,
        )  # fmt: skip
        self._next += 1
        return self._next - 1

    def remove(self, number: int) -> None:
        """Free a mesh, and its texture where no other mesh uses it."""
        mesh = self._meshes.pop(number)
        for array in mesh.arrays.values():
            array.release()
        mesh.buffer.release()
        if mesh.layer < 0:
            return
        key = next(key for key, (layer, _, _) in self._textures.items() if layer == mesh.layer)
        layer, uses, picture = self._textures[key]
        if uses > 1:
            self._textures[key] = (layer, uses - 1, picture)
        else:
            del self._textures[key]
            self._free.append(layer)

    def array(self, mesh: StoredMesh, key: Any, program: Any, *, has_position_only: bool = False) -> Any:
        """Return the vertex array of a mesh for a program; `key` names the program."""
        if key not in mesh.arrays:
            layout = ("3f 20x", "in_position") if has_position_only else _present(program)
            mesh.arrays[key] = self._gl.vertex_array(program, [(mesh.buffer, *layout)])
        return mesh.arrays[key]

    def use_textures(self, unit: int) -> None:
        """Bind the array of all textures."""
        if self._is_stale:
            self._array.build_mipmaps()
            self._is_stale = False
        self._array.use(unit)

    def _hold_texture(self, picture: UInt8Array) -> int:
        if id(picture) in self._textures:
            layer, uses, _ = self._textures[id(picture)]
            self._textures[id(picture)] = (layer, uses + 1, picture)
            return layer
        if picture.shape != (_TEXTURE_SIZE, _TEXTURE_SIZE, 3) or picture.dtype != np.uint8:
            raise ValueError(
                f"texture of shape {picture.shape}, {picture.dtype}; expected ({_TEXTURE_SIZE}, {_TEXTURE_SIZE}, 3) "
                "uint8. Resize it"
            )
        if not self._free:
            self._grow()
        layer = self._free.pop()
        self._textures[id(picture)] = (layer, 1, picture)
        self._write(layer, picture)
        return layer

    def _grow(self) -> None:
        layers = self._array.layers
        self._array.release()
        self._array = self._new_array(2 * layers)
        self._free = list(range(layers, 2 * layers))[::-1]
        for layer, _, picture in self._textures.values():
            self._write(layer, picture)

    def _write(self, layer: int, picture: UInt8Array) -> None:
        # Rows go bottom first, as v counts from the bottom.
        data = np.ascontiguousarray(picture[::-1]).tobytes()
        self._array.write(data, viewport=(0, 0, layer, _TEXTURE_SIZE, _TEXTURE_SIZE, 1), alignment=1)
        self._is_stale = True

    def _new_array(self, layers: int) -> Any:
        array = self._gl.texture_array((_TEXTURE_SIZE, _TEXTURE_SIZE, layers), 3, alignment=1)
        array.build_mipmaps()
        return array


def _present(program: Any) -> tuple[str, ...]:
    """Return the vertex layout with the attributes that the compiler has kept."""
    layout, names = [], []
    attributes = (("3f", "12x", "in_position"), ("4f2", "8x", "in_normal"), ("4f2", "8x", "in_color"))
    for form, skip, name in (*attributes, ("2f2", "4x", "in_uv")):
        layout.append(form if name in program else skip)
        names += [name] * (name in program)
    return (" ".join(layout), *names)
