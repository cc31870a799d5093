"""Verifies stored weights: hash, then names and shapes of the tensors against the network of the model."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lift3d_ros.errors import Lift3dError, WeightsError
from lift3d_ros.weights.checkpoint import shown
from lift3d_ros.weights.manifest import KnownModel, verified_weights_path, weights_path
from lift3d_ros.weights.published import METHODS, Shape, network_shapes

_LISTED = 5


@dataclass(frozen=True)
class Verification:
    """Outcome for one model; `text` says what was looked at, or what is wrong."""

    name: str
    is_ok: bool
    text: str


def verify_model(
    model: KnownModel, on_progress: Callable[[str, int, int], object] = lambda stage, count, total: None
) -> Verification:
    """Verify the weights of a model; without torch and safetensors only their hash.

    Args:
        on_progress: called with what is being done, bytes done since the last call, and bytes in all.
    """
    if model.problem:
        return Verification(model.name, False, model.problem)
    try:
        path = weights_path(model.name, model.entry)
        if path is None:
            return Verification(model.name, True, "untrained, no weights file to verify")
        size = path.stat().st_size
        verified_weights_path(model.name, model.entry, lambda count: on_progress("hashing", count, size))
        absent = [package for package in ("torch", "safetensors") if importlib.util.find_spec(package) is None]
        if absent:
            text = f"hash ok; names and shapes not verified, which needs {' and '.join(absent)}"
        elif model.entry.method not in METHODS.values():
            text = f"hash ok; names and shapes not verified: no network of method '{model.entry.method}' is known"
        else:
            text = f"hash ok, {check_tensors(path, network_shapes(model.entry.preset))} tensors fit the network"
    except Lift3dError as error:
        return Verification(model.name, False, str(error))
    return Verification(model.name, True, text)


def stored_shapes(path: Path) -> Mapping[str, Shape]:
    """Return name -> shape of the tensors in a safetensors file, without reading their values.

    Raises:
        WeightsError: the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a safetensors file ({error}); install or import it again") from None


def check_tensors(path: Path, expected: Mapping[str, Shape]) -> int:
    """Return how many tensors a file holds, after comparing names and shapes with those of the network.

    Raises:
        WeightsError: one is missing, unexpected or of another shape.
    """
    found = stored_shapes(path)
    problems = [f"{name} is missing" for name in expected if name not in found]
    problems += [f"{shown(name)} is unexpected" for name in found if name not in expected]
    problems += [
        f"{name} is {list(found[name])}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != tuple(shape)
    ]
    if problems:
        more = f", and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
        raise WeightsError(
            f"{path}: does not fit the network: {', '.join(problems[:_LISTED])}{more}; install or import it again"
        )
    return len(found)
