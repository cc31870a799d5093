"""Adds weights that were trained with this package to the user's folder of models."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from lift3d_ros.config import flat_facts
from lift3d_ros.errors import WeightsError, nearest_name_hint
from lift3d_ros.weights.checkpoint import shown
from lift3d_ros.weights.manifest import ModelEntry
from lift3d_ros.weights.published import METHODS, network_facts, network_shapes
from lift3d_ros.weights.store import check_place, store_model
from lift3d_ros.weights.verify import check_tensors

# Weights are the same network whatever these say: they matter in training alone, where features are read, or where
# boxes are chosen among those that the network gives.
_FREE = ("*dropout", "*drop_path", "*label_smoothing", "masks.*", "pooling", "suppression_m", "max_detections")


def add_weights(
    weights: Path, preset_name: str, name: str, licence: str, folder: Path, *, overwrite: bool = False
) -> tuple[ModelEntry, Path]:
    """Store the ``weights.safetensors`` of a training as a model, in the types that it has.

    Args:
        folder: the user's folder of models; made where it does not exist.

    Returns:
        The manifest entry and the stored file.

    Raises:
        WeightsError: torch or safetensors is not installed; no such configuration; the file is damaged, does not fit
            the network, says that it belongs to another one or holds numbers that are not finite; the name is taken;
            the folder cannot be written.
    """
    absent = [package for package in ("torch", "safetensors") if importlib.util.find_spec(package) is None]
    if absent:
        raise WeightsError(f"adding weights needs {' and '.join(absent)}; 'pip install {' '.join(absent)}'")
    if preset_name not in METHODS:
        hint = nearest_name_hint(preset_name, METHODS)
        raise WeightsError(f"'{preset_name}' is no configuration{hint}; known: {', '.join(METHODS)}")
    check_place(name, folder, overwrite=overwrite)
    if not weights.is_file():
        raise WeightsError(f"{weights}: file not found; give the weights.safetensors of a training")
    check_tensors(weights, network_shapes(preset_name))
    from safetensors import safe_open
    from safetensors.numpy import load_file

    with safe_open(str(weights), framework="numpy") as file:
        header = file.metadata() or {}
    _check_facts(weights, header, preset_name)
    tensors = load_file(str(weights))
    for key, values in tensors.items():
        if not np.isfinite(values).all():
            raise WeightsError(
                f"{weights}: '{shown(key)}' holds values that are not finite numbers; its training failed, take "
                "another checkpoint"
            )
    entry = ModelEntry(METHODS[preset_name], preset_name, licence, shown(weights.name))
    return store_model(name, entry, tensors, folder, overwrite=overwrite, header=header)


def _check_facts(weights: Path, header: Mapping[str, str], preset_name: str) -> None:
    """Refuse weights whose training configured its network otherwise: classes and ranges show in no shape.

    Settings that only one of both has, as files of other releases may, are not compared.
    """
    found = _network_facts(header)
    for name, expected in json.loads(json.dumps(network_facts(preset_name))).items():
        if found.get(name, expected) == expected or any(fnmatchcase(name, free) for free in _FREE):
            continue
        advice = f"train it with the settings of '{preset_name}', as models name presets only"
        if (trained_as := header.get("preset", preset_name)) != preset_name:
            advice = f"its training began with preset '{shown(trained_as)}': give that as --as, or {advice}"
        raise WeightsError(
            f"{weights}: its header says network.{name} is {shown(found[name])}; '{preset_name}' expects "
            f"{shown(expected)}; {advice}"
        )


def _network_facts(header: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the settings of the network that a header tells of, dotted name -> plain value, as far as it does."""
    for group in ("network", "teacher"):  # of the network that is stored, which may be a part of the trained one
        if settings := _mapping(header.get(group)):
            return flat_facts(settings)
    facts = _mapping(header.get("facts"))
    return {name.removeprefix("network."): value for name, value in facts.items() if name.startswith("network.")}


def _mapping(text: str | None) -> Mapping[str, Any]:
    """Return a mapping that is written as JSON, an empty one for any other text: files of others may hold it."""
    try:
        found = json.loads(text or "null")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
