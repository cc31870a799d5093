"""Opens the engine of the BEV detector: model name and backend in, loaded graph and model facts out.

For ONNX Runtime, OpenVINO and TensorRT a graph is exported once into the cache folder and found again without torch;
the path of an exported ``.onnx`` file is accepted in place of a model name.
"""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from lift3d_ros.config import from_mapping, setting
from lift3d_ros.engines.open_graph import GRAPH_BACKENDS, GraphBackend, GraphRuntime, open_graph, open_or_remake
from lift3d_ros.engines.protocol import Engine
from lift3d_ros.errors import EngineError, nearest_name_hint
from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.models.dfa3d.visibility import PairCapacity, default_capacity
from lift3d_ros.pipelines.backends import AUTOMATIC_BACKENDS, BACKENDS, Backend
from lift3d_ros.pipelines.bev_graph import (
    bev_signature,
    exported_graph,
    load_network,
    model_config,
    wants_fixed_sizes,
)
from lift3d_ros.pipelines.engine_judge import graph_judge
from lift3d_ros.pipelines.network_graph import check_graph_file, identity_in
from lift3d_ros.types import ModelIdentity
from lift3d_ros.weights.manifest import ModelEntry, find_model, verified_weights_path

_LARGEST_RECORDED_GRID = 10_000


@dataclass(frozen=True)
class EngineConfig:
    """How the network is executed."""

    backend: Backend = setting(
        "auto",
        "runtime of the network; auto takes onnxruntime, and torch where that is not installed, for weights of a "
        "training (.safetensors), and for object reconstruction by a named model",
    )
    device: str = setting(
        "cpu",
        "device of torch, for example cpu or cuda:0; with tensorrt and GPU providers cpu stands for the first GPU",
    )
    precision: Literal["float32", "float16", "bfloat16"] = setting(
        "float32",
        "torch and tensorrt: type of convolutions and matrix products; coordinates stay in float32. openvino: float32 "
        "or bfloat16, of the whole network",
    )
    provider: Literal["cpu", "cuda", "tensorrt"] = setting(
        "cpu", "onnxruntime: what computes; cuda and tensorrt need the package onnxruntime-gpu"
    )
    cuda_graph: bool = setting(True, "torch on a CUDA device: record the kernels of small models once and replay them")
    threads: int = setting(0, "CPU threads of the runtime; 0 lets it choose", minimum=0, maximum=256)
    builds_beside: bool = setting(
        False, "tensorrt: serve with onnxruntime while the engine is built, and switch then; false waits for the engine"
    )
    accepts_worse: bool = setting(
        False, "tensorrt, and openvino in bfloat16: run a model whose results are refused as worse than in float32"
    )


@dataclass(frozen=True, eq=False)
class BevEngine:
    """A loaded engine with what the pipeline has to know about its model."""

    engine: Engine
    model_config: Dfa3dConfig
    identity: ModelIdentity

    @property
    def num_cameras(self) -> int:
        """Number of camera slots; a rig may leave some of them empty."""
        slots = self._input_shape("images")[0]
        assert slots is not None
        return slots

    @property
    def capacity(self) -> PairCapacity | None:
        """Room for pairs of a camera and a cell that it sees, in a graph of fixed sizes; None takes any number."""
        pairs, per_cell = self._input_shape("pair_camera")[0], self._input_shape("pairs_of_cell")[1]
        return None if pairs is None or per_cell is None else PairCapacity(pairs, per_cell)

    def _input_shape(self, name: str) -> tuple[int | None, ...]:
        return next(spec.shape for spec in self.engine.signature.inputs if spec.name == name)


def open_bev_engine(model: str, config: EngineConfig, num_cameras: int) -> BevEngine:
    """Load the model called `model` (or the ``.onnx`` file at that path) for `num_cameras` cameras.

    Raises:
        WeightsError: unknown model, missing or damaged weights.
        EngineError: the backend is not installed, or the graph has too few camera slots.
    """
    if model.endswith(".onnx"):
        return _open_graph(Path(model), graph_runtime(model, config), num_cameras)
    return open_entry(model, find_model(model), config, num_cameras)


def open_entry(name: str, entry: ModelEntry, config: EngineConfig, num_cameras: int) -> BevEngine:
    """Load a model that need not stand in a manifest; otherwise as :func:`open_bev_engine`."""
    backend = choose_backend(config.backend)
    refuse_ignored_settings(backend, config)
    if backend != "torch":
        runtime = runtime_of(backend, config)
        is_fixed = wants_fixed_sizes(backend, config.provider)
        return open_or_remake(
            lambda is_remade: exported_graph(name, entry, num_cameras, is_fixed=is_fixed, is_remade=is_remade),
            functools.partial(_open_graph, runtime=runtime, num_cameras=num_cameras),
        )
    from lift3d_ros.engines.torch_engine import TorchEngine

    network, sha256 = load_network(name, entry)
    # A recorded graph has fixed shapes; otherwise there is no need for them. With large grids the room that they leave
    # costs more than recording saves (benchmarks/dfa3d_h200_float32.json: 0.26 of the time for tiny, 1.17 for base).
    is_small = network.config.num_cells <= _LARGEST_RECORDED_GRID
    is_recorded = config.cuda_graph and config.device.startswith("cuda") and is_small
    capacity = default_capacity(num_cameras, network.config) if is_recorded else None
    engine = TorchEngine(
        network,
        bev_signature(network.config, num_cameras, capacity),
        config.device,
        config.threads,
        config.precision,
        uses_cuda_graph=is_recorded,
    )
    identity = ModelIdentity(name, sha256, is_trained=entry.weights is not None, backend=engine.name)
    return BevEngine(engine, network.config, identity)


