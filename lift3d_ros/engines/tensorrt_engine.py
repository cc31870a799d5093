"""Runs a TensorRT engine behind the engine protocol; state stays on the device. Imports no torch."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.engines.cuda_memory import DeviceMemory
from lift3d_ros.engines.device_tensor import CUDA, PINNED, DeviceTensor, host_array, take_all
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
from lift3d_ros.engines.tensorrt_api import TensorRt
from lift3d_ros.errors import EngineError

_NUMPY_NAMES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT32": "int32",
    "INT64": "int64",
    "INT8": "int8",
    "UINT8": "uint8",
    "BOOL": "bool",
}


class ShapeOutsideProfileError(EngineError):
    """Inputs that fit the declared tensors, but are smaller or larger than the engine was built for."""


class _DeviceBuffer:
    """Device memory that grows when more is asked for."""

    def __init__(self, memory: DeviceMemory, size: int = 0) -> None:
        self._memory = memory
        self.address, self.size = 0, 0
        self.reserve(size)

    def reserve(self, size: int) -> int:
        # An address of nothing is refused, even for tensors without elements.
        if self.address == 0 or size > self.size:
            self.close()
            self.address, self.size = self._memory.allocate(max(1, size)), size
        return self.address

    def close(self) -> None:
        if self.address:
            self._memory.release(self.address)
            self.address = 0

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # at the end of the process the driver may be gone
            self.close()


class _PinnedBuffer:
    """Host memory that the device reads and writes by itself."""

    def __init__(self, memory: DeviceMemory) -> None:
        self._memory = memory
        self.address, self._size = 0, 0

    def view(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return its beginning as an array."""
        size = math.prod(shape) * dtype.itemsize
        if self.address == 0 or size > self._size:
            self.close()
            self.address, self._size = self._memory.allocate_pinned(max(1, size)), size
        block = (ctypes.c_byte * size).from_address(self.address)
        return np.ndarray(shape, dtype, buffer=memoryview(block))

    def close(self) -> None:
        if self.address:
            self._memory.release_pinned(self.address)
            self.address = 0

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()


