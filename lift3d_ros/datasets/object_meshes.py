"""Meshes of single objects: a folder with a manifest, and random changes that make others of them.

Keys of an entry of ``manifest.json``: `name`, `file` (.glb), `class`, `licence`, and `split` (train or val) where the
folder has one. Files are read as they are stored: z up, in any unit.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lift3d_ros.errors import DatasetError
from lift3d_ros.simulation.mesh_library import LibraryMesh
from lift3d_ros.simulation.meshes import Mesh
from lift3d_ros.types import UInt8Array

MANIFEST = "manifest.json"
ALL = "all"

_DEFAULTS = {"class": "object", "licence": "unknown", "split": ""}


@dataclass(frozen=True)
class MeshEntry:
    """One mesh of a folder; `split` is empty where the manifest does not say."""

    name: str
    path: Path
    class_name: str
    licence: str
    split: str

    def load(self) -> Mesh:
        """Read the mesh, with its longest side 1 and its middle at the origin.

        Raises:
            DatasetError: the file is missing or holds no usable mesh.
        """
        mesh = LibraryMesh(self.name, self.path, self.class_name, self.licence, self.split).smooth
        lower, upper = mesh.bounds
        size = float((upper - lower).max())
        if not size > 0.0:
            raise DatasetError(f"{self.path}: all triangles are at one point; expected a mesh")
        positions = (mesh.positions - 0.5 * (lower + upper)) / size
        return dataclasses.replace(mesh, positions=positions.astype(np.float32))


def read_mesh_folder(folder: Path, split: str | None = None) -> list[MeshEntry]:
    """Return the meshes of a folder.

    Args:
        split: only those of this one, or ``all``; None takes ``val`` where the manifest has it, all otherwise.

    Raises:
        DatasetError: no manifest, a field is wrong, or no mesh is of that split; names file and field.
    """
    path = folder / MANIFEST
    entries = [_entry(path, number, fields) for number, fields in enumerate(_read(path))]
    splits = sorted({entry.split for entry in entries if entry.split})
    if split is None:
        split = "val" if "val" in splits else ALL
    chosen = [entry for entry in entries if split in (ALL, entry.split)]
    if not chosen:
        raise DatasetError(
            f"{path}: none of {len(entries)} meshes is of split '{split}'; expected one of {', '.join([*splits, ALL])}"
        )
    if len({entry.name for entry in chosen}) < len(chosen):
        raise DatasetError(f"{path}: two meshes have the same name; give each its own")
    return chosen


def changed_mesh(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """Return the mesh stretched along its axes and in other colours, its longest side 1."""
    positions = mesh.positions * rng.uniform(0.6, 1.0, 3)
    positions = positions / (positions.max(axis=0) - positions.min(axis=0)).max()
    order, tint = rng.permutation(3), rng.uniform(0.7, 1.15, 3)
    colors = mesh.colors.copy()
    colors[:, :3] = _tinted(colors[:, :3], order, tint)
    texture = None if mesh.texture is None else _tinted(mesh.texture, order, tint)
    return dataclasses.replace(mesh, positions=positions.astype(np.float32), colors=colors, texture=texture)


def _tinted(colors: UInt8Array, order: Any, tint: Any) -> UInt8Array:
    return np.asarray(np.clip(colors[..., order] * tint, 0.0, 255.0), dtype=np.uint8)


def _read(path: Path) -> Sequence[Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetError(f"{path}: not found; expected a folder of meshes with {MANIFEST}, see docs/lrm.md") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(document, list) or not document:
        raise DatasetError(f"{path}: expected a list of meshes, each with name and file")
    return document


def _entry(path: Path, number: int, fields: Any) -> MeshEntry:
    where = f"{path}: entry {number}"
    if not isinstance(fields, Mapping):
        raise DatasetError(f"{where} is {type(fields).__name__}; expected name and file")
    texts = {}
    for key in ("name", "file", *_DEFAULTS):
        value = fields.get(key, _DEFAULTS.get(key))
        if not isinstance(value, str) or (not value and key not in _DEFAULTS):
            raise DatasetError(f"{where}: field '{key}' is {value!r}; expected text")
        texts[key] = value
    file = (path.parent / texts["file"]).resolve()
    if not file.is_relative_to(path.parent.resolve()):
        raise DatasetError(f"{where}: file '{texts['file']}' lies outside the folder; keep meshes beside the manifest")
    return MeshEntry(texts["name"], file, texts["class"], texts["licence"], texts["split"])
