"""Opens the engine of the point encoder: model name and backend in, loaded network and facts of the model out."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from lift3d_ros.config import from_mapping
from lift3d_ros.engines.open_graph import GraphRuntime, open_graph, open_or_remake
from lift3d_ros.engines.protocol import Engine
from lift3d_ros.errors import EngineError
from lift3d_ros.models.i2p_mae.config import I2pMaeConfig
from lift3d_ros.pipelines.bev_engine import (
    EngineConfig,
    choose_backend,
    graph_runtime,
    refuse_ignored_settings,
    runtime_of,
)
from lift3d_ros.pipelines.engine_judge import graph_judge
from lift3d_ros.pipelines.network_graph import check_graph_file, identity_in
from lift3d_ros.pipelines.network_source import WEIGHTS_ENDING
from lift3d_ros.pipelines.point_graph import cached_point_graph, points_profile, points_signature
from lift3d_ros.pipelines.point_network import PointSource, find_points, load_point_network
from lift3d_ros.types import ModelIdentity


@dataclass(frozen=True, eq=False)
class PointEngine:
    """A loaded engine with the tensors of :func:`lift3d_ros.pipelines.point_graph.points_signature`."""

    engine: Engine
    config: I2pMaeConfig
    identity: ModelIdentity


def open_point_engine(model: str, config: EngineConfig) -> PointEngine:
    """Load an encoder: its name in a manifest, a ``.safetensors`` file of a training, or an exported ``.onnx`` file.

    A graph runs with ONNX Runtime, OpenVINO or TensorRT, for which a model is exported once into the cache folder.
    Where `config` leaves the choice and PyTorch is installed, it runs weights of a training, which change too often to
    be exported, and on any device but a CPU.

    Raises:
        WeightsError: unknown model, missing or damaged weights.
        EngineError: the backend is not installed or does not fit the model.
    """
    if model.endswith(".onnx"):
        _refuse_other_devices(config.backend, config)
        return _open_given_graph(Path(model), graph_runtime(model, config))
    is_of_training = model.endswith(WEIGHTS_ENDING) and importlib.util.find_spec("torch") is not None
    if is_of_training and config.backend == "auto":
        config = dataclasses.replace(config, backend="torch")
    return open_point_source(find_points(model), config)


def open_point_source(source: PointSource, config: EngineConfig) -> PointEngine:
    """Load an encoder that need not stand in a manifest; otherwise as :func:`open_point_engine`."""
    if config.backend == "auto" and config.device != "cpu":
        config = dataclasses.replace(config, backend="torch")
    backend = choose_backend(config.backend)
    if backend != "torch":
        _refuse_other_devices(backend, config)
    refuse_ignored_settings(backend, config)
    if backend != "torch":
        return open_or_remake(
            lambda is_remade: cached_point_graph(source, is_remade=is_remade),
            functools.partial(_open_graph, runtime=runtime_of(backend, config), config=source.config),
        )
    network, identity = load_point_network(source)
    from lift3d_ros.engines.torch_engine import TorchEngine
    from lift3d_ros.models.i2p_mae.grouped_encoder import GroupedEncoder

    module = GroupedEncoder(network, source.config.tokens)
    engine = TorchEngine(module, points_signature(source.config), config.device, config.threads, config.precision)
    return PointEngine(engine, source.config, identity)


def _refuse_other_devices(backend: str, config: EngineConfig) -> None:
    """A device that would be ignored is refused: the user expects it to have an effect."""
    is_on_cpu = backend in ("auto", "openvino") or (backend == "onnxruntime" and config.provider == "cpu")
    if is_on_cpu and config.device != "cpu":
        runtime = "openvino" if backend == "openvino" else "onnxruntime"
        raise EngineError(
            f"device '{config.device}': graphs run with {runtime} on the CPU here; set the backend to torch and give "
            "a model name or weights, or set the device to cpu"
        )


def _open_given_graph(path: Path, runtime: GraphRuntime) -> PointEngine:
    check_graph_file(str(path))
    if runtime.backend in ("onnxruntime", "openvino"):
        return _open_graph(path, runtime)
    from lift3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine

    facts = OnnxRuntimeEngine(path, 1).facts
    return _open_graph(path, runtime, from_mapping(I2pMaeConfig, facts["config"], f"{path}: facts of the model"))


def _open_graph(path: Path, runtime: GraphRuntime, config: I2pMaeConfig | None = None) -> PointEngine:
    """Open a graph; TensorRT needs `config` for the sizes that an engine is built for."""
    engine = open_graph(path.stem, path, runtime, None if config is None else points_profile(config), graph_judge(path))
    names = engine.signature.input_names
    if names != ("points", "centers", "neighbours"):
        raise EngineError(
            f"{path}: is no point encoder (its inputs are {', '.join(names)}); give a graph that was exported from one"
        )
    facts = engine.facts
    facts_config = from_mapping(I2pMaeConfig, facts["config"], f"{path}: facts of the model")
    return PointEngine(engine, facts_config, identity_in(facts, engine.name))
