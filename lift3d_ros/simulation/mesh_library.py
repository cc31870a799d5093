"""A folder of meshes with classes, sizes and licences, described by `manifest.json`.

Keys of an entry: `name`, `file` (.glb), `class` (of nuScenes, or building, tree, sign, traffic_light,
street_furniture), `licence`, `split` (train or val). Axes as stored: x forward, y left, z up, metres, origin on the
ground. Colours come from the vertices or from one texture.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lift3d_ros.datasets.frames import CLASS_NAMES
from lift3d_ros.errors import DatasetError, nearest_name_hint
from lift3d_ros.simulation.meshes import Material, Mesh, smoothed
from lift3d_ros.types import Float32Array, Float64Array, UInt8Array
from lift3d_ros.weights.manifest import sha256_of

MANIFEST_NAME = "manifest.json"
Split = Literal["train", "val", "any"]
SCENERY_CLASSES = ("building", "tree", "sign", "traffic_light", "street_furniture")
UNCERTAIN_LICENCES = ("CC0 1.0 (inferred)",)
_MAX_FILE_BYTES = 20_000_000
_MAX_TRIANGLES = 100_000
_TEXTURE_SIZE = 256
_SIZES_M = (0.05, 100.0)
_PAINTED = ("car", "truck", "bus", "trailer", "construction_vehicle", "motorcycle", "bicycle")


@dataclass(frozen=True, eq=False)
class LibraryMesh:
    """One mesh of a library; its shape is read when it is first used.

    Args:
        is_metric: lengths are metres, so a size that nothing in a street has is refused.
    """

    name: str
    path: Path
    class_name: str
    licence: str
    split: str
    is_metric: bool = False

    @cached_property
    def flat(self) -> Mesh:
        """The mesh with one normal for each face.

        Raises:
            DatasetError: the file is missing or holds no usable mesh.
        """
        mesh = _read(self)
        lower, upper = mesh.bounds
        size = float((upper - lower).max())
        if self.is_metric and not _SIZES_M[0] <= size <= _SIZES_M[1]:
            raise DatasetError(
                f"{self.path}: mesh '{self.name}' is {size:g} long; expected {_SIZES_M[0]:g} to {_SIZES_M[1]:g}, as "
                "lengths are metres. Scale it"
            )
        return mesh

    @cached_property
    def smooth(self) -> Mesh:
        """The mesh with normals averaged over faces that meet at a small angle."""
        return smoothed(self.flat, 42.0)

    @cached_property
    def height(self) -> float:
        """Height above the origin, metres."""
        return float(self.flat.bounds[1][2])


class MeshLibrary:
    """The usable meshes of a folder, by class."""

    def __init__(
        self, directory: Path, split: Split = "train", *, left_out_licences: Sequence[str] = UNCERTAIN_LICENCES
    ) -> None:
        """Read the manifest.

        Args:
            split: meshes of the manifest to use; any takes all.
            left_out_licences: entries under these are not used.

        Raises:
            DatasetError: no manifest, a field is missing or wrong, a file is not there, or nothing is left to use;
                names file and field.
        """
        self.directory, self.split = directory, split
        path = directory / MANIFEST_NAME
        chosen = [
            entry
            for entry in _entries(path)
            if split in ("any", entry.split) and entry.licence not in left_out_licences
        ]
        if not chosen:
            raise DatasetError(
                f"{path}: no mesh of split '{split}' is left after leaving out the licences "
                f"{', '.join(left_out_licences) or '(none)'}; choose another split or allow more licences"
            )
        self._by_class: dict[str, list[LibraryMesh]] = {}
        for entry in chosen:
            _check_file(entry)  # at once: shapes are read one by one, the last ones after hours of rendering
            self._by_class.setdefault(entry.class_name, []).append(entry)

    def __len__(self) -> int:
        """Return the number of meshes."""
        return sum(len(entries) for entries in self._by_class.values())

    def of_class(self, class_name: str) -> Sequence[LibraryMesh]:
        """Return the meshes of a class, none where the folder has none."""
        return self._by_class.get(class_name, [])

    def pick(self, class_name: str, rng: np.random.Generator) -> LibraryMesh | None:
        """Return a random mesh of a class, or None where the folder has none."""
        entries = self.of_class(class_name)
        return entries[int(rng.integers(len(entries)))] if entries else None


def _entries(path: Path) -> list[LibraryMesh]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DatasetError(
            f"{path}: not found; expected a folder of meshes with {MANIFEST_NAME} (see lift3d simulate --help)"
        ) from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(document, list):
        raise DatasetError(f"{path}: the top level is {type(document).__name__}; expected a list of meshes")
    return [_entry(path, number, fields) for number, fields in enumerate(document)]


def manifest_digest(directory: Path) -> str:
    """Return the SHA-256 of the manifest of a folder of meshes.

    Raises:
        DatasetError: the folder has no manifest that can be read.
    """
    path = directory / MANIFEST_NAME
    _entries(path)
    return sha256_of(path)


def _entry(path: Path, number: int, fields: Any) -> LibraryMesh:
    where = f"{path}: entry {number}"
    if not isinstance(fields, Mapping):
        raise DatasetError(f"{where} is {type(fields).__name__}; expected name, file, class, licence and split")
    texts = {}
    for key in ("name", "file", "class", "licence", "split"):
        value = fields.get(key)
        if not isinstance(value, str) or not value:
            raise DatasetError(f"{where}: field '{key}' is {value!r}; expected text")
        texts[key] = value
    known = (*CLASS_NAMES[:-1], *SCENERY_CLASSES)
    if texts["class"] not in known:
        hint = nearest_name_hint(texts["class"], known)
        raise DatasetError(f"{where}: class '{texts['class']}' is not known{hint}; known: {', '.join(known)}")
    if texts["split"] not in ("train", "val"):
        raise DatasetError(f"{where}: field 'split' is '{texts['split']}'; expected train or val")
    file = (path.parent / texts["file"]).resolve()
    if not file.is_relative_to(path.parent.resolve()):
        raise DatasetError(f"{where}: file '{texts['file']}' lies outside the folder; keep meshes beside the manifest")
    return LibraryMesh(texts["name"], file, texts["class"], texts["licence"], texts["split"], is_metric=True)


def _check_file(entry: LibraryMesh) -> None:
    if not entry.path.is_file():
        raise DatasetError(f"{entry.path}: mesh '{entry.name}' of the manifest does not exist; copy the whole folder")
    if entry.path.stat().st_size > _MAX_FILE_BYTES:
        raise DatasetError(f"{entry.path}: larger than {_MAX_FILE_BYTES // 1_000_000} MB; use a mesh with less detail")


def _read(entry: LibraryMesh) -> Mesh:
    try:
        import trimesh
    except ImportError as error:
        raise DatasetError(
            f"{entry.path}: reading meshes needs the Python package trimesh ({error}); install it with: "
            "pip install trimesh"
        ) from None
    _check_file(entry)
    try:
        loaded: Any = trimesh.load(entry.path, process=False, force="mesh")
        corners = np.asarray(loaded.vertices, dtype=np.float64)[np.asarray(loaded.faces)]
        colors, texture, uvs = _corner_colors(loaded)
    except Exception as error:  # trimesh raises whatever its readers raise
        raise DatasetError(f"{entry.path}: not a mesh that can be read ({error}); expected a binary glTF") from None
    if not 0 < len(corners) <= _MAX_TRIANGLES or not np.isfinite(corners).all():
        raise DatasetError(f"{entry.path}: {len(corners)} triangles; expected 1 to {_MAX_TRIANGLES}, all finite")
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    is_face = lengths > 1e-10
    if not is_face.any():
        raise DatasetError(f"{entry.path}: all {len(corners)} triangles are without area; expected a mesh")
    normals = np.repeat(normals[is_face] / lengths[is_face, None], 3, axis=0)
    colors = colors[is_face].reshape(-1, 3)
    materials = _materials(entry.class_name, colors)[:, None]
    if texture is not None:
        colors = np.full_like(colors, 255)
    return Mesh(
        corners[is_face].reshape(-1, 3).astype(np.float32),
        normals.astype(np.float32),
        np.concatenate([colors, materials], axis=1),
        texture,
        None if uvs is None else uvs[is_face].reshape(-1, 2),
    )


def _corner_colors(loaded: Any) -> tuple[UInt8Array, UInt8Array | None, Float32Array | None]:
    """Return sRGB colours (F, 3, 3) of the corners of each face, and texture and uv (F, 3, 2) where there is one."""
    faces = np.asarray(loaded.faces)
    if loaded.visual.kind == "texture":
        material = loaded.visual.material
        picture = getattr(material, "baseColorTexture", None)
        if picture is None or loaded.visual.uv is None:
            color = np.asarray(material.main_color, dtype=np.uint8)[:3]
            return np.broadcast_to(color, (*faces.shape, 3)), None, None
        pixels = np.asarray(picture.convert("RGB").resize((_TEXTURE_SIZE, _TEXTURE_SIZE)))
        uv = np.asarray(loaded.visual.uv, dtype=np.float64)[faces]
        # A face gets the colour at its middle; a part of a texture that repeats is found by the fraction.
        middle = np.repeat(uv.mean(axis=1, keepdims=True), 3, axis=1) % 1.0
        rows = np.minimum((1.0 - middle[..., 1]) * pixels.shape[0], pixels.shape[0] - 1).astype(int)
        columns = np.minimum(middle[..., 0] * pixels.shape[1], pixels.shape[1] - 1).astype(int)
        at_middle = np.asarray(pixels[rows, columns], dtype=np.uint8)
        return at_middle, pixels, (uv - np.floor(uv.min(axis=1, keepdims=True) + 1e-6)).astype(np.float32)
    return np.asarray(loaded.visual.vertex_colors[faces][..., :3], dtype=np.uint8), None, None


def _materials(class_name: str, colors: UInt8Array) -> UInt8Array:
    """Return a material for each corner: lacquer on vehicles except where they are dark, leaves on trees."""
    result = np.full(len(colors), Material.MATTE, dtype=np.uint8)
    values: Float64Array = colors.astype(np.float64)
    if class_name in _PAINTED:
        result[values.max(axis=1) > 60] = Material.PAINT
        # Bluish grey surfaces of a vehicle are its windows.
        is_window = (values[:, 2] > values[:, 0] * 1.12) & (values[:, 2] < values[:, 0] * 1.7) & (values[:, 0] < 200)
        result[is_window & (values.max(axis=1) - values.min(axis=1) < 70)] = Material.GLASS
    elif class_name == "tree":
        result[values[:, 1] > values[:, 0] * 1.02] = Material.FOLIAGE
    elif class_name == "building":
        result[:] = Material.PLASTER
    return result
