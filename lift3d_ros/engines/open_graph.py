"""Opens an exported graph on ONNX Runtime, OpenVINO or TensorRT; imports no torch."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, cast

from lift3d_ros.engines.cuda_memory import device_index
from lift3d_ros.engines.onnxruntime_engine import DamagedGraphError, OnnxRuntimeEngine, Provider
from lift3d_ros.engines.protocol import GraphEngine, Shapes
from lift3d_ros.engines.split_engine import SplitEngine, usable_cores
from lift3d_ros.errors import EngineError

if TYPE_CHECKING:
    from lift3d_ros.engines.numerics import Judge
    from lift3d_ros.engines.openvino_engine import OpenVinoPrecision
    from lift3d_ros.engines.tensorrt_builder import Precision
    from lift3d_ros.engines.tensorrt_engine import TensorRtEngine

GraphBackend = Literal["onnxruntime", "openvino", "tensorrt", "tensorrt_rtx"]
GRAPH_BACKENDS: tuple[GraphBackend, ...] = ("onnxruntime", "openvino", "tensorrt", "tensorrt_rtx")

OpenedT = TypeVar("OpenedT")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GraphRuntime:
    """How a graph is executed.

    Args:
        device: of TensorRT and of the GPU providers of ONNX Runtime; ``cpu``, the default of all backends, stands for
            the first GPU.
        provider: of ONNX Runtime.
        builds_beside: serve with ONNX Runtime while a TensorRT engine is built, and switch to it then.
        accepts_worse: take what the judge refuses.
    """

    backend: GraphBackend
    device: str = "cpu"
    precision: Precision = "float32"
    threads: int = 0
    builds_beside: bool = False
    provider: Provider = "cpu"
    accepts_worse: bool = False


def open_graph(
    model: str,
    path: Path,
    runtime: GraphRuntime,
    profile: Mapping[str, Shapes] | None = None,
    judge: Judge | None = None,
) -> GraphEngine:
    """Load the graph at `path`; for TensorRT the engine comes from the cache, or is built first.

    Args:
        model: name for the cache of engines.
        profile: input -> smallest, usual and largest shape, for inputs whose sizes may differ.
        judge: compares with float32: a TensorRT engine before it is used first, OpenVINO in bfloat16 each time.

    Raises:
        DamagedGraphError: the file is no graph of this package.
        RefusedEngineError: the results are worse than those of float32 by more than the limits.
        EngineError: the backend is not installed, has no GPU, or cannot build the engine.
    """
    if runtime.backend == "onnxruntime":
        return OnnxRuntimeEngine(path, runtime.threads, runtime.provider, device_index(runtime.device))
    if runtime.backend == "openvino":
        return _open_openvino(model, path, runtime, judge)
    from lift3d_ros.engines.engine_cache import EngineCache
    from lift3d_ros.engines.switching_engine import SwitchingEngine
    from lift3d_ros.engines.tensorrt_builder import EngineRequest, find_engine, obtain_engine, open_device

    request = EngineRequest(
        model,
        path,
        runtime.backend,
        runtime.precision,
        profile or {},
        judge=judge,
        accepts_worse="once" if runtime.accepts_worse else "no",
    )
    memory, cache = open_device(runtime.device), EngineCache()

    def open_fallback() -> GraphEngine:
        return OnnxRuntimeEngine(path, runtime.threads)

    def build() -> GraphEngine:
        return _warm(obtain_engine(request, cache, memory))

    engine = find_engine(request, cache, memory)
    if engine is not None:
        return SwitchingEngine(_warm(engine), open_fallback)
    return SwitchingEngine(build if runtime.builds_beside else build(), open_fallback)


def split_rows(engine: GraphEngine, path: Path, runtime: GraphRuntime) -> GraphEngine:
    """Return an engine that runs parts of a batch in parallel, where that pays: on a CPU, with several threads.

    Args:
        engine: the graph at `path`, opened as `runtime` says.

    Raises:
        EngineError: the graph has state, or a fixed number of rows.
    """
    num_parts = runtime.threads or usable_cores()
    if runtime.backend != "onnxruntime" or runtime.provider != "cpu" or num_parts < 2:
        return engine
    return SplitEngine(engine, OnnxRuntimeEngine(path, threads=1), num_parts)


def _warm(engine: TensorRtEngine) -> TensorRtEngine:
    """Let an engine load its kernels now, and not in the first set of a node."""
    try:
        engine.warm_up()
    except EngineError as error:  # if it fails again in a real run, that is reported and the fallback takes it
        logger.warning("%s failed when it was warmed up: %s", engine.name, error)
    return engine


def _open_openvino(model: str, path: Path, runtime: GraphRuntime, judge: Judge | None) -> GraphEngine:
    from lift3d_ros.engines.engine_verdict import refuse_worse
    from lift3d_ros.engines.openvino_engine import OpenVinoEngine

    engine = OpenVinoEngine(path, runtime.threads, cast("OpenVinoPrecision", runtime.precision))
    if runtime.precision != "float32" and judge is not None:
        what = f"{model} in {runtime.precision} on openvino"
        logger.info("comparing %s with float32", what)
        refuse_worse(
            what,
            judge(engine),
            "Set engine.precision to float32, or accept it with engine.accepts_worse",
            is_taken=runtime.accepts_worse,
        )
    return engine


def open_or_remake(find: Callable[[bool], Path], open_path: Callable[[Path], OpenedT]) -> OpenedT:
    """Open the cached graph of a model; one that is damaged is exported again where torch is installed.

    Args:
        find: returns the path of the graph; with True it is exported again first.

    Raises:
        EngineError: what the two functions raise.
    """
    try:
        return open_path(find(False))
    except DamagedGraphError as error:
        if importlib.util.find_spec("torch") is None:
            raise
        logger.warning("%s; doing so now", error)
    return open_path(find(True))