def check_model(model: str, config: EngineConfig) -> None:
    """Refuse at once what `open_bev_engine` would refuse after a while.

    Raises:
        WeightsError, EngineError: as there.
    """
    if not model.endswith(".onnx"):
        refuse_ignored_settings(choose_backend(config.backend), config)
        entry = find_model(model)
        model_config(model, entry)
        verified_weights_path(model, entry)
        return
    graph_runtime(model, config)
    check_graph_file(model)


def graph_runtime(model: str, config: EngineConfig) -> GraphRuntime:
    """Return how to run the exported graph `model`.

    Raises:
        EngineError: the backend does not run graphs, is not installed, or would ignore a setting.
    """
    backend = "onnxruntime" if config.backend == "auto" else config.backend
    if backend not in GRAPH_BACKENDS:
        raise EngineError(
            f"engine.backend '{config.backend}' cannot run the exported graph '{model}'; give a model name, or set "
            "engine.backend to auto or onnxruntime"
        )
    choose_backend(backend)
    refuse_ignored_settings(backend, config)
    return runtime_of(backend, config)


def runtime_of(backend: str, config: EngineConfig) -> GraphRuntime:
    """Return how to run a graph with a backend that was chosen."""
    return GraphRuntime(
        cast("GraphBackend", backend),
        config.device,
        config.precision,
        config.threads,
        config.builds_beside,
        config.provider,
        config.accepts_worse,
    )


def refuse_ignored_settings(backend: str, config: EngineConfig) -> None:
    """Settings that a backend would ignore are refused: the user expects them to have an effect.

    Raises:
        EngineError: names the setting.
    """
    if backend != "onnxruntime" and config.provider != "cpu":
        raise EngineError(
            f"engine.provider '{config.provider}' is a setting of onnxruntime, and {backend} was chosen; set "
            "engine.backend to onnxruntime, or engine.provider to cpu"
        )
    if backend == "openvino" and config.precision == "float16":
        raise EngineError(
            "engine.precision 'float16': openvino computes in float32 or bfloat16 on a CPU; set engine.precision to "
            "one of them"
        )
    ignored: list[str] = []
    if backend == "openvino" or (backend == "onnxruntime" and config.provider == "cpu"):
        ignored.append("device")
    if backend == "onnxruntime":
        ignored.append("precision")
    for name in ignored:
        value, default = getattr(config, name), getattr(EngineConfig, name)
        if value != default:
            raise EngineError(
                f"engine.{name} '{value}' is a setting of the torch backend and of tensorrt, and {backend} was chosen; "
                f"set engine.backend to torch, or engine.{name} to {default}"
            )


def choose_backend(requested: str) -> str:
    """Return the backend to use.

    Raises:
        EngineError: unknown name, or the requested backend, for ``auto`` every backend, is not installed.
    """
    if requested not in BACKENDS:
        raise EngineError(
            f"engine.backend '{requested}' is not known{nearest_name_hint(requested, BACKENDS)}; "
            f"expected one of {', '.join(BACKENDS)}"
        )
    candidates = AUTOMATIC_BACKENDS if requested == "auto" else (requested,)
    for name in candidates:
        if importlib.util.find_spec(name) is not None:
            return name
    if requested in ("tensorrt", "tensorrt_rtx"):
        from lift3d_ros.engines.tensorrt_api import load_tensorrt

        load_tensorrt(cast('Literal["tensorrt", "tensorrt_rtx"]', requested))  # says how to install it
    raise EngineError(
        f"engine.backend '{requested}': none of {', '.join(candidates)} is installed for this Python; "
        f"install one, for example 'pip install {candidates[0]}'"
    )


def _open_graph(path: Path, runtime: GraphRuntime, num_cameras: int) -> BevEngine:
    engine = open_graph(path.stem, path, runtime, judge=graph_judge(path))
    facts = engine.facts
    model_facts = from_mapping(Dfa3dConfig, facts["config"], f"{path}: facts of the model")
    opened = BevEngine(engine, model_facts, identity_in(facts, engine.name))
    if opened.num_cameras < num_cameras:
        raise EngineError(
            f"{path}: the graph has {opened.num_cameras} camera slots, the rig has {num_cameras} cameras; "
            f"export it again with --cameras {num_cameras}"
        )
    return opened
