"""The mean of trained weights; between runs that started from the same weights it is often better than each of them.

Source: Wortsman et al., "Model soups" (2022), arXiv 2203.05482; the uniform one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.atomic_file import write_atomically
from lift3d_ros.errors import WeightsError
from lift3d_ros.weights.manifest import sha256_of

_KIND = ("method", "preset")


def average_weights(files: Sequence[Path], out: Path) -> int:
    """Write the mean of weights as ``.safetensors``, each number in the type of the first file.

    Numbers that are no floating-point numbers, such as counters, are those of the first file.

    Returns:
        How many tensors were averaged.

    Raises:
        WeightsError: fewer than two files, one that cannot be read, or weights that are not of the same network.
        OSError: the result cannot be written.
    """
    from safetensors.numpy import save

    if len(files) < 2:
        raise WeightsError("a mean needs two files of weights at least; name another one")
    first, facts = _read(files[0])
    sums: dict[str, NDArray[np.float64]] = {
        name: values.astype(np.float64) for name, values in first.items() if values.dtype.kind == "f"
    }
    for path in files[1:]:
        tensors, own = _read(path)
        _check_same(files[0], first, facts, path, tensors, own)
        for name in sums:
            sums[name] += tensors[name]
    averaged = {name: np.asarray(total / len(files), dtype=first[name].dtype) for name, total in sums.items()}
    facts["mean_of"] = " ".join(sha256_of(path) for path in files)
    write_atomically(out, save({**first, **averaged}, metadata=facts))
    return len(averaged)


def _read(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except FileNotFoundError:
        raise WeightsError(f"{path}: file not found; give a .safetensors file that 'lift3d train' wrote") from None
    except (OSError, SafetensorError, TypeError) as error:
        raise WeightsError(
            f"{path}: cannot be read ({error}); expected a .safetensors file that 'lift3d train' wrote"
        ) from None


def _check_same(
    first_path: Path,
    first: dict[str, NDArray[Any]],
    facts: dict[str, str],
    path: Path,
    tensors: dict[str, NDArray[Any]],
    own: dict[str, str],
) -> None:
    for name in _KIND:
        if facts.get(name) != own.get(name):
            raise WeightsError(
                f"{path}: {name} is {own.get(name)}, that of {first_path} {facts.get(name)}; give weights of one "
                "network"
            )
    shapes, own_shapes = ({name: values.shape for name, values in part.items()} for part in (first, tensors))
    if different := sorted(name for name in shapes | own_shapes if shapes.get(name) != own_shapes.get(name)):
        name = different[0]
        raise WeightsError(
            f"{path}: '{name}' has the shape {own_shapes.get(name, 'of nothing')}, in {first_path} "
            f"{shapes.get(name, 'of nothing')}; give weights of one network"
        )
