"""Stands in for `tensorrt` and `tensorrt_rtx` on machines without a GPU: the calls that our adapter makes, no more.

An engine of it is the ONNX graph behind one line that says for which version and GPU it was "built"; it is run by ONNX
Runtime on host memory, which `FakeDevice` hands out in place of a device's.
"""

from __future__ import annotations

import ctypes
import enum
import importlib.machinery
import json
import time
import types
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from lift3d_ros.engines.cuda_memory import Gpu
from lift3d_ros.errors import EngineError

ORIN = Gpu("Orin", (8, 7), (12, 6))
RTX_3060 = Gpu("NVIDIA GeForce RTX 3060", (8, 6), (13, 0))
_TYPES = {1: "FLOAT", 10: "HALF", 16: "BF16", 2: "UINT8", 6: "INT32", 7: "INT64", 9: "BOOL"}
_NUMPY = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "UINT8": np.uint8,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": bool,
}


class FakeDevice:
    """Host memory in place of a device's; it knows what is not given back, and can be told to be lost."""

    def __init__(self, gpu: Gpu = ORIN, free: int = 8_000_000_000) -> None:
        self.gpu = gpu
        self.free = free
        self.index = 0
        self.is_lost = False
        self.live: dict[int, Any] = {}
        self.pinned: set[int] = set()
        self.copies: list[tuple[str, int]] = []  # 'in' or 'out', and the address in host memory

    def free_bytes(self) -> int:
        return self.free

    def use(self) -> None:
        if self.is_lost:
            raise EngineError("CUDA driver: cuCtxSetCurrent failed with CUDA_ERROR_LAUNCH_FAILED")

    def allocate(self, size: int) -> int:
        block = (ctypes.c_byte * size)()
        self.live[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def release(self, address: int) -> None:
        del self.live[address]

    def allocate_pinned(self, size: int) -> int:
        address = self.allocate(size)
        self.pinned.add(address)
        return address

    def release_pinned(self, address: int) -> None:
        self.pinned.remove(address)
        self.release(address)

    def new_stream(self) -> int:
        return 1

    def wait(self, stream: int) -> None:
        self.use()

    def copy_in(self, device: int, host: int, size: int, stream: int) -> None:
        self.copies.append(("in", host))
        ctypes.memmove(device, host, size)

    def copy_out(self, host: int, device: int, size: int, stream: int) -> None:
        self.copies.append(("out", host))
        ctypes.memmove(host, device, size)

    def fill_zero(self, device: int, size: int, stream: int) -> None:
        ctypes.memset(device, 0, size)


def fake_tensorrt(name: str = "tensorrt", version: str = "10.3.0", gpu: Gpu = ORIN) -> Any:
    """Return a module with the differences of its release.

    Its attributes steer it: `refused` (operators that the parser does not take), `build_s` (how long a build takes),
    `ignores_types` (builds in float32 whatever the graph says), `fails_to_run`, `dla_cores`.
    """
    major = int(version.split(".")[0])
    is_rtx = name == "tensorrt_rtx"
    trt: Any = types.ModuleType(name)
    trt.__spec__ = importlib.machinery.ModuleSpec(name, None)  # it counts as installed
    trt.__version__, trt.gpu = version, gpu
    trt.refused, trt.build_s, trt.ignores_types, trt.fails_to_run, trt.builds = frozenset(), 0.0, False, False, 0
    trt.dla_cores = 0
    trt.DataType = enum.Enum("DataType", [*_TYPES.values(), "INT8"])
    trt.LayerType = enum.Enum("LayerType", ["CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY", "DEQUANTIZE", "OTHER"])
    trt.MemoryPoolType = enum.Enum("MemoryPoolType", ["WORKSPACE"])
    trt.ProfilingVerbosity = enum.Enum("ProfilingVerbosity", ["DETAILED"])
    trt.LayerInformationFormat = enum.Enum("LayerInformationFormat", ["JSON"])
    # Release 11 knows only strongly typed networks and has no flag for it.
    flags = ["EXPLICIT_BATCH"] if major >= 11 and not is_rtx else ["EXPLICIT_BATCH", "STRONGLY_TYPED"]
    trt.NetworkDefinitionCreationFlag = enum.IntEnum("NetworkDefinitionCreationFlag", flags, start=0)
    if not is_rtx:
        trt.DeviceType = enum.Enum("DeviceType", ["GPU", "DLA"])
        trt.BuilderFlag = enum.Enum("BuilderFlag", ["GPU_FALLBACK"])
    if is_rtx:
        trt.ComputeCapability = enum.Enum("ComputeCapability", ["SM86", "SM89", "SM120", "CURRENT"])

    class ILogger:
        Severity = enum.Enum("Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"])

        def error(self, text: str) -> None:
            self.log(ILogger.Severity.ERROR, text)  # type: ignore[attr-defined]

    class IProgressMonitor:
        pass

    class IProfiler:
        pass

    class Builder:
        def __init__(self, logger: Any) -> None:
            self.logger = logger
            self.num_DLA_cores = trt.dla_cores

        def create_network(self, flags: int) -> Any:
            typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
            assert flags == 0 if typed is None else True, "this release has no network flags"
            return _Network(trt, is_typed=typed is None or bool(flags & 1 << typed))

        def create_builder_config(self) -> Any:
            return _Config(is_rtx)

        def create_optimization_profile(self) -> Any:
            return _Profile()

        def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
            trt.builds += 1
            trt.last_config = config
            monitor = config.progress_monitor
            monitor.phase_start("Building engine", None, 4)
            for step in range(4):
                time.sleep(trt.build_s / 4)
                if not monitor.step_complete("Building engine", step):
                    self.logger.error("Build cancelled")
                    return None
            monitor.phase_finish("Building engine")
            head = {"version": trt.__version__, "gpu": trt.gpu.name, "profile": config.profile}
            is_small = network.is_typed and not trt.ignores_types
            head["types"] = [layer.dtype_name if is_small else "FLOAT" for layer in network.layers]
            return json.dumps(head).encode() + b"\n" + network.model.SerializeToString()

    class OnnxParser:
        def __init__(self, network: Any, logger: Any) -> None:
            self.network, self.errors = network, []

        def parse(self, data: bytes) -> bool:
            model = onnx.load_from_string(data)
            self.errors = [_ParserError(node) for node in model.graph.node if node.op_type in trt.refused]
            self.network.take(model)
            return not self.errors

        @property
        def num_errors(self) -> int:
            return len(self.errors)

        def get_error(self, index: int) -> Any:
            return self.errors[index]

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self.logger = logger

        def deserialize_cuda_engine(self, data: bytes) -> Any:
            head, _, graph = data.partition(b"\n")
            try:
                facts = json.loads(head)
            except ValueError:
                self.logger.error("Serialization assertion plan->header.magicTag == rt::kPLAN_MAGIC_TAG failed")
                return None
            if (facts["version"], facts["gpu"]) != (trt.__version__, trt.gpu.name):
                self.logger.error("The engine plan file is not compatible with this version of TensorRT or this GPU")
                return None
            return _Engine(trt, facts, graph, self.logger)

    trt.ILogger, trt.IProgressMonitor, trt.Builder = ILogger, IProgressMonitor, Builder
    trt.OnnxParser, trt.Runtime, trt.IProfiler = OnnxParser, Runtime, IProfiler
    return trt


