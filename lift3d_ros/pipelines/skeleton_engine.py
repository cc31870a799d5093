"""Opens the engine of the skeleton lifter: model name and backend in, loaded network out."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from lift3d_ros.engines.protocol import Engine
from lift3d_ros.errors import EngineError
from lift3d_ros.pipelines.bev_engine import EngineConfig, choose_backend
from lift3d_ros.pipelines.skeleton_graph import (
    LFM_SIGNATURE,
    WEIGHTS_ENDING,
    LfmSource,
    export_lfm_graph,
    exported_lfm_graph,
    find_lfm,
    load_lfm_network,
)
from lift3d_ros.types import ModelIdentity

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LfmEngine:
    """A loaded engine with the signature `LFM_SIGNATURE`, and which weights it runs."""

    engine: Engine
    identity: ModelIdentity


def open_lfm_engine(model: str, config: EngineConfig) -> LfmEngine:
    """Load a model: its name in a manifest, a ``.safetensors`` file of a training, or an exported ``.onnx`` file.

    A graph runs with ONNX Runtime, for which a model is exported once into the cache folder. Weights of a training run
    with PyTorch where `config` leaves the choice and it is installed: they change too often to be exported.

    Raises:
        WeightsError: unknown model, missing or damaged weights.
        EngineError: the backend is not installed or does not fit the model.
    """
    if model.endswith(".onnx"):
        return _open_given_graph(Path(model), config)
    is_of_training = model.endswith(WEIGHTS_ENDING) and importlib.util.find_spec("torch") is not None
    if is_of_training and config.backend == "auto":
        config = dataclasses.replace(config, backend="torch")
    return open_lfm_source(find_lfm(model), config)


def open_lfm_source(source: LfmSource, config: EngineConfig) -> LfmEngine:
    """Load a network that need not stand in a manifest; otherwise as :func:`open_lfm_engine`."""
    if choose_backend(config.backend) == "onnxruntime":
        return _open_cached_graph(source, config)
    from lift3d_ros.engines.torch_engine import TorchEngine

    network, identity = load_lfm_network(source)
    engine = TorchEngine(network, LFM_SIGNATURE, config.device, config.threads, config.precision)
    return LfmEngine(engine, ModelIdentity(identity.name, identity.weights_sha256, identity.is_trained, engine.name))


def _open_cached_graph(source: LfmSource, config: EngineConfig) -> LfmEngine:
    """Open the cached graph of a model; one that does not load is exported again where torch is installed."""
    path = exported_lfm_graph(source)
    try:
        return _open_graph(path, config)
    except EngineError as error:
        if importlib.util.find_spec("torch") is None:
            raise
        logger.warning("%s; doing so now", error)
    with FileLock(f"{path}.lock"):
        export_lfm_graph(source, path)
    return _open_graph(path, config)


def _open_given_graph(path: Path, config: EngineConfig) -> LfmEngine:
    if config.backend not in ("auto", "onnxruntime"):
        raise EngineError(
            f"engine.backend '{config.backend}' cannot run the exported graph '{path}'; give a model name, or set "
            "engine.backend to auto or onnxruntime"
        )
    if not path.is_file():
        raise EngineError(f"model '{path}': no such file; give the path of an exported graph, or a model name")
    choose_backend("onnxruntime")
    return _open_graph(path, config)


def _open_graph(path: Path, config: EngineConfig) -> LfmEngine:
    from lift3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine

    engine = OnnxRuntimeEngine(path, config.threads)
    if engine.signature != LFM_SIGNATURE:
        names = ", ".join(engine.signature.input_names)
        raise EngineError(
            f"{path}: is no skeleton lifter (its inputs are {names}); give a graph that was exported from one"
        )
    facts = engine.facts
    return LfmEngine(engine, ModelIdentity(facts["name"], facts["weights_sha256"], facts["is_trained"], engine.name))
