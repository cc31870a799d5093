"""Opens the engine of the skeleton lifter: model name and backend in, loaded network out."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lift3d_ros.engines.protocol import Engine, EngineSignature, TensorSpec
from lift3d_ros.errors import EngineError, WeightsError
from lift3d_ros.models.lfm.config import PRESETS, LfmConfig, preset
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.types import ModelIdentity
from lift3d_ros.weights.manifest import ModelEntry, find_model, verified_weights_path

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


@dataclass(frozen=True, eq=False)
class LfmEngine:
    """A loaded engine with the signature `LFM_SIGNATURE`, and which weights it runs."""

    engine: Engine
    identity: ModelIdentity


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


def open_lfm_engine(model: str, config: EngineConfig) -> LfmEngine:
    """Load the model called `model`, with PyTorch, or the ``.onnx`` file at that path, with ONNX Runtime.

    Raises:
        WeightsError: unknown model, missing or damaged weights.
        EngineError: the backend is not installed or does not fit the model.
    """
    if model.endswith(".onnx"):
        return _open_graph(Path(model), config)
    entry = find_model(model)
    lfm_config(model, entry)
    if config.backend == "onnxruntime":
        raise EngineError(
            f"engine.backend 'onnxruntime' runs exported graphs, and '{model}' is a model name; give the path of an "
            ".onnx file as model, or set engine.backend to auto or torch"
        )
    network, sha256 = load_lfm_network(model, entry)
    from lift3d_ros.engines.torch_engine import TorchEngine

    engine = TorchEngine(network, LFM_SIGNATURE, config.device, config.threads, config.precision)
    return LfmEngine(engine, ModelIdentity(model, sha256, entry.weights is not None, engine.name))


def load_lfm_network(name: str, entry: ModelEntry) -> tuple[LfmNetwork, str]:
    """Build the network and load its weights; without trained weights they are random but repeatable.

    Returns:
        The network in eval mode and the SHA-256 of its weights, for trained ones that of the manifest.

    Raises:
        WeightsError, EngineError: as :func:`open_lfm_engine`.
    """
    if importlib.util.find_spec("torch") is None:
        raise EngineError(
            f"model '{name}': building it needs torch, which is not installed; install torch, or give the path of an "
            "exported .onnx file as model"
        )
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save

    from lift3d_ros.models.lfm.build import build_lifter

    network = build_lifter(lfm_config(name, entry), entry.seed)
    path = verified_weights_path(name, entry)
    if path is not None:
        try:
            network.load_state_dict(load_file(str(path)), strict=True)
        except (SafetensorError, RuntimeError) as error:
            raise WeightsError(f"{path}: does not fit model '{name}': {' '.join(str(error).split())}") from None
        assert entry.sha256 is not None
        return network, entry.sha256
    weights = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    return network, hashlib.sha256(save(weights)).hexdigest()


def _open_graph(path: Path, config: EngineConfig) -> LfmEngine:
    if config.backend not in ("auto", "onnxruntime"):
        raise EngineError(
            f"engine.backend '{config.backend}' cannot run the exported graph '{path}'; give a model name, or set "
            "engine.backend to auto or onnxruntime"
        )
    if not path.is_file():
        raise EngineError(f"model '{path}': no such file; give the path of an exported graph, or a model name")
    from lift3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine

    engine = OnnxRuntimeEngine(path, config.threads)
    if engine.signature != LFM_SIGNATURE:
        names = ", ".join(engine.signature.input_names)
        raise EngineError(
            f"{path}: is no skeleton lifter (its inputs are {names}); give a graph that was exported from one"
        )
    facts = engine.facts
    return LfmEngine(engine, ModelIdentity(facts["name"], facts["weights_sha256"], facts["is_trained"], engine.name))
