"""Graphs of the skeleton lifter: its tensors, its network with weights, and the ONNX files made of both.

A graph serves any number of instances and joints. For ONNX Runtime it is exported once into the cache folder and found
again without torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock

import lift3d_ros
from lift3d_ros.config import from_mapping
from lift3d_ros.engines.protocol import Arrays, EngineSignature, TensorSpec
from lift3d_ros.errors import ConfigError, EngineError, WeightsError, nearest_name_hint
from lift3d_ros.models.lfm.config import PRESETS, LfmConfig, preset
from lift3d_ros.resources import cache_dir
from lift3d_ros.types import ModelIdentity
from lift3d_ros.weights.manifest import ModelEntry, find_model, sha256_of, verified_weights_path

if TYPE_CHECKING:
    from lift3d_ros.models.lfm.network import LfmNetwork

WEIGHTS_ENDING = ".safetensors"

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

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LfmSource:
    """What a network is made of.

    Args:
        weights: file of its weights, None for random ones.
        sha256: of that file.
        seed: makes the random weights.
    """

    name: str
    config: LfmConfig
    weights: Path | None = None
    sha256: str | None = None
    seed: int = 0


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
    config = preset(preset_name)
    if config is None:
        hint = nearest_name_hint(preset_name, PRESETS)
        raise ConfigError(f"configuration '{preset_name}' is not known{hint}; known: {', '.join(PRESETS)}")
    return LfmSource(preset_name, config)


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
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save

    from lift3d_ros.models.lfm.build import build_lifter

    network = build_lifter(source.config, source.seed)
    if source.weights is not None:
        try:
            network.load_state_dict(load_file(str(source.weights)), strict=True)
        except (SafetensorError, RuntimeError) as error:
            detail = " ".join(str(error).split())[:400]
            raise WeightsError(f"{source.weights}: does not fit model '{source.name}': {detail}") from None
        assert source.sha256 is not None
        return network, ModelIdentity(source.name, source.sha256, is_trained=True)
    weights = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    return network, ModelIdentity(source.name, hashlib.sha256(save(weights)).hexdigest(), is_trained=False)


def export_lfm_graph(source: LfmSource, path: Path) -> ModelIdentity:
    """Write the ONNX graph of a network for any number of instances and joints, and return which weights it holds.

    Raises:
        EngineError: torch or onnx is not installed, or the graph deviates from PyTorch.
        WeightsError: as :func:`load_lfm_network`.
    """
    network, identity = load_lfm_network(source)
    missing = [package for package in ("onnx", "onnxscript") if importlib.util.find_spec(package) is None]
    if missing:
        raise EngineError(f"model '{source.name}': exporting needs {' and '.join(missing)}; install them with pip")
    from lift3d_ros.engines.export import export_onnx

    facts = {
        "name": identity.name,
        "weights_sha256": identity.weights_sha256,
        "is_trained": identity.is_trained,
        "config": dataclasses.asdict(network.config),
    }
    others = [example_instances(*size) for size in _COMPARED_SIZES]
    export_onnx(network, LFM_SIGNATURE, facts, example_instances(*_TRACED_SIZE), path, others=others)
    return identity


def exported_lfm_graph(source: LfmSource) -> Path:
    """Return the cached graph of a network, exporting it first where it is not there.

    Raises:
        EngineError: the cache folder cannot be written, or the export fails.
    """
    path = cache_dir() / "onnx" / f"{source.name}-{_graph_key(source)}.onnx"
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not path.is_file():
                logger.info("exporting %s to %s", source.name, path)
                export_lfm_graph(source, path)
    except OSError as error:
        raise EngineError(
            f"{path.parent}: cannot write to the cache folder ({error.strerror or error}); "
            "name another one in LIFT3D_CACHE_DIR"
        ) from None
    return path


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
    if not path.is_file():
        raise WeightsError(f"model '{path}': no such file; give the weights.safetensors of a training, or a model name")
    if importlib.util.find_spec("safetensors") is None:
        raise WeightsError(f"{path}: reading it needs safetensors; 'pip install safetensors'")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="np") as file:
            header = file.metadata() or {}
        facts = json.loads(header.get("facts", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read as safetensors ({' '.join(str(error).split())})") from None
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


def _graph_key(source: LfmSource) -> str:
    """Hash everything that decides the graph, without importing torch."""
    files = sorted(
        path
        for room in ("models", "ops", "engines")
        for path in (Path(lift3d_ros.__file__).parent / room).rglob("*.py")
    )
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    readable = [source.name, dataclasses.asdict(source.config), source.sha256, source.seed, LFM_SIGNATURE.to_json()]
    digest.update(json.dumps(readable, sort_keys=True).encode())
    return digest.hexdigest()[:16]