class _ParserError:
    def __init__(self, node: Any) -> None:
        self._node = node

    def node(self) -> int:
        return 0

    def node_name(self) -> str:
        return str(self._node.name)

    def node_operator(self) -> str:
        return str(self._node.op_type)

    def desc(self) -> str:
        return "Plugin not found, are the plugin name, version, and namespace correct?"


class _Layer:
    def __init__(self, trt: Any, kind: str, dtype_name: str) -> None:
        self.type, self.dtype_name = trt.LayerType[kind], dtype_name
        self.dtype = trt.DataType[dtype_name]

    def get_output(self, index: int) -> _Layer:
        return self


class _Network:
    def __init__(self, trt: Any, is_typed: bool) -> None:
        self._trt, self.is_typed = trt, is_typed
        self.layers: list[_Layer] = []

    def take(self, model: Any) -> None:
        self.model = model
        kinds = {
            "Conv": "CONVOLUTION",
            "MatMul": "MATRIX_MULTIPLY",
            "Gemm": "MATRIX_MULTIPLY",
            "DequantizeLinear": "DEQUANTIZE",
        }
        weights = {tensor.name: _TYPES.get(tensor.data_type, "FLOAT") for tensor in model.graph.initializer}
        for node in model.graph.node:
            dtype = next((weights[name] for name in node.input[1:2] if name in weights), "FLOAT")
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                dtype = "INT8" if node.op_type == "QuantizeLinear" else "FLOAT"
            self.layers.append(_Layer(self._trt, kinds.get(node.op_type, "OTHER"), dtype if self.is_typed else "FLOAT"))

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_layer(self, index: int) -> _Layer:
        return self.layers[index]


