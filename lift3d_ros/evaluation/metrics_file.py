"""The one writer of `metrics.json`: figures, and everything that is needed to get them again."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import lift3d_ros
from lift3d_ros.atomic_file import write_atomically
from lift3d_ros.errors import Lift3dError

METRICS_FILE = "metrics.json"


def write_metrics(
    folder: Path,
    figures: Mapping[str, Any],
    *,
    command: Sequence[str],
    configuration: Any,
    seed: int | None,
    model: str | None,
    weights_sha256: str | None,
) -> Path:
    """Write ``folder/metrics.json``, atomically and with the same bytes for the same input.

    Args:
        figures: plain data, arrays or dataclasses; NaN and infinity become null.
        command: the command line with its arguments, without a shell.
        configuration: mapping or dataclass of everything that was set.
        seed: of whatever was random, None where nothing was.
        model: its description, which says whether the weights are untrained; None where no model took part.
        weights_sha256: of the model, None where no model took part.

    Returns:
        The file written. An older one stays as it is if writing fails.

    Raises:
        Lift3dError: the folder cannot be written.
        TypeError: `figures` or `configuration` hold something that is not data.
    """
    document = {
        "figures": figures,
        "command": shlex.join(command),
        "configuration": configuration,
        "seed": seed,
        "model": model,
        "weights_sha256": weights_sha256,
        "package_version": lift3d_ros.__version__,
        "git_revision": git_revision(Path(lift3d_ros.__file__).resolve().parents[1]),
    }
    text = json.dumps(_plain(document, "metrics"), indent=2, sort_keys=True, allow_nan=False) + "\n"
    path = folder / METRICS_FILE
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise Lift3dError(f"{path}: cannot be written ({error.strerror or error}); choose another folder") from None
    return path


def git_revision(checkout: Path) -> str | None:
    """Return the commit of a source tree, with ``-dirty`` after changes; None where it is not a git checkout."""
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() or None


def _plain(value: Any, where: str) -> Any:
    """Return `value` as JSON data; `where` names the place in error messages."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist(), where)
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name), f"{where}.{f.name}") for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise TypeError(f"{where} is {type(value).__name__}; expected numbers, text, lists, mappings or dataclasses")
