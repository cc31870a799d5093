"""One adapter over `tensorrt` 10.3 to 11 and `tensorrt_rtx` 1.x; both are imported only when asked for.

What differs between them is probed, not looked up by version: whether a network has to be told to be strongly typed
(11 and RTX always are), whether building can report progress, whether targets can be named ahead of time (RTX only).
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lift3d_ros.engines.build_progress import BuildProgress
from lift3d_ros.engines.tensorrt_callbacks import make_logger, make_monitor, make_profiler
from lift3d_ros.errors import EngineError, nearest_name_hint

TensorRtBackend = Literal["tensorrt", "tensorrt_rtx"]
_OLDEST = (10, 3)
_MAX_ERRORS = 3


@dataclass(frozen=True)
class BuiltLayer:
    """One layer of a built engine, and the types of its outputs as the inspector writes them."""

    name: str
    output_types: tuple[str, ...]


class TensorRt:
    """The module of one backend, with its one logger."""

    def __init__(self, backend: TensorRtBackend, module: Any) -> None:
        """Wrap `module`; see :func:`load_tensorrt`."""
        self.backend = backend
        self.module = module
        self.version: str = module.__version__
        # All builders, parsers and runtimes of a process share the first logger.
        self.messages = make_logger(module)

    @property
    def takes_targets(self) -> bool:
        """Whether engines can be built ahead of time for GPUs that are not here."""
        return hasattr(self.module, "ComputeCapability")

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of GPU generations that engines can be built for ahead of time, for example ``SM86``."""
        if not self.takes_targets:
            return ()
        return tuple(name for name in self.module.ComputeCapability.__members__ if name.startswith("SM"))

    def parse(self, graph: bytes, where: str) -> Parsed:
        """Return the network of an ONNX graph, strongly typed.

        Raises:
            EngineError: names the node, its operator, the reason and the remedy.
        """
        self.messages.errors.clear()
        builder = self.module.Builder(self.messages)
        typed = getattr(self.module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        network = builder.create_network(0 if typed is None else 1 << int(typed))
        parser = self.module.OnnxParser(network, self.messages)
        if not parser.parse(graph):
            raise EngineError(f"{where}: {self._parse_errors(parser)}")
        return Parsed(builder, network, parser)

    def _parse_errors(self, parser: Any) -> str:
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        texts = []
        for error in errors[:_MAX_ERRORS]:
            operator = _attribute(error, "node_operator") or "of an unknown operator"
            node = _attribute(error, "node_name") or f"number {_attribute(error, 'node')}"
            texts.append(
                f"node '{node}' ({operator}): {' '.join(str(_attribute(error, 'desc') or error).split())[:200]}"
            )
        more = f"; and {len(errors) - _MAX_ERRORS} more" if len(errors) > _MAX_ERRORS else ""
        found = "; ".join(texts) or self.messages.last or "no reason given"
        return (
            f"{self.backend} {self.version} does not take this graph: {found}{more}. See which operators it takes with "
            "'lift3d engine check', or set engine.backend to onnxruntime"
        )

    def configure(
        self,
        parsed: Parsed,
        profile: Mapping[str, Sequence[tuple[int, ...]]],
        targets: Sequence[str],
        workspace_bytes: int | None,
        timing_cache: bytes,
        dla_core: int | None = None,
    ) -> Any:
        """Return the configuration of a build.

        Args:
            profile: input -> smallest, usual and largest shape, for inputs whose sizes may differ.
            targets: GPU generations to build for ahead of time; none for the GPU of this machine.
            workspace_bytes: limit of scratch memory; None for the builder's own.
            timing_cache: what an earlier build measured, or nothing.
            dla_core: deep learning accelerator that takes the layers that it can; the GPU does the rest.

        Raises:
            EngineError: an unknown target, no such accelerator, or shapes that contradict the network.
        """
        config = parsed.builder.create_builder_config()
        if workspace_bytes is not None:
            config.set_memory_pool_limit(self.module.MemoryPoolType.WORKSPACE, workspace_bytes)
        if hasattr(config, "profiling_verbosity"):
            config.profiling_verbosity = self.module.ProfilingVerbosity.DETAILED  # the inspector needs it
        if profile:
            shapes = parsed.builder.create_optimization_profile()
            for name, (smallest, usual, largest) in profile.items():
                shapes.set_shape(name, smallest, usual, largest)
            if config.add_optimization_profile(shapes) < 0:
                raise EngineError(f"the shapes {dict(profile)} do not fit the network: {self.messages.last}")
        if targets:
            self._set_targets(config, targets)
        elif hasattr(config, "create_timing_cache"):
            config.set_timing_cache(config.create_timing_cache(timing_cache), False)
        if dla_core is not None:
            self._set_dla(parsed.builder, config, dla_core)
        return config

    def _set_dla(self, builder: Any, config: Any, core: int) -> None:
        kinds, flags = getattr(self.module, "DeviceType", None), getattr(self.module, "BuilderFlag", None)
        cores = int(getattr(builder, "num_DLA_cores", 0))
        if kinds is None or flags is None or not hasattr(flags, "GPU_FALLBACK"):
            found = "does not offer it"
        elif core >= cores:
            found = f"finds {cores or 'none'} here"
        else:
            config.default_device_type = kinds.DLA
            config.DLA_core = core
            config.set_flag(flags.GPU_FALLBACK)
            return
        raise EngineError(
            f"DLA core {core}: {self.backend} {self.version} {found}; Jetson AGX Orin and Orin NX have two, with "
            "TensorRT 10.3 to 10.7 or JetPack 7.2.2 and newer. Build without --dla-core"
        )

    def _set_targets(self, config: Any, targets: Sequence[str]) -> None:
        if not self.takes_targets:
            raise EngineError(
                f"{self.backend} builds for the GPU of this machine only; build there, or take the backend tensorrt_rtx"
            )
        config.num_compute_capabilities = len(targets)
        for index, target in enumerate(targets):
            if target not in self.targets:
                raise EngineError(
                    f"target '{target}' is not known to {self.backend} {self.version}"
                    f"{nearest_name_hint(target, self.targets)}; known: {', '.join(self.targets)}"
                )
            config.set_compute_capability(getattr(self.module.ComputeCapability, target), index)

    def build(
        self,
        parsed: Parsed,
        config: Any,
        on_progress: Callable[[BuildProgress], object] | None = None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> bytes:
        """Return the built engine.

        Raises:
            EngineError: the builder gave none; with its own last message.
        """
        self.messages.errors.clear()
        monitor = None
        if hasattr(self.module, "IProgressMonitor"):
            monitor = make_monitor(self.module, on_progress or (lambda progress: None), is_cancelled)
            config.progress_monitor = monitor
        data = parsed.builder.build_serialized_network(parsed.network, config)
        if data is None:
            if is_cancelled():
                raise EngineError("the build was cancelled")
            reason = self.messages.last or "no reason given"
            raise EngineError(
                f"{self.backend} {self.version} could not build this engine: {reason}. "
                "Close other programs if memory was short, or set engine.backend to onnxruntime"
            )
        return bytes(data)

    def timing_cache_of(self, config: Any) -> bytes:
        """Return what a build has measured, for the next one."""
        cache = config.get_timing_cache() if hasattr(config, "get_timing_cache") else None
        return b"" if cache is None else bytes(cache.serialize())

    def load(self, data: bytes) -> Any:
        """Return the engine of what `build` returned.

        Raises:
            EngineError: it belongs to another version or GPU, or is damaged.
        """
        self.messages.errors.clear()
        runtime = self.module.Runtime(self.messages)
        engine = runtime.deserialize_cuda_engine(data)
        if engine is None:
            raise EngineError(
                f"{self.backend} {self.version} does not load it: {self.messages.last or 'no reason given'}"
            )
        return engine

    def new_profiler(self) -> Any:
        """Return a profiler for an execution context; `samples_ms` of it is layer -> milliseconds of each run."""
        return make_profiler(self.module)

    def layers(self, engine: Any) -> tuple[BuiltLayer, ...]:
        """Return the layers of an engine as its inspector reports them; nothing where it gives no details."""
        inspector = engine.create_engine_inspector()
        text = inspector.get_engine_information(self.module.LayerInformationFormat.JSON)
        with contextlib.suppress(ValueError):
            found = json.loads(text).get("Layers", [])
            return tuple(
                BuiltLayer(
                    str(layer.get("Name", "")),
                    tuple(str(output.get("Format/Datatype", "")) for output in layer.get("Outputs", ())),
                )
                for layer in found
                if isinstance(layer, dict)
            )
        return ()


@dataclass(frozen=True, eq=False)
class Parsed:
    """A parsed network with what must live as long as it."""

    builder: Any
    network: Any
    parser: Any

    def count_of_type(self, kinds: Sequence[Any], dtype: Any) -> int:
        """Return how many layers of these kinds give an output of this type."""
        layers = (self.network.get_layer(index) for index in range(self.network.num_layers))
        return sum(layer.type in kinds and layer.get_output(0).dtype == dtype for layer in layers)


@functools.cache
def load_tensorrt(backend: TensorRtBackend) -> TensorRt:
    """Import a backend.

    Raises:
        EngineError: it is not installed, cannot be loaded, or is older than 10.3.
    """
    try:
        module = importlib.import_module(backend)
    except ImportError as error:
        raise EngineError(f"engine.backend '{backend}' is not usable here ({error}); {_remedy(backend)}") from None
    if not hasattr(module, "Builder"):
        raise EngineError(f"engine.backend '{backend}': the installed package is empty; {_remedy(backend)}")
    version = tuple(int(part) for part in module.__version__.split(".")[:2])
    if backend == "tensorrt" and version < _OLDEST:
        raise EngineError(
            f"engine.backend 'tensorrt': release {module.__version__} is installed; expected 10.3 (JetPack 6) or newer"
        )
    return TensorRt(backend, module)


def _remedy(backend: str) -> str:
    if backend == "tensorrt":
        return (
            "on a Jetson install the package python3-libnvinfer of JetPack and let the environment see the system's "
            "packages, on a PC install TensorRT from NVIDIA, or set engine.backend to onnxruntime"
        )
    return "'pip install tensorrt_rtx' on a PC with an RTX GPU, or set engine.backend to onnxruntime"


def _attribute(error: Any, name: str) -> Any:
    """Return what a parser error says of one thing; a method that older releases lack gives nothing."""
    method = getattr(error, name, None)
    return method() if callable(method) else None
