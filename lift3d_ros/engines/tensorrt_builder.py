"""Builds a TensorRT engine from an exported graph, checks that it is what was asked for, and keeps it in the cache.

An engine that is worse than float32 in what it is used for is refused. The verdict stands in its record of the cache,
so that it is found once for each build.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lift3d_ros.atomic_file import write_atomically
from lift3d_ros.engines.build_progress import BuildProgress
from lift3d_ros.engines.cuda_memory import CudaDevice, DeviceMemory, Gpu, device_index
from lift3d_ros.engines.engine_cache import EngineCache, EngineKey, EngineRecord, NewEngine
from lift3d_ros.engines.engine_verdict import Acceptance, check_verdict
from lift3d_ros.engines.mixed_precision import to_mixed_precision
from lift3d_ros.engines.numerics import Judge
from lift3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from lift3d_ros.engines.protocol import EngineSignature, Shapes
from lift3d_ros.engines.quantization import QUANTIZATION_FACT
from lift3d_ros.engines.tensorrt_api import BuiltLayer, Parsed, TensorRt, TensorRtBackend, load_tensorrt
from lift3d_ros.engines.tensorrt_engine import TensorRtEngine
from lift3d_ros.errors import EngineError
from lift3d_ros.weights.manifest import sha256_of

Precision = Literal["float32", "float16", "bfloat16"]

_TYPE_NAMES = {
    "float16": ("HALF", ("half", "fp16")),
    "bfloat16": ("BF16", ("bf16", "bfloat16")),
    "int8": ("INT8", ("int8",)),
}
# While building, the graph, the network, the engine and one candidate of each layer lie beside each other.
_COPIES_WHILE_BUILDING = 4
_BASE_BYTES = 300_000_000
_REPORT_EVERY_S = 5.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineRequest:
    """Which engine is wanted.

    Args:
        model: name for the cache and for messages.
        graph: exported ONNX file.
        profile: input -> smallest, usual and largest shape, for inputs whose sizes may differ.
        targets: GPU generations to build for ahead of time; none for the GPU of this machine.
        workspace_mb: limit of scratch memory; None for the builder's own, which is all of the device.
        dla_core: deep learning accelerator of a Jetson that takes what layers it can; None for the GPU alone.
        judge: compares the engine with float32 before it is used first; None takes it as it is.
        accepts_worse: whether an engine that the judge refuses is taken.
    """

    model: str
    graph: Path
    backend: TensorRtBackend
    precision: Precision = "float32"
    profile: Mapping[str, Shapes] = field(default_factory=dict)
    targets: tuple[str, ...] = ()
    workspace_mb: int | None = None
    dla_core: int | None = None
    judge: Judge | None = field(default=None, compare=False)
    accepts_worse: Acceptance = field(default="no", compare=False)


@dataclass(frozen=True, eq=False)
class _Loaded:
    engine: TensorRtEngine
    record: EngineRecord


def engine_key(api: TensorRt, request: EngineRequest, gpu: Gpu | None) -> EngineKey:
    """Return the key of an engine in the cache.

    Args:
        gpu: the device that it is built for; None for one that is built ahead of time.
    """
    if gpu is None:
        place = " ".join(request.targets)
    else:
        major, minor = gpu.compute_capability
        place = f"{gpu.name} (compute capability {major}.{minor}, driver for CUDA {gpu.driver_cuda[0]})"
    return EngineKey(
        model=request.model,
        graph_sha256=sha256_of(request.graph),
        precision=request.precision,
        backend=api.backend,
        version=api.version,
        gpu=place,
        profile=dict(request.profile),
        options={
            "workspace_mb": request.workspace_mb,
            **({} if request.dla_core is None else {"dla_core": request.dla_core}),
        },
    )


def find_engine(request: EngineRequest, cache: EngineCache, memory: DeviceMemory) -> TensorRtEngine | None:
    """Return the engine for the GPU of `memory` where the cache holds it, else None.

    Raises:
        RefusedEngineError: it is worse than float32.
        EngineError: the backend is not installed.
    """
    api = load_tensorrt(request.backend)
    found = cache.find(engine_key(api, request, memory.gpu), _loader(api, memory))
    return None if found is None else _judged(found, request, cache)


def obtain_engine(
    request: EngineRequest,
    cache: EngineCache,
    memory: DeviceMemory,
    on_progress: Callable[[BuildProgress], object] | None = None,
    *,
    is_rebuilt: bool = False,
) -> TensorRtEngine:
    """Return the engine for the GPU of `memory`, built where the cache does not hold it.

    Raises:
        RefusedEngineError: it is worse than float32.
        EngineError: the backend is not installed, the graph is not taken, memory is short, or the cache cannot be
            written.
    """
    api = load_tensorrt(request.backend)
    key = engine_key(api, request, memory.gpu)

    def build() -> NewEngine:
        memory.use()
        timing_path = cache.folder / f"timing-{api.backend}-{api.version}-{memory.gpu.name.replace(' ', '_')}.cache"
        return build_engine(api, request, memory.free_bytes(), timing_path, on_progress)

    return _judged(cache.obtain(key, build, _loader(api, memory), is_rebuilt=is_rebuilt), request, cache)


def build_ahead(
    request: EngineRequest, cache: EngineCache, on_progress: Callable[[BuildProgress], object] | None = None
) -> EngineRecord:
    """Build an engine for GPUs that need not be here, and return its record in the cache.

    Raises:
        EngineError: as :func:`obtain_engine`; the backend builds for the GPU of the machine only.
    """
    api = load_tensorrt(request.backend)
    return cache.obtain(
        engine_key(api, request, None),
        lambda: build_engine(api, request, None, None, on_progress),
        lambda data, record: record,
        is_rebuilt=True,
    )


def open_device(device: str) -> CudaDevice:
    """Return the CUDA device that ``engine.device`` names; ``cpu``, its default, stands for the first one.

    Raises:
        EngineError: no such device, or no driver.
    """
    return CudaDevice(device_index(device))


def build_engine(
    api: TensorRt,
    request: EngineRequest,
    free_bytes: int | None,
    timing_path: Path | None,
    on_progress: Callable[[BuildProgress], object] | None = None,
) -> NewEngine:
    """Build an engine and note what it is.

    Args:
        free_bytes: free memory of the device; None where it is not here.
        timing_path: file of what earlier builds measured; it is read and written.

    Raises:
        EngineError: too little memory; the graph is not taken; the engine is not in the precision that was asked for.
    """
    graph = OnnxRuntimeEngine(request.graph, 1)
    int8_layers = int(graph.facts.get(QUANTIZATION_FACT, {}).get("layers", 0))
    _check_dla(request, int8_layers)
    _check_profile(request, graph.signature)
    _check_memory(request, free_bytes)
    started_s = time.monotonic()
    data, layers = request.graph.read_bytes(), 0
    if request.precision != "float32":
        data, layers = to_mixed_precision(request.graph, request.precision)
    parsed = api.parse(data, request.graph.name)
    _check_network_precision(api, parsed, request, layers)
    _check_network_int8(api, parsed, request, int8_layers)
    workspace = None if request.workspace_mb is None else request.workspace_mb * 1_000_000
    timing = timing_path.read_bytes() if timing_path is not None and timing_path.is_file() else b""
    config = api.configure(parsed, request.profile, request.targets, workspace, timing, request.dla_core)
    engine = api.build(parsed, config, on_progress or _Reporter(request.model))
    if timing_path is not None and (measured := api.timing_cache_of(config)):
        write_atomically(timing_path, measured)
    seconds = time.monotonic() - started_s
    facts: dict[str, Any] = {
        "signature": graph.signature.to_json(),
        "model": graph.facts,
        "seconds": round(seconds, 1),
        "network_layers": parsed.network.num_layers,
        "16bit_layers": layers,
        "int8_layers": int8_layers,
    }
    if not request.targets:
        built = api.layers(api.load(engine))
        check_built_precision(built, request.precision)
        if int8_layers:
            check_built_precision(built, "int8")
        facts["layers"] = [[layer.name, *layer.output_types] for layer in built]
    logger.info("built %s in %.0f s: %.1f MB", request.model, seconds, len(engine) / 1e6)
    return NewEngine(engine, facts)


def check_built_precision(layers: tuple[BuiltLayer, ...], precision: str) -> None:
    """Refuse an engine whose layers are all in float32 though less was asked for.

    Args:
        precision: of :data:`Precision`, or ``int8`` for a quantised graph.
        layers: what the inspector reports; nothing proves nothing.

    Raises:
        EngineError: no layer gives an output in `precision`.
    """
    if precision == "float32" or not any(layer.output_types for layer in layers):
        return
    words = _TYPE_NAMES[precision][1]
    count = sum(any(word in text.lower() for word in words for text in layer.output_types) for layer in layers)
    logger.info("%d of %d built layers give %s", count, len(layers), precision)
    if not count:
        raise EngineError(
            f"the engine was built without a single layer in {precision}: this version of TensorRT ignored the "
            "types of the graph. It is not used; build with precision float32, or report the version"
        )


def _check_network_precision(api: TensorRt, parsed: Parsed, request: EngineRequest, layers: int) -> None:
    """Compare the layers of the network with those of the graph that were turned into 16 bit."""
    if not layers:
        return
    kinds = [api.module.LayerType.CONVOLUTION, api.module.LayerType.DECONVOLUTION, api.module.LayerType.MATRIX_MULTIPLY]
    found = parsed.count_of_type(kinds, getattr(api.module.DataType, _TYPE_NAMES[request.precision][0]))
    if found < layers:
        raise EngineError(
            f"{request.graph.name}: {api.backend} {api.version} read {found} layers in {request.precision}; the graph "
            f"has {layers}. Build with precision float32, or report the version"
        )


def _check_network_int8(api: TensorRt, parsed: Parsed, request: EngineRequest, layers: int) -> None:
    """Compare the network with the layers of the graph that are in INT8: each has weights that are dequantised."""
    kind = getattr(api.module.LayerType, "DEQUANTIZE", None)
    if not layers or kind is None:
        return
    found = sum(parsed.network.get_layer(index).type == kind for index in range(parsed.network.num_layers))
    if found < layers:
        raise EngineError(
            f"{request.graph.name}: {api.backend} {api.version} read {found} tensors in int8; the graph has {layers} "
            "layers with weights in int8. Build the float32 graph, or report the version"
        )


def _check_dla(request: EngineRequest, int8_layers: int) -> None:
    if request.dla_core is None or request.precision == "float16" or int8_layers:
        return
    raise EngineError(
        f"DLA core {request.dla_core}: takes layers in float16 and int8 only, and {request.model} is built in "
        f"{request.precision}; add --precision float16, or give a graph of 'lift3d engine quantize'"
    )


def _check_profile(request: EngineRequest, signature: EngineSignature) -> None:
    for spec in signature.inputs:
        if None in spec.shape and spec.name not in request.profile:
            raise EngineError(
                f"{request.graph.name}: sizes of input '{spec.name}' may differ, and TensorRT is told no limits for "
                "them; export a BEV detector with --rig RIG.yaml or --fixed"
            )


def _check_memory(request: EngineRequest, free_bytes: int | None) -> None:
    if free_bytes is None:
        return
    needed = _COPIES_WHILE_BUILDING * request.graph.stat().st_size + _BASE_BYTES
    needed += (request.workspace_mb or 0) * 1_000_000
    if needed > free_bytes:
        raise EngineError(
            f"building {request.model} needs about {needed / 1e6:.0f} MB of the device's memory, and "
            f"{free_bytes / 1e6:.0f} MB are free; close other programs, or lower the workspace"
        )


def _loader(api: TensorRt, memory: DeviceMemory) -> Callable[[bytes, EngineRecord], _Loaded]:
    def load(data: bytes, record: EngineRecord) -> _Loaded:
        try:
            signature, facts = EngineSignature.from_json(record.facts["signature"]), dict(record.facts["model"])
        except (KeyError, TypeError, ValueError):
            raise EngineError("its record does not say which tensors it has") from None
        return _Loaded(TensorRtEngine(api, data, signature, facts, memory), record)

    return load


def _judged(loaded: _Loaded, request: EngineRequest, cache: EngineCache) -> TensorRtEngine:
    check_verdict(loaded.engine, loaded.record, cache, request.judge, request.accepts_worse)
    return loaded.engine


class _Reporter:
    """Logs how far a build is, every few seconds."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._reported_s = 0.0

    def __call__(self, progress: BuildProgress) -> None:
        if progress.elapsed_s - self._reported_s < _REPORT_EVERY_S:
            return
        self._reported_s = progress.elapsed_s
        rest = "" if progress.remaining_s is None else f", about {progress.remaining_s:.0f} s left"
        logger.info("building %s: %.0f %%%s", self._model, 100 * progress.done, rest)
