"""Graphs of the skeleton lifter: its tensors, its network with weights, and the ONNX files made of both.

A graph serves any number of instances and joints. For ONNX Runtime it is exported once into the cache folder and found
again without torch.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lift3d_ros.config import from_mapping
from lift3d_ros.engines.protocol import Arrays, EngineSignature, Shapes, TensorSpec, profile_of
from lift3d_ros.errors import ConfigError, EngineError, WeightsError
from lift3d_ros.models.lfm.config import PRESETS, LfmConfig, preset
from lift3d_ros.pipelines.network_graph import cached_source_graph, check_exporter, facts_of_weights
from lift3d_ros.pipelines.network_source import (
    WEIGHTS_ENDING,
    NetworkSource,
    load_weights,
    one_line,
    preset_called,
    read_header,
)
from lift3d_ros.types import ModelIdentity
from lift3d_ros.weights.manifest import ModelEntry, find_model, sha256_of, verified_weights_path

if TYPE_CHECKING:
    from lift3d_ros.models.lfm.network import LfmNetwork

# Any number of instances and joints.
LFM_SIGNATURE = EngineSignature(
    inputs=(
        TensorSpec("points", (None, None, 2)),
        TensorSpec("exists", (None, None), "bool"),
        TensorSpec("is_visible", (None, None), "bool"),
        TensorSpec("side", (None, None)),
        TensorSpec("adjacency", (None, None, None), "bool"),
    ),
    outputs=(
        TensorSpec("shape", (None, None, 3)),
        TensorSpec("sign_logit", (None,)),
        TensorSpec("spread", (None, None)),
    ),
)

# What an exported graph is compared with: instances and joints.
_COMPARED_SIZES = ((1, 5), (2, 40), (6, 17))
_TRACED_SIZE = (3, 7)
# Of TensorRT engines: what is usual, and what fits beside other models; larger sets run on the fallback.
_SMALLEST_SIZE, _USUAL_SIZE, _LARGEST_SIZE = (1, 3), (20, 17), (64, 144)


LfmSource = NetworkSource[LfmConfig]


def find_lfm(model: str) -> LfmSource:
    """Return the network called `model` in a manifest, or that of the ``.safetensors`` file of a training.

    Raises:
        WeightsError: no such model or file, weights that are damaged or belong to another method.
    """
    if model.endswith(WEIGHTS_ENDING):
        return _source_of_file(Path(model))
    entry = find_model(model)
    config = lfm_config(model, entry)
    return LfmSource(model, config, verified_weights_path(model, entry), entry.sha256, entry.seed)


def untrained_lfm(preset_name: str) -> LfmSource:
    """Return a preset with random weights, for exporting and timing it.

    Raises:
        ConfigError: no such preset; names the nearest one.
    """
    return LfmSource(preset_name, preset_called(preset_name, preset, PRESETS))


def lfm_config(name: str, entry: ModelEntry) -> LfmConfig:
    """Return the configuration that the manifest names for a model.

    Raises:
        WeightsError: the entry is not a skeleton lifter or names no known preset.
    """
    config = preset(entry.preset) if entry.method == "lfm" else None
    if config is None:
        raise WeightsError(
            f"model '{name}': method '{entry.method}' with preset '{entry.preset}' is not a skeleton lifter; "
            f"expected method 'lfm' with one of the presets {', '.join(PRESETS)}"
        )
    return config


def load_lfm_network(source: LfmSource) -> tuple[LfmNetwork, ModelIdentity]:
    """Build the network and load its weights; without trained weights they are random but repeatable.

    Returns:
        The network in eval mode, and whose weights it has.

    Raises:
        EngineError: torch is not installed.
        WeightsError: the weights do not fit the network.
    """
    if importlib.util.find_spec("torch") is None:
        raise EngineError(
            f"model '{source.name}': building it needs torch, which is not installed; install torch, or export the "
            "model on another machine with 'lift3d export lfm' and give the path of the .onnx file as model"
        )
    from lift3d_ros.models.lfm.build import build_lifter

    network = build_lifter(source.config, source.seed)
    return network, load_weights(network, source)


def export_lfm_graph(source: LfmSource, path: Path) -> ModelIdentity:
    """Write the ONNX graph of a network for any number of instances and joints, and return which weights it holds.

    Raises:
        EngineError: torch or onnx is not installed, or the graph deviates from PyTorch.
        WeightsError: as :func:`load_lfm_network`.
    """
    network, identity = load_lfm_network(source)
    check_exporter(source.name)
    from lift3d_ros.engines.export import export_onnx

    facts = {**facts_of_weights(identity), "config": dataclasses.asdict(network.config)}
    others = [example_instances(*size) for size in _COMPARED_SIZES]
    export_onnx(network, LFM_SIGNATURE, facts, example_instances(*_TRACED_SIZE), path, others=others)
    return identity


def cached_lfm_graph(source: LfmSource, *, is_remade: bool = False) -> Path:
    """Return the cached graph of a network, see :func:`lift3d_ros.engines.graph_cache.cached_graph`."""
    export = functools.partial(export_lfm_graph, source)
    return cached_source_graph(source, LFM_SIGNATURE, export, is_remade=is_remade)


def lfm_profile() -> dict[str, Shapes]:
    """Return the sizes that TensorRT engines are built for."""
    return profile_of(*(example_instances(*size) for size in (_SMALLEST_SIZE, _USUAL_SIZE, _LARGEST_SIZE)))


def example_instances(instances: int, joints: int) -> Arrays:
    """Return random inputs, for tracing, comparing and timing engines: skeletons are random trees, some joints miss."""
    rng = np.random.default_rng((instances, joints))
    adjacency = np.zeros((instances, joints, joints), dtype=bool)
    for child in range(1, joints):
        adjacency[np.arange(instances), child, rng.integers(0, child, instances)] = True
    return {
        "points": rng.standard_normal((instances, joints, 2)).astype(np.float32),
        "exists": np.arange(joints) < rng.integers((joints + 1) // 2, joints + 1, (instances, 1)),
        "is_visible": rng.random((instances, joints)) < 0.9,
        "side": rng.integers(-1, 2, (instances, joints)).astype(np.float32),
        "adjacency": adjacency | adjacency.swapaxes(1, 2),
    }


def _source_of_file(path: Path) -> LfmSource:
    """Return the network of a file of weights, whose header says how it was configured."""
    header = read_header(path)
    try:
        facts = json.loads(header.get("facts", "{}"))
    except ValueError as error:
        raise WeightsError(f"{path}: the facts in its header are no JSON ({one_line(error)})") from None
    facts = facts if isinstance(facts, dict) else {}
    network = {name.removeprefix("network."): value for name, value in facts.items() if name.startswith("network.")}
    if header.get("method") != "lfm" or not network:
        method = header.get("method", "none")
        raise WeightsError(
            f"{path}: its header names method '{method}' and {len(network)} facts of a network; expected weights that "
            "'lift3d train lfm' wrote"
        )
    try:
        config = from_mapping(LfmConfig, network, f"{path}: facts of the network")
    except ConfigError as error:
        raise WeightsError(f"{error}. The file belongs to another release of this package") from None
    return LfmSource(path.stem, config, path, sha256_of(path))
