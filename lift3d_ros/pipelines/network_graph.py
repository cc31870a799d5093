"""What the exported graphs of all methods have in common: the facts that they hold, and where they are kept."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lift3d_ros.engines.graph_cache import cached_graph
from lift3d_ros.engines.protocol import EngineSignature
from lift3d_ros.errors import EngineError
from lift3d_ros.pipelines.network_source import NetworkSource
from lift3d_ros.types import ModelIdentity


def check_exporter(model: str) -> None:
    """Refuse to export where that cannot be done.

    Raises:
        EngineError: names the packages that are not installed.
    """
    missing = [package for package in ("onnx", "onnxscript") if importlib.util.find_spec(package) is None]
    if missing:
        raise EngineError(f"model '{model}': exporting needs {' and '.join(missing)}; install them with pip")


def check_graph_file(model: str) -> None:
    """Refuse the path of a graph that is not there.

    Raises:
        EngineError: there is no such file.
    """
    if not Path(model).is_file():
        raise EngineError(f"model '{model}': no such file; give the path of an exported graph, or a model name")


def facts_of_weights(identity: ModelIdentity) -> dict[str, Any]:
    """Return the facts of a graph that say which weights it holds; :func:`identity_in` reads them."""
    return {
        "name": identity.name,
        "weights_sha256": identity.weights_sha256,
        "is_trained": identity.is_trained,
    }


def identity_in(facts: Mapping[str, Any], backend: str) -> ModelIdentity:
    """Return whose weights a graph with these facts holds, on the backend that runs it."""
    return ModelIdentity(facts["name"], facts["weights_sha256"], facts["is_trained"], backend)


def cached_source_graph(
    source: NetworkSource[Any],
    signature: EngineSignature,
    export: Callable[[Path], object],
    *,
    is_remade: bool,
) -> Path:
    """Return the cached graph of a network, see :func:`lift3d_ros.engines.graph_cache.cached_graph`."""
    facts = {
        "config": dataclasses.asdict(source.config),
        "sha256": source.sha256,
        "seed": source.seed,
        "signature": signature.to_json(),
    }
    return cached_graph(source.name, facts, export, is_remade=is_remade)
