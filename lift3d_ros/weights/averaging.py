"""The mean of trained weights; between runs that started from the same weights it is often better than each of them.

Source: Wortsman et al., "Model soups" (2022), arXiv 2203.05482; the uniform one, or with parts of one's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.atomic_file import write_atomically
from lift3d_ros.errors import WeightsError
from lift3d_ros.weights.manifest import sha256_of

_KIND = ("method", "preset")


def average_weights(files: Sequence[Path], out: Path, parts: Sequence[float] = ()) -> int:
    """Write the mean of weights as ``.safetensors``, each number in the type of the first file.

    Numbers that are no floating-point numbers, such as counters, are those of the first file.

    Args:
        parts: how much each file counts, scaled to a sum of 1; empty for equal parts.

    Returns:
        How many tensors were averaged.

    Raises:
        WeightsError: fewer than two files, one that cannot be read, weights that are not of the same network, or parts
            that do not fit the files.
        OSError: the result cannot be written.
    """
    from safetensors.numpy import save

    if len(files) < 2:
        raise WeightsError("a mean needs two files of weights at least; name another one")
    relative = _relative_parts(parts, len(files))
    first, facts = _read(files[0])
    sums: dict[str, NDArray[np.float64]] = {
        name: relative[0] * values.astype(np.float64) for name, values in first.items() if values.dtype.kind == "f"
    }
    for path, part in zip(files[1:], relative[1:], strict=True):
        tensors, own = _read(path)
        _check_same(files[0], first, facts, path, tensors, own)
        for name in sums:
            sums[name] += part * tensors[name].astype(np.float64)
    averaged = {name: np.asarray(total / sum(relative), dtype=first[name].dtype) for name, total in sums.items()}
    facts["mean_of"] = " ".join(sha256_of(path) for path in files)
    facts.pop("mean_parts", None)  # of the first file, where that is itself a mean
    if parts:
        facts["mean_parts"] = " ".join(f"{part / sum(relative):.6g}" for part in relative)
    write_atomically(out, save({**first, **averaged}, metadata=facts))
    return len(averaged)


def _relative_parts(parts: Sequence[float], files: int) -> list[float]:
    """Return how much each file counts, the largest 1."""
    if not parts:
        return [1.0] * files
    found = f"--parts {' '.join(f'{part:g}' for part in parts)}"
    if len(parts) != files:
        raise WeightsError(f"{found}: {len(parts)} for {files} files; give one number for each file")
    if not all(math.isfinite(part) and part > 0.0 for part in parts):
        raise WeightsError(f"{found}: expected positive numbers; leave out a file that shall not count")
    return [part / max(parts) for part in parts]


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
