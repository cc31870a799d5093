"""Imports a published checkpoint as a model of the user's folder: every weight has its place, or nothing is written."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lift3d_ros.errors import WeightsError
from lift3d_ros.weights.checkpoint import Checkpoint, read_checkpoint, shown
from lift3d_ros.weights.lrm_settings import check_lrm_settings
from lift3d_ros.weights.manifest import ModelEntry, sha256_of
from lift3d_ros.weights.published import METHODS, StateReport, check_preset, fitting_presets
from lift3d_ros.weights.store import check_place, store_model

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

# Called with what is being done, bytes done since the last call, and bytes in all.
Progress = Callable[[str, int, int], object]


@dataclass(frozen=True)
class ImportedModel:
    """What was written, and what of the checkpoint was left out.

    Args:
        also_fits: other configurations that names and shapes of the weights do not tell apart from the chosen one.
    """

    name: str
    entry: ModelEntry
    path: Path
    num_tensors: int
    num_values: int
    surplus: tuple[str, ...]
    ignored: tuple[str, ...]
    also_fits: tuple[str, ...]


def import_checkpoint(
    checkpoint: Path,
    preset_name: str,
    name: str,
    licence: str,
    folder: Path,
    *,
    overwrite: bool = False,
    on_progress: Progress = lambda stage, count, total: None,
) -> ImportedModel:
    """Import a published checkpoint for the network of a published configuration.

    Weights are stored as float32, counters as they are.

    Args:
        folder: the user's folder of models; made where it does not exist.
        overwrite: replace a model of the same name in `folder`.

    Raises:
        WeightsError: torch or safetensors is not installed; the file is no checkpoint or holds more than weights; a
            weight is missing, unexpected, of another shape or not finite; the name is taken; the folder cannot be
            written.
    """
    absent = [package for package in ("torch", "safetensors") if importlib.util.find_spec(package) is None]
    if absent:
        raise WeightsError(
            f"importing weights needs {' and '.join(absent)}, not installed for this Python; "
            f"'pip install {' '.join(absent)}', or import on another machine and copy its folder of models"
        )
    check_place(name, folder, overwrite=overwrite)
    size = checkpoint.stat().st_size if checkpoint.is_file() else 0
    content = read_checkpoint(checkpoint, lambda count: on_progress("reading", count, size))
    found = {key: tuple(tensor.shape) for key, tensor in content.tensors.items()}
    report = check_preset(found, preset_name)
    if not report.fits:
        raise WeightsError(_misfit(checkpoint, preset_name, found, report))
    check_lrm_settings(checkpoint, preset_name, content.settings)
    tensors = _arrays(checkpoint, content, report, on_progress)
    source_sha256 = sha256_of(checkpoint, lambda count: on_progress("hashing", count, size))
    entry = ModelEntry(METHODS[preset_name], preset_name, licence, shown(checkpoint.name), source_sha256=source_sha256)
    total = sum(array.nbytes for array in tensors.values())
    entry, path = store_model(
        name,
        entry,
        tensors,
        folder,
        overwrite=overwrite,
        on_bytes=lambda count: on_progress("writing", count, total),
    )
    num_values = sum(array.size for array in tensors.values())
    also_fits = tuple(other for other in fitting_presets(found) if other != preset_name)
    return ImportedModel(name, entry, path, len(tensors), num_values, report.surplus, content.ignored, also_fits)


def _misfit(checkpoint: Path, preset_name: str, found: Mapping[str, tuple[int, ...]], report: StateReport) -> str:
    fitting = fitting_presets(found)
    if len(fitting) == 1:
        advice = f"It fits {fitting[0]}: use --as {fitting[0]}"
    elif fitting:
        advice = f"It fits {' and '.join(fitting)}: use --as with the one that it was trained for"
    else:
        advice = "It fits none of the published configurations; give an unchanged published file"
    return f"{checkpoint}: does not fit {preset_name}, nothing was written. {advice}.\n{report.describe()}"


def _arrays(
    checkpoint: Path, content: Checkpoint, report: StateReport, on_progress: Progress
) -> dict[str, NDArray[Any]]:
    """Return our name -> values; refuses values that are not finite."""
    total = sum(tensor.nbytes for tensor in content.tensors.values())
    arrays: dict[str, NDArray[Any]] = {}
    damaged: list[str] = []
    for ours, published in report.matches.items():
        values, is_finite = _plain_values(content.tensors[published])
        arrays[ours] = values
        if not is_finite:
            damaged.append(shown(published))
        on_progress("checking", values.nbytes, total)
    if damaged:
        more = f" and {len(damaged) - 5} more" if len(damaged) > 5 else ""
        raise WeightsError(
            f"{checkpoint}: {len(damaged)} of {len(arrays)} weights hold values that are not finite numbers: "
            f"{', '.join(damaged[:5])}{more}. The file is damaged, or its training failed; nothing was written"
        )
    return arrays


def _plain_values(tensor: Tensor) -> tuple[NDArray[Any], bool]:
    import torch

    if tensor.is_complex():
        return tensor.resolve_conj().numpy(), False
    if tensor.is_floating_point():
        tensor = tensor.to(torch.float32)
    is_finite = bool(torch.isfinite(tensor).all())
    return tensor.contiguous().numpy(), is_finite
