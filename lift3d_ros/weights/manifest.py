"""Reads the manifests of models: which models exist, where their weights lie and what they must hash to.

There are two: that of the package, and that of the user's folder, which 'lift3d weights import' writes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from platformdirs import user_data_path

from lift3d_ros.config import from_mapping, read_yaml_mapping
from lift3d_ros.errors import Lift3dError, WeightsError, nearest_name_hint
from lift3d_ros.resources import find_resource

MANIFEST = "models/manifest.yaml"
_CHUNK = 1 << 22


@dataclass(frozen=True)
class ModelEntry:
    """One model of the manifest; `weights` is None while the model is untrained.

    Args:
        weights: name of a ``.safetensors`` file beside the manifest.
        seed: makes the random weights of an untrained model.
        source_sha256: hash of the published checkpoint that the weights were imported from.
    """

    method: str
    preset: str
    licence: str
    source: str
    weights: str | None = None
    sha256: str | None = None
    seed: int = 0
    source_sha256: str | None = None


@dataclass(frozen=True)
class Manifest:
    """The whole manifest, model name -> entry."""

    models: Mapping[str, ModelEntry] = field(default_factory=dict)


@dataclass(frozen=True)
class KnownModel:
    """A model with the manifest that names it; `problem` says why it cannot be used."""

    name: str
    entry: ModelEntry
    manifest: Path
    problem: str = ""


def models_dir() -> Path:
    """Return the user's folder of models: LIFT3D_MODELS_DIR, else one in the user's data folder; it may not exist."""
    override = os.environ.get("LIFT3D_MODELS_DIR")
    return Path(override) if override else user_data_path("lift3d_ros") / "models"


def package_manifest() -> Path:
    """Return the manifest that came with the package.

    Raises:
        WeightsError: it is not installed.
    """
    # Found beside the configuration, because LIFT3D_MODELS_DIR hides the package's own models.
    path = find_resource("config").parent / MANIFEST
    if not path.is_file():
        raise WeightsError(f"{path}: not found; install the package again")
    return path


def read_manifest(path: Path) -> Mapping[str, ModelEntry]:
    """Return the models of a manifest, name -> entry.

    Raises:
        ConfigError: it is missing or damaged.
    """
    return from_mapping(Manifest, read_yaml_mapping(path), str(path)).models


def known_models() -> tuple[KnownModel, ...]:
    """Return the models of the package, then those of the user's folder.

    Raises:
        ConfigError: a manifest is damaged.
    """
    package = package_manifest()
    shipped = read_manifest(package)
    known = [KnownModel(name, entry, package) for name, entry in shipped.items()]
    own = models_dir() / Path(MANIFEST).name
    # Unlike Path.is_file it does not raise where the folder belongs to another user.
    if not os.path.isfile(own) or own.resolve() == package.resolve():  # noqa: PTH113
        return tuple(known)
    for name, entry in read_manifest(own).items():
        if name not in shipped:
            known.append(KnownModel(name, entry, own))
        elif entry != shipped[name]:
            problem = (
                f"{own}: model '{name}' has the name of a model of the package ({package}) and is not the same; "
                "give it another name there"
            )
            known.append(KnownModel(name, entry, own, problem))
    return tuple(known)


def find_model(name: str) -> ModelEntry:
    """Return the manifest entry of the model called `name`.

    Raises:
        WeightsError: no such model, with the nearest known name; or a model of the user and one of the package have
            this name.
        ConfigError: a manifest is damaged.
    """
    known = known_models()
    found = [model for model in known if model.name == name]
    if not found:
        names = list(dict.fromkeys(model.name for model in known))
        places = " or ".join(dict.fromkeys([str(package_manifest()), str(models_dir() / Path(MANIFEST).name)]))
        raise WeightsError(
            f"model '{name}' is not in {places}{nearest_name_hint(name, names)}; known: {', '.join(names)}. "
            "A path of an exported .onnx file is accepted too"
        )
    if found[-1].problem:
        raise WeightsError(found[-1].problem)
    return found[0].entry


def weights_path(name: str, entry: ModelEntry) -> Path | None:
    """Return the weights file of a model without reading it, or None for an untrained model.

    Raises:
        WeightsError: the file is missing.
    """
    if entry.weights is None:
        return None
    own = models_dir() / entry.weights
    if os.path.isfile(own):  # noqa: PTH113
        return own
    if entry.source_sha256 is not None:
        raise WeightsError(
            f"model '{name}': {own} was not found; import {entry.source} again with 'lift3d weights import', or name "
            "the folder that holds it in LIFT3D_MODELS_DIR"
        )
    try:
        return find_resource(f"models/{entry.weights}")
    except Lift3dError as error:
        raise WeightsError(f"model '{name}': {error}") from None


def verified_weights_path(
    name: str, entry: ModelEntry, on_bytes: Callable[[int], object] = lambda count: None
) -> Path | None:
    """Return the weights file of a model after checking its hash, or None for an untrained model.

    Args:
        on_bytes: called with each number of bytes that was hashed.

    Raises:
        WeightsError: the file is missing or its SHA-256 is not the one in the manifest.
    """
    path = weights_path(name, entry)
    if path is None:
        return None
    found = sha256_of(path, on_bytes)
    if found != entry.sha256:
        remedy = "install it again" if entry.source_sha256 is None else f"import {entry.source} again"
        raise WeightsError(
            f"{path}: SHA-256 is {found}; the manifest entry '{name}' expects {entry.sha256}. "
            f"The file is damaged or belongs to another release: {remedy}"
        )
    return path


def sha256_of(path: Path, on_bytes: Callable[[int], object] = lambda count: None) -> str:
    """Return the SHA-256 of a file, read in pieces.

    Raises:
        WeightsError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_CHUNK):
                digest.update(piece)
                on_bytes(len(piece))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from None
    return digest.hexdigest()