class _Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        self.shapes[name] = shapes


class _TimingCache:
    def serialize(self) -> bytes:
        return b"measured"


class _Config:
    def __init__(self, is_rtx: bool) -> None:
        self.progress_monitor: Any = None
        self.profiling_verbosity: Any = None
        self.profile: dict[str, Any] = {}
        self.timing: Any = None
        self.flags: list[Any] = []
        self.set_flag = self.flags.append
        if is_rtx:
            self.num_compute_capabilities = 0
            self.set_compute_capability = lambda capability, index: None

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        assert size > 0

    def add_optimization_profile(self, profile: _Profile) -> int:
        self.profile = profile.shapes
        return 0

    def create_timing_cache(self, data: bytes) -> Any:
        return _TimingCache()

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> None:
        self.timing = cache

    def get_timing_cache(self) -> Any:
        return self.timing


class _Engine:
    def __init__(self, trt: Any, facts: dict[str, Any], graph: bytes, logger: Any) -> None:
        self.trt, self.facts, self.logger = trt, facts, logger
        self.session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
        model = onnx.load_from_string(graph)
        self.tensors = {value.name: value.type.tensor_type for value in (*model.graph.input, *model.graph.output)}

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_dtype(self, name: str) -> Any:
        return self.trt.DataType[_TYPES[self.tensors[name].elem_type]]

    def get_tensor_profile_shape(self, name: str, profile: int) -> Any:
        return self.facts["profile"][name]

    def create_execution_context(self) -> Any:
        return _Context(self)

    def create_engine_inspector(self) -> Any:
        layers = [
            {"Name": f"layer {i}", "Outputs": [{"Name": "x", "Format/Datatype": f"{name.title()} linear"}]}
            for i, name in enumerate(self.facts["types"])
        ]
        return types.SimpleNamespace(get_engine_information=lambda form: json.dumps({"Layers": layers}))


class _Context:
    def __init__(self, engine: _Engine) -> None:
        self._engine = engine
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self.profiler: Any = None

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = tuple(shape)
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert address, "an address of nothing"
        self._addresses[name] = address
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._results()[name].shape)

    def execute_async_v3(self, stream: int) -> bool:
        if self._engine.trt.fails_to_run:
            self._engine.logger.error("Cask convolution execution failed")
            return False
        for name, array in self._results().items():
            whole = np.ascontiguousarray(array)
            ctypes.memmove(self._addresses[name], whole.ctypes.data, whole.nbytes)
        if self.profiler is not None:
            for number, _ in enumerate(self._engine.facts["types"]):
                self.profiler.report_layer_time(f"layer {number}", 1.0 + number)
        return True

    def _results(self) -> dict[str, Any]:
        session = self._engine.session
        feeds = {}
        for spec in session.get_inputs():
            dtype = np.dtype(_NUMPY[_TYPES[self._engine.tensors[spec.name].elem_type]])
            shape = self._shapes.get(spec.name, tuple(spec.shape))
            size = int(np.prod(shape)) * dtype.itemsize
            data = ctypes.string_at(self._addresses[spec.name], size)
            feeds[spec.name] = np.frombuffer(data, dtype).reshape(shape)
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, feeds), strict=True))
