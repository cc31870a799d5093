"""Runs an exported graph on ONNX Runtime, on the CPU or with its CUDA or TensorRT provider; imports no torch."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, cast

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from lift3d_ros.engines.device_tensor import CPU, CUDA, DeviceTensor, host_array, take_all
from lift3d_ros.engines.operator_times import OperatorTime, times_of_trace
from lift3d_ros.engines.protocol import (
    Arrays,
    EngineSignature,
    EngineState,
    Inputs,
    Tensors,
    TensorSpec,
    check_inputs,
    check_snapshot,
)
from lift3d_ros.errors import EngineError
from lift3d_ros.resources import cache_dir

SIGNATURE_KEY = "lift3d.signature"
FACTS_KEY = "lift3d.facts"
_LARGE_GRAPH_BYTES = 100_000_000

Provider = Literal["cpu", "cuda", "tensorrt"]
_PROVIDER_NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}


class DamagedGraphError(EngineError):
    """A file that is no graph of this package; exporting the model again helps."""


class OnnxRuntimeState:
    """State tensors as values of the runtime, on its device."""

    def __init__(self, signature: EngineSignature, device: tuple[str, int] = ("cpu", 0)) -> None:
        self._signature = signature
        self._device = device
        self.values: dict[str, Any] = {}
        self.reset()

    def reset(self) -> None:
        """Fill every buffer with zeros."""
        self.restore({spec.input: spec.zeros() for spec in self._signature.states})

    def snapshot(self) -> Arrays:
        """Copy the buffers to host memory."""
        return {name: value.numpy().copy() for name, value in self.values.items()}  # some releases show, not copy

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Set the buffers from a snapshot."""
        check_snapshot(self._signature, arrays)
        # A value of the runtime shares the memory of its array, so it gets one of its own.
        self.values = {
            spec.input: ort.OrtValue.ortvalue_from_numpy(arrays[spec.input].copy(), *self._device)
            for spec in self._signature.states
        }


