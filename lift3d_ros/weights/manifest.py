"""Reads the model manifest: which models exist, where their weights lie and what they must hash to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lift3d_ros.config import from_mapping, read_yaml_mapping
from lift3d_ros.errors import Lift3dError, WeightsError, nearest_name_hint
from lift3d_ros.resources import find_resource

MANIFEST = "models/manifest.yaml"


@dataclass(frozen=True)
class ModelEntry:
    """One model of the manifest; `weights` is None while the model is untrained."""

    method: str
    preset: str
    licence: str
    source: str
    weights: str | None = None
    sha256: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class Manifest:
    """The whole manifest, model name -> entry."""

    models: Mapping[str, ModelEntry] = field(default_factory=dict)


def find_model(name: str) -> ModelEntry:
    """Return the manifest entry of the model called `name`.

    Raises:
        WeightsError: no such model, with the nearest known name.
        ConfigError: the manifest itself is damaged.
    """
    path = find_resource(MANIFEST)
    models = from_mapping(Manifest, read_yaml_mapping(path), str(path)).models
    if name not in models:
        raise WeightsError(
            f"model '{name}' is not in {path}{nearest_name_hint(name, models)}; known: {', '.join(models)}. "
            "A path of an exported .onnx file is accepted too"
        )
    return models[name]


def verified_weights_path(name: str, entry: ModelEntry) -> Path | None:
    """Return the weights file of a model after checking its hash, or None for an untrained model.

    Raises:
        WeightsError: the file is missing or its SHA-256 is not the one in the manifest.
    """
    if entry.weights is None:
        return None
    try:
        path = find_resource(f"models/{entry.weights}")
    except Lift3dError as error:
        raise WeightsError(f"model '{name}': {error}") from None
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != entry.sha256:
        raise WeightsError(
            f"{path}: SHA-256 is {found}; the manifest entry '{name}' expects {entry.sha256}. "
            "The file is damaged or belongs to another release: install it again"
        )
    return path
