"""Adds weights that were trained with this package to the user's folder of models."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from lift3d_ros.errors import WeightsError, nearest_name_hint
from lift3d_ros.weights.checkpoint import shown
from lift3d_ros.weights.manifest import ModelEntry
from lift3d_ros.weights.published import METHODS, network_shapes
from lift3d_ros.weights.store import check_place, store_model
from lift3d_ros.weights.verify import check_tensors


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
            the network or holds numbers that are not finite; the name is taken; the folder cannot be written.
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
    from safetensors.numpy import load_file

    tensors = load_file(str(weights))
    for key, values in tensors.items():
        if not np.isfinite(values).all():
            raise WeightsError(
                f"{weights}: '{shown(key)}' holds values that are not finite numbers; its training failed, take "
                "another checkpoint"
            )
    entry = ModelEntry(METHODS[preset_name], preset_name, licence, shown(weights.name))
    return store_model(name, entry, tensors, folder, overwrite=overwrite)