class OnnxRuntimeEngine:
    """An exported graph with the signature and the model's facts in its metadata."""

    name = "onnxruntime"

    def __init__(self, path: Path, threads: int, provider: Provider = "cpu", device_index: int = 0) -> None:
        """Load the graph at `path`; `threads` = 0 lets the runtime choose.

        Args:
            provider: what computes; nodes of the graph that it does not know run on the next slower one.
            device_index: of the GPU.

        Raises:
            EngineError: the file is missing, or the provider is not in this onnxruntime or does not start.
            DamagedGraphError: it is damaged, or was not written by this package's export.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        # Idle threads must sleep, not spin: on a robot the cores belong to others too.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.use_deterministic_compute = True
        options.log_severity_level = 3
        if not path.is_file():
            raise EngineError(f"{path}: file not found; export the model with 'lift3d export'")
        # The arena keeps memory for the next run, which makes small graphs faster and doubles the peak of large ones.
        # A plan of one block for all tensors takes nearly twice the memory of large graphs and saves no time.
        options.enable_mem_pattern = False
        options.enable_cpu_mem_arena = path.stat().st_size < _LARGE_GRAPH_BYTES
        providers = _providers(provider, device_index)
        # Measured on CPUs: a sum and then a normalisation take less time than the two in one.
        self._left_out = ["SkipLayerNormFusion"] if provider == "cpu" else []
        try:
            self._session = ort.InferenceSession(
                str(path), options, providers=providers, disabled_optimizers=self._left_out
            )
        except Exception as error:  # the runtime has no common base class for its errors
            reason = str(error).splitlines()[0][:200]
            if provider != "cpu":  # the graph need not be the reason
                raise EngineError(
                    f"{path}: ONNX Runtime cannot load this graph with engine.provider '{provider}' ({reason}); set "
                    "engine.provider to cpu, which also tells whether the graph is damaged"
                ) from None
            raise DamagedGraphError(
                f"{path}: ONNX Runtime cannot load this graph ({reason}); export it again"
            ) from None
        started = self._session.get_providers()
        if _PROVIDER_NAMES[provider] not in started:  # the runtime goes on with a slower one, and only logs it
            raise EngineError(
                f"engine.provider '{provider}': onnxruntime {ort.__version__} could not start "
                f"{_PROVIDER_NAMES[provider]} and runs on {', '.join(started)}; 'lift3d doctor' tells which library is "
                "missing. Set engine.provider to cpu until then"
            )
        self._device = ("cpu", 0) if provider == "cpu" else ("cuda", device_index)
        self._path, self._options, self._providers = path, options, providers
        metadata = self._session.get_modelmeta().custom_metadata_map
        if SIGNATURE_KEY not in metadata or FACTS_KEY not in metadata:
            raise DamagedGraphError(
                f"{path}: not a graph exported by this package (metadata '{SIGNATURE_KEY}' is missing); "
                "use 'lift3d export'"
            )
        self.signature = EngineSignature.from_json(json.loads(metadata[SIGNATURE_KEY]))
        self.facts: dict[str, Any] = json.loads(metadata[FACTS_KEY])

    def new_state(self) -> EngineState:
        """Return zeroed state buffers."""
        return OnnxRuntimeState(self.signature, self._device)

    def run(self, inputs: Inputs, state: EngineState) -> Arrays:
        """Run the graph once; see :meth:`lift3d_ros.engines.protocol.Engine.run`."""
        return {name: value.numpy() for name, value in self._run(inputs, state).items()}

    def run_on_device(self, inputs: Inputs, state: EngineState) -> Tensors:
        """Run and return what the runtime wrote; see :meth:`lift3d_ros.engines.protocol.Engine.run_on_device`."""
        values = self._run(inputs, state)
        tensors = {spec.name: self._tensor_of(spec, values[spec.name]) for spec in self.signature.outputs}
        return {name: tensor.array() if tensor.device[0] == CPU else tensor for name, tensor in tensors.items()}

    def _run(self, inputs: Inputs, state: EngineState) -> dict[str, Any]:
        taken = take_all(inputs)
        check_inputs(self.signature, taken)
        buffers = cast("OnnxRuntimeState", state)
        binding = self._session.io_binding()
        held = [self._bind(binding, name, value) for name, value in taken.items()]
        for name, value in buffers.values.items():
            binding.bind_ortvalue_input(name, value)
        for name in self.signature.output_names:
            binding.bind_output(name, *self._device)
        binding.synchronize_inputs()
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:  # the runtime has no common base class for its errors
            raise EngineError(
                f"onnxruntime {ort.__version__} on {':'.join(map(str, self._device))}: the run failed "
                f"({' '.join(str(error).split())[:200]}); where memory is short, close other programs or take a "
                "smaller model"
            ) from None
        binding.synchronize_outputs()
        held.clear()  # until here the runtime may read the inputs
        results = dict(zip(self.signature.output_names, binding.get_outputs(), strict=True))
        for spec in self.signature.states:
            buffers.values[spec.input] = results[spec.output]
        return {spec.name: results[spec.name] for spec in self.signature.outputs}

    def profile(self, runs: Sequence[Arrays]) -> tuple[OperatorTime, ...]:
        """Return the times of the nodes, as the runtime has fused them, over runs from an empty state."""
        with TemporaryDirectory() as folder:
            self._options.enable_profiling = True
            self._options.profile_file_prefix = str(Path(folder) / "profile")
            try:
                session = ort.InferenceSession(
                    str(self._path), self._options, providers=self._providers, disabled_optimizers=self._left_out
                )
            finally:
                self._options.enable_profiling = False
            profiled = copy.copy(self)
            profiled._session = session
            state = profiled.new_state()
            for inputs in runs:
                profiled.run(inputs, state)
            return times_of_trace(Path(session.end_profiling()), len(runs))

    def _bind(self, binding: Any, name: str, value: NDArray[Any] | DeviceTensor) -> object:
        """Let the runtime read an input where it lies; from host memory to a GPU it copies by itself.

        Returns:
            What has to live during the run.
        """
        here = (CUDA if self._device[0] == "cuda" else CPU, self._device[1])
        if isinstance(value, DeviceTensor) and value.device == here and here[0] == CUDA and value.strides is None:
            binding.bind_input(name, *self._device, value.dtype.type, list(value.shape), value.address)
            return value
        array = np.require(host_array(name, value), requirements="C")
        held = ort.OrtValue.ortvalue_from_numpy(array)
        binding.bind_ortvalue_input(name, held)
        return held, array

    def _tensor_of(self, spec: TensorSpec, value: Any) -> DeviceTensor:
        kind = CPU if value.device_name().lower() == "cpu" else CUDA
        device = kind, self._device[1]
        return DeviceTensor(value.data_ptr(), tuple(value.shape()), np.dtype(spec.dtype), device, value)


def _providers(provider: Provider, device_index: int) -> list[Any]:
    """Return the asked provider and those that take what it leaves, with their settings.

    Raises:
        EngineError: this onnxruntime was built without it, or its engines cannot be kept.
    """
    wanted = {"cpu": ["cpu"], "cuda": ["cuda", "cpu"], "tensorrt": ["tensorrt", "cuda", "cpu"]}[provider]
    available = ort.get_available_providers()
    if _PROVIDER_NAMES[provider] not in available:
        raise EngineError(
            f"engine.provider '{provider}': onnxruntime {ort.__version__} was built without "
            f"{_PROVIDER_NAMES[provider]}; it has {', '.join(available)}. Install onnxruntime-gpu in place of "
            "onnxruntime (on a Jetson NVIDIA's wheel for its JetPack), or set engine.provider to cpu"
        )
    engines = cache_dir() / "engines" / "onnxruntime"
    if provider == "tensorrt":
        try:
            engines.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EngineError(
                f"{engines}: cannot write to the cache folder ({error.strerror or error}); name another one in "
                "LIFT3D_CACHE_DIR"
            ) from None
    options: dict[str, dict[str, Any]] = {
        "cpu": {},
        "cuda": {"device_id": device_index},
        "tensorrt": {
            "device_id": device_index,
            "trt_engine_cache_enable": True,  # building takes minutes
            "trt_engine_cache_path": str(engines),
            "trt_timing_cache_enable": True,
        },
    }
    return [(_PROVIDER_NAMES[name], options[name]) for name in wanted if _PROVIDER_NAMES[name] in available]
