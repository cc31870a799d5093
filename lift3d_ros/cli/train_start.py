"""What `--init-from` of a training names: a file of weights, or a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lift3d_ros.errors import WeightsError
from lift3d_ros.pipelines.network_source import NetworkSource


def start_weights(name: str | None, find: Callable[[str], NetworkSource[Any]]) -> Path | None:
    """Return the file of weights that is named, or that of the model which `find` knows by this name.

    Raises:
        WeightsError: there is no such model, or it has no trained weights.
    """
    if name is None:
        return None
    path = Path(name)
    if path.suffix or path.exists():
        return path
    weights = find(name).weights
    if weights is None:
        raise WeightsError(f"--init-from {name}: is untrained; name a trained model, or a file of weights")
    return weights