class TensorRtState:
    """State tensors on the device: each is read from one buffer and written to another, which then change places."""

    def __init__(self, signature: EngineSignature, memory: DeviceMemory, stream: int) -> None:
        self._signature = signature
        self._memory = memory
        self._stream = stream
        self.current = {spec.input: _DeviceBuffer(memory, spec.zeros().nbytes) for spec in signature.states}
        self.next = {spec.input: _DeviceBuffer(memory, spec.zeros().nbytes) for spec in signature.states}
        self.reset()

    def reset(self) -> None:
        """Fill every buffer with zeros."""
        self._memory.use()
        for buffer in self.current.values():
            self._memory.fill_zero(buffer.address, buffer.size, self._stream)

    def snapshot(self) -> Arrays:
        """Copy the buffers to host memory."""
        self._memory.use()
        arrays = {}
        for spec in self._signature.states:
            arrays[spec.input] = array = spec.zeros()
            buffer = self.current[spec.input]
            self._memory.copy_out(array.ctypes.data, buffer.address, buffer.size, self._stream)
        self._memory.wait(self._stream)
        return arrays

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Set the buffers from a snapshot."""
        check_snapshot(self._signature, arrays)
        self._memory.use()
        held = []
        for spec in self._signature.states:
            held.append(array := np.ascontiguousarray(arrays[spec.input], dtype=spec.dtype))
            self._memory.copy_in(self.current[spec.input].address, array.ctypes.data, array.nbytes, self._stream)
        self._memory.wait(self._stream)  # before `held` goes

    def turn(self) -> None:
        """Let what the last run has written be what the next one reads."""
        self.current, self.next = self.next, self.current


class TensorRtEngine:
    """A deserialised engine with the signature and the model's facts of the graph that it was built from."""

    def __init__(
        self, api: TensorRt, data: bytes, signature: EngineSignature, facts: Mapping[str, Any], memory: DeviceMemory
    ) -> None:
        """Load the engine `data` on the device of `memory`.

        Raises:
            EngineError: it does not load here, or its tensors are not those of `signature`.
        """
        self.name = api.backend
        self.signature = signature
        self.facts = dict(facts)
        self._api = api
        self._memory = memory
        memory.use()
        self._engine = api.load(data)
        self._check_tensors()
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise EngineError(
                f"{api.backend}: not enough memory to run this engine: {api.messages.last or 'no reason given'}; close "
                "other programs, or take a smaller model"
            )
        self._stream = memory.new_stream()
        self._inputs = {spec.name: (_DeviceBuffer(memory), _PinnedBuffer(memory)) for spec in signature.inputs}
        self._outputs = {spec.name: (_DeviceBuffer(memory), _PinnedBuffer(memory)) for spec in signature.outputs}
        self._held: Mapping[str, object] = {}  # inputs that the device may still be reading
        self._lock = threading.Lock()  # a context runs one thing at a time

    def new_state(self) -> EngineState:
        """Return zeroed state buffers on the device."""
        return TensorRtState(self.signature, self._memory, self._stream)

    def run(self, inputs: Inputs, state: EngineState) -> Arrays:
        """Run the engine once; see :meth:`lift3d_ros.engines.protocol.Engine.run`.

        Raises:
            ShapeOutsideProfileError: sizes that the engine was not built for.
            EngineError: other tensors than declared, or the device failed.
        """
        with self._lock:
            tensors = self._run(inputs, state, {name: device for name, (device, _) in self._outputs.items()})
            views = {}
            for name, tensor in tensors.items():
                _, pinned = self._outputs[name]
                views[name] = pinned.view(tensor.shape, tensor.dtype)
                self._memory.copy_out(pinned.address, tensor.address, tensor.nbytes, self._stream)
            self._finish(state)
            return {name: view.copy() for name, view in views.items()}

    def run_on_device(self, inputs: Inputs, state: EngineState) -> Tensors:
        """Run and return memory of the device; see :meth:`lift3d_ros.engines.protocol.Engine.run_on_device`.

        Raises:
            ShapeOutsideProfileError, EngineError: as :meth:`run`.
        """
        with self._lock:
            # Each run writes to memory of its own, which goes with the tensors.
            tensors = self._run(inputs, state, {name: _DeviceBuffer(self._memory) for name in self._outputs})
            self._finish(state)
            return tensors

    def _run(self, inputs: Inputs, state: EngineState, outputs: Mapping[str, _DeviceBuffer]) -> dict[str, DeviceTensor]:
        """Put everything into the stream but the copies of the outputs."""
        self._held = taken = take_all(inputs, self._stream)
        check_inputs(self.signature, taken)
        self._check_profile(taken)
        buffers = cast("TensorRtState", state)
        self._memory.use()
        self._api.messages.errors.clear()
        for name, value in taken.items():
            self._give(name, value)
        for spec in self.signature.states:
            self._bind(spec.input, buffers.current[spec.input].address)
            self._bind(spec.output, buffers.next[spec.input].address)
        tensors = {
            spec.name: self._prepare_output(spec.name, np.dtype(spec.dtype), outputs[spec.name])
            for spec in self.signature.outputs
        }
        if not self._context.execute_async_v3(self._stream):
            raise self._failure("the run was refused")
        return tensors

    def _finish(self, state: EngineState) -> None:
        self._memory.wait(self._stream)
        self._held = {}
        cast("TensorRtState", state).turn()

    def warm_up(self) -> None:
        """Run once with zeros, so that the first real run does not pay for loading kernels."""
        inputs = {}
        for spec in self.signature.inputs:
            usual = spec.shape if None not in spec.shape else self._profile_of(spec.name)[1]
            inputs[spec.name] = np.zeros(cast("tuple[int, ...]", usual), dtype=spec.dtype)
        self.run(inputs, self.new_state())

    def profile(self, runs: Sequence[Arrays]) -> tuple[OperatorTime, ...]:
        """Return the times of the layers of the engine over runs from an empty state; each layer is waited for.

        Raises:
            EngineError: not enough memory for a second context, or what :meth:`run` raises.
        """
        context = self._engine.create_execution_context()
        if context is None:
            raise EngineError(f"{self.name}: not enough memory to profile this engine: {self._api.messages.last}")
        profiler = self._api.new_profiler()
        context.profiler = profiler
        profiled = copy.copy(self)
        profiled._context = context
        state = profiled.new_state()
        for inputs in runs:
            profiled.run(inputs, state)
        return times_of_samples({(name, ""): samples for name, samples in profiler.samples_ms.items()}, len(runs))

    def _check_tensors(self) -> None:
        """Compare the tensors of the engine with the declared ones."""
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        expected = {spec.name: spec.dtype for spec in (*self.signature.inputs, *self.signature.outputs)}
        for state in self.signature.states:
            expected |= {state.input: state.dtype, state.output: state.dtype}
        if set(names) != expected.keys():
            raise EngineError(
                f"the engine has the tensors {', '.join(sorted(names))}; expected {', '.join(sorted(expected))}"
            )
        for name, dtype in expected.items():
            found = self._engine.get_tensor_dtype(name)
            if _NUMPY_NAMES.get(found.name) != dtype:
                raise EngineError(f"tensor '{name}' of the engine is {found.name}; expected {dtype}")

    def _profile_of(self, name: str) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        smallest, usual, largest = (tuple(shape) for shape in self._engine.get_tensor_profile_shape(name, 0))
        return smallest, usual, largest

    def _check_profile(self, inputs: Mapping[str, NDArray[Any] | DeviceTensor]) -> None:
        for spec in self.signature.inputs:
            if None not in spec.shape:
                continue
            smallest, _, largest = self._profile_of(spec.name)
            shape = inputs[spec.name].shape
            if not all(low <= size <= high for low, size, high in zip(smallest, shape, largest, strict=True)):
                raise ShapeOutsideProfileError(
                    f"engine input '{spec.name}' has shape {shape}; the engine was built for {smallest} to {largest}"
                )

    def _give(self, name: str, value: NDArray[Any] | DeviceTensor) -> None:
        """Let the engine read an input where it lies on its device, else from a copy there."""
        plain = value if isinstance(value, DeviceTensor) and value.strides is None and value.nbytes else None
        if plain is not None and plain.device == (CUDA, self._memory.index):
            address = plain.address
        else:
            array = host_array(name, value)
            device, pinned = self._inputs[name]
            address = device.reserve(array.nbytes)
            if plain is not None and plain.device[0] == PINNED:
                host = plain.address
            else:
                pinned.view(array.shape, array.dtype)[...] = array
                host = pinned.address
            self._memory.copy_in(address, host, array.nbytes, self._stream)
        if not self._context.set_input_shape(name, value.shape):
            raise self._failure(f"input '{name}' of shape {value.shape} was refused")
        self._bind(name, address)

    def _prepare_output(self, name: str, dtype: np.dtype[Any], buffer: _DeviceBuffer) -> DeviceTensor:
        shape = tuple(self._context.get_tensor_shape(name))
        if any(size < 0 for size in shape):
            raise self._failure(f"output '{name}' has the shape {shape}, which is not known before the run")
        address = buffer.reserve(math.prod(shape) * dtype.itemsize)
        self._bind(name, address)
        return DeviceTensor(address, shape, dtype, (CUDA, self._memory.index), buffer)

    def _bind(self, name: str, address: int) -> None:
        if not self._context.set_tensor_address(name, address):
            raise self._failure(f"the memory of '{name}' was refused")

    def _failure(self, what: str) -> EngineError:
        reason = self._api.messages.last
        return EngineError(
            f"{self.name} {self._api.version} on {self._memory.gpu.name}: {what}{f' ({reason})' if reason else ''}"
        )
