"""Runs an exported graph on OpenVINO, on the CPU; imports no torch, and openvino only when an engine is made."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.engines.device_tensor import DeviceTensor, host_array, take_all
from lift3d_ros.engines.onnxruntime_engine import FACTS_KEY, SIGNATURE_KEY, DamagedGraphError
from lift3d_ros.engines.operator_times import OperatorTime, times_of_samples
from lift3d_ros.engines.protocol import (
    Arrays,
    EngineSignature,
    EngineState,
    Inputs,
    Tensors,
    check_inputs,
    check_snapshot,
)
from lift3d_ros.errors import EngineError

OpenVinoPrecision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[OpenVinoPrecision, ...] = ("float32", "bfloat16")
_HINTS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoState:
    """State tensors: each is read from one buffer and written to another, which then change places."""

    def __init__(self, signature: EngineSignature) -> None:
        self._signature = signature
        self.current: Arrays = {}
        self.next = {spec.input: spec.zeros() for spec in signature.states}
        self.reset()

    def reset(self) -> None:
        """Fill every buffer with zeros."""
        self.restore({spec.input: spec.zeros() for spec in self._signature.states})

    def snapshot(self) -> Arrays:
        """Copy the buffers."""
        return {name: array.copy() for name, array in self.current.items()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Set the buffers from a snapshot."""
        check_snapshot(self._signature, arrays)
        self.current = {
            spec.input: np.array(arrays[spec.input], dtype=spec.dtype, order="C") for spec in self._signature.states
        }

    def turn(self) -> None:
        """Let what the last run has written be what the next one reads."""
        self.current, self.next = self.next, self.current


class OpenVinoEngine:
    """An exported graph with the signature and the model's facts in its metadata."""

    name = "openvino"

    def __init__(self, path: Path, threads: int, precision: OpenVinoPrecision = "float32") -> None:
        """Load the graph at `path`; `threads` = 0 lets the runtime choose.

        Args:
            precision: of the whole graph; the runtime's own default is bfloat16 where the processor has it.

        Raises:
            EngineError: OpenVINO is not installed, the file is missing, or the processor lacks the precision.
            DamagedGraphError: the file is damaged, or was not written by this package's export.
        """
        self._openvino = openvino = load_openvino()
        if not path.is_file():
            raise EngineError(f"{path}: file not found; export the model with 'lift3d export'")
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        core = openvino.Core()
        try:
            model = core.read_model(str(path))
            metadata = {key: _metadata(model, key) for key in (SIGNATURE_KEY, FACTS_KEY)}
            compiled = core.compile_model(model, "CPU", settings)
        except Exception as error:  # the runtime has no common base class for its errors
            reason = " ".join(str(error).split())[-200:]
            raise DamagedGraphError(f"{path}: OpenVINO cannot load this graph ({reason}); export it again") from None
        if not all(metadata.values()):
            raise DamagedGraphError(
                f"{path}: not a graph exported by this package (metadata '{SIGNATURE_KEY}' is missing); "
                "use 'lift3d export'"
            )
        found = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if found != _HINTS[precision]:
            raise EngineError(
                f"engine.precision '{precision}': OpenVINO {openvino.__version__} computes in {found} on this "
                "processor; set engine.precision to float32"
            )
        self.signature = EngineSignature.from_json(json.loads(metadata[SIGNATURE_KEY]))
        self.facts: dict[str, Any] = json.loads(metadata[FACTS_KEY])
        self._path, self._settings = path, settings
        self._request = compiled.create_infer_request()
        self._lock = threading.Lock()  # a request runs one thing at a time

    def new_state(self) -> EngineState:
        """Return zeroed state buffers."""
        return OpenVinoState(self.signature)

    def run(self, inputs: Inputs, state: EngineState) -> Arrays:
        """Run the graph once; see :meth:`lift3d_ros.engines.protocol.Engine.run`."""
        taken = take_all(inputs)
        check_inputs(self.signature, taken)
        buffers = cast("OpenVinoState", state)
        with self._lock:
            # Each run writes to tensors of its own, which the arrays that are returned show and keep.
            outputs = {spec.name: self._new_tensor(spec.shape, spec.dtype) for spec in self.signature.outputs}
            held = {name: self._shared(name, value) for name, value in taken.items()}
            for spec in self.signature.states:
                held[spec.input] = self._shared(spec.input, buffers.current[spec.input])
                held[spec.output] = self._shared(spec.output, buffers.next[spec.input])
            for name, tensor in {**held, **outputs}.items():
                self._request.set_tensor(name, tensor)
            try:
                self._request.infer()
            except RuntimeError as error:
                raise EngineError(
                    f"OpenVINO {self._openvino.__version__}: the run failed ({' '.join(str(error).split())[-200:]}); "
                    "set engine.backend to onnxruntime"
                ) from None
            buffers.turn()
        return {name: tensor.data for name, tensor in outputs.items()}

    def run_on_device(self, inputs: Inputs, state: EngineState) -> Tensors:
        """Run; the device is the CPU, so this is :meth:`run`, which copies nothing either."""
        return self.run(inputs, state)

    def profile(self, runs: Sequence[Arrays]) -> tuple[OperatorTime, ...]:
        """Return the times of the nodes, as the runtime has fused them, over runs from an empty state."""
        compiled = self._openvino.Core().compile_model(str(self._path), "CPU", {**self._settings, "PERF_COUNT": True})
        profiled = copy.copy(self)
        profiled._request = compiled.create_infer_request()
        profiled._lock = threading.Lock()
        state = profiled.new_state()
        samples_ms: dict[tuple[str, str], list[float]] = {}
        for inputs in runs:
            profiled.run(inputs, state)
            for node in profiled._request.get_profiling_info():
                if node.real_time:  # those that were folded away take none
                    key = str(node.node_name), str(node.node_type)
                    samples_ms.setdefault(key, []).append(1e3 * node.real_time.total_seconds())
        return times_of_samples(samples_ms, len(runs))

    def _shared(self, name: str, value: NDArray[Any] | DeviceTensor) -> Any:
        """Return a tensor of the runtime that reads and writes the memory of an array."""
        # The runtime refuses arrays that are read-only or not in C order; only those are copied.
        array = np.require(host_array(name, value), requirements=("C", "W"))
        return self._openvino.Tensor(array, shared_memory=True)

    def _new_tensor(self, shape: tuple[int | None, ...], dtype: str) -> Any:
        """Return memory for an output; one whose size is not known before the run grows in it."""
        sizes = [size or 0 for size in shape]
        return self._openvino.Tensor(self._openvino.Type(np.dtype(dtype)), self._openvino.Shape(sizes))


def load_openvino() -> Any:
    """Return the module of OpenVINO.

    Raises:
        EngineError: it is not installed, or does not load on this machine.
    """
    try:
        import openvino
    except ImportError as error:
        raise EngineError(
            f"engine.backend 'openvino': OpenVINO cannot be imported ({error}); 'pip install openvino==2026.4.1', or "
            "set engine.backend to onnxruntime"
        ) from None
    return openvino


def _metadata(model: Any, key: str) -> str:
    """Return an entry of the metadata of an ONNX file, nothing where it has none."""
    place = ["framework", key]
    return str(model.get_rt_info(place).value) if model.has_rt_info(place) else ""
