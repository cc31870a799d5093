"""Opens the engine of the skeleton lifter: model name and backend in, loaded network out."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from lift3d_ros.engines.open_graph import GraphRuntime, open_graph, open_or_remake, split_rows
from lift3d_ros.engines.protocol import Engine
from lift3d_ros.errors import EngineError
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
from lift3d_ros.pipelines.skeleton_graph import (
    LFM_SIGNATURE,
    LfmSource,
    cached_lfm_graph,
    find_lfm,
    lfm_profile,
    load_lfm_network,
)
from lift3d_ros.types import ModelIdentity


@dataclass(frozen=True, eq=False)
class LfmEngine:
    """A loaded engine with the signature `LFM_SIGNATURE`, and which weights it runs."""

    engine: Engine
    identity: ModelIdentity


def open_lfm_engine(model: str, config: EngineConfig) -> LfmEngine:
    """Load a model: its name in a manifest, a ``.safetensors`` file of a training, or an exported ``.onnx`` file.

    A graph runs with ONNX Runtime, OpenVINO or TensorRT, for which a model is exported once into the cache folder.
    Weights of a training run with PyTorch where `config` leaves the choice and it is installed: they change too often
    for that.

    Raises:
        WeightsError: unknown model, missing or damaged weights.
        EngineError: the backend is not installed or does not fit the model.
    """
    if model.endswith(".onnx"):
        runtime = graph_runtime(model, config)
        check_graph_file(model)
        return _open_graph(Path(model), runtime)
    is_of_training = model.endswith(WEIGHTS_ENDING) and importlib.util.find_spec("torch") is not None
    if is_of_training and config.backend == "auto":
        config = dataclasses.replace(config, backend="torch")
    return open_lfm_source(find_lfm(model), config)


def open_lfm_source(source: LfmSource, config: EngineConfig) -> LfmEngine:
    """Load a network that need not stand in a manifest; otherwise as :func:`open_lfm_engine`."""
    backend = choose_backend(config.backend)
    refuse_ignored_settings(backend, config)
    if backend != "torch":
        runtime = runtime_of(backend, config)
        return open_or_remake(
            lambda is_remade: cached_lfm_graph(source, is_remade=is_remade),
            functools.partial(_open_graph, runtime=runtime),
        )
    from lift3d_ros.engines.torch_engine import TorchEngine

    network, identity = load_lfm_network(source)
    engine = TorchEngine(network, LFM_SIGNATURE, config.device, config.threads, config.precision)
    return LfmEngine(engine, dataclasses.replace(identity, backend=engine.name))


def _open_graph(path: Path, runtime: GraphRuntime) -> LfmEngine:
    engine = open_graph(path.stem, path, runtime, lfm_profile(), graph_judge(path))
    if engine.signature != LFM_SIGNATURE:
        names = ", ".join(engine.signature.input_names)
        raise EngineError(
            f"{path}: is no skeleton lifter (its inputs are {names}); give a graph that was exported from one"
        )
    return LfmEngine(split_rows(engine, path, runtime), identity_in(engine.facts, engine.name))
