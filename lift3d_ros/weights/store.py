"""Puts a model into the user's folder of models: weights as safetensors, and an entry of its manifest.

Both are written whole or not at all: first a draft beside the place, then a rename. The name of the weights file
carries its hash, so that replacing a model never leaves an entry beside weights of another hash.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock
from numpy.typing import NDArray

from lift3d_ros.atomic_file import write_atomically
from lift3d_ros.errors import WeightsError
from lift3d_ros.weights.manifest import MANIFEST, ModelEntry, package_manifest, read_manifest, sha256_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ANOTHER_FOLDER = "name another folder with --models-dir or LIFT3D_MODELS_DIR"
_HEADER = "# Models of this folder, written by 'lift3d weights import'; comments are not kept.\n"


def check_place(name: str, folder: Path, *, overwrite: bool) -> None:
    """Refuse a name and a folder under which a model cannot be stored, before much work is done.

    Raises:
        WeightsError: the name cannot be a file name, is taken by the package, or is taken in `folder` and `overwrite`
            is false; or the folder is that of the package or cannot be written.
    """
    if not _NAME.fullmatch(name) or name.endswith(".onnx"):
        raise WeightsError(
            f"model name '{name}': expected up to 64 letters, digits, '.', '_' and '-', not starting with a sign and "
            "not ending in .onnx; choose another one with --name"
        )
    package = package_manifest()
    manifest = folder / Path(MANIFEST).name
    if manifest.resolve() == package.resolve():
        raise WeightsError(f"{folder}: is the folder of the package, whose manifest belongs to it; name another folder")
    if name in read_manifest(package):
        raise WeightsError(f"model name '{name}' belongs to a model of the package; choose another one with --name")
    if not overwrite and manifest.exists() and name in read_manifest(manifest):
        raise WeightsError(
            f"{manifest}: has a model '{name}' already; choose another name with --name, or replace it with --overwrite"
        )
    existing = next((path for path in (folder, *folder.absolute().parents) if path.exists()), Path("/"))
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        reason = "is not a folder" if not existing.is_dir() else "may not be written"
        raise WeightsError(f"{folder}: {existing} {reason}; {_ANOTHER_FOLDER}")


def store_model(
    name: str,
    entry: ModelEntry,
    tensors: Mapping[str, NDArray[Any]],
    folder: Path,
    *,
    overwrite: bool,
    header: Mapping[str, str] | None = None,
    on_bytes: Callable[[int], object] = lambda count: None,
) -> tuple[ModelEntry, Path]:
    """Write weights and manifest entry of a model.

    Args:
        entry: all but `weights` and `sha256`, which are found here.
        header: what the file of weights says of itself.
        on_bytes: called with each number of bytes that was written.

    Returns:
        The complete entry and the weights file.

    Raises:
        WeightsError: the name is taken, or the folder cannot be written.
    """
    from safetensors import SafetensorError

    check_place(name, folder, overwrite=overwrite)  # before anything is written there, even a lock
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".manifest.lock"):
            check_place(name, folder, overwrite=overwrite)  # another import may have come first
            return _store(name, entry, tensors, folder, header or {}, on_bytes)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(f"{folder}: cannot be written ({reason}); {_ANOTHER_FOLDER}") from None


def _store(
    name: str,
    entry: ModelEntry,
    tensors: Mapping[str, NDArray[Any]],
    folder: Path,
    header: Mapping[str, str],
    on_bytes: Callable[[int], object],
) -> tuple[ModelEntry, Path]:
    from safetensors.numpy import save_file

    needed, free = sum(tensor.nbytes for tensor in tensors.values()), shutil.disk_usage(folder).free
    if needed > free:
        raise WeightsError(
            f"{folder}: {needed / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free; free some space, or name "
            "another folder with --models-dir"
        )
    manifest = folder / Path(MANIFEST).name
    models = dict(read_manifest(manifest)) if manifest.exists() else {}
    former = models.get(name)
    for stale in folder.glob(f".{name}.*.part"):  # of an import that was killed
        stale.unlink()
    draft = _draft(folder, name)
    path = None
    try:
        save_file(dict(tensors), str(draft), metadata={**header, "format": "pt"})
        draft.chmod(0o644)  # save_file writes a private file
        sha256 = sha256_of(draft, on_bytes)
        path = folder / f"{name}-{sha256[:8]}.safetensors"
        complete = dataclasses.replace(entry, weights=path.name, sha256=sha256)
        draft.replace(path)
        _write_manifest(manifest, {**models, name: complete})
    except BaseException:
        draft.unlink(missing_ok=True)
        if path is not None and (former is None or former.weights != path.name):
            path.unlink(missing_ok=True)
        raise
    if former is not None and former.weights not in (None, path.name):
        (folder / Path(str(former.weights)).name).unlink(missing_ok=True)
    return complete, path


def _write_manifest(path: Path, models: Mapping[str, ModelEntry]) -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(ModelEntry)}
    entries = {
        name: {key: value for key, value in dataclasses.asdict(entry).items() if value != defaults[key]}
        for name, entry in models.items()
    }
    text = yaml.safe_dump({"models": entries}, sort_keys=False, allow_unicode=True, width=120)
    write_atomically(path, (_HEADER + text).encode())


def _draft(folder: Path, name: str) -> Path:
    handle, path = tempfile.mkstemp(prefix=f".{name}.", suffix=".part", dir=folder)
    os.close(handle)
    Path(path).chmod(0o644)  # temporary files are private, models are not
    return Path(path)
