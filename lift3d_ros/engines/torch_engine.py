"""Runs a PyTorch module behind the engine protocol; the reference for every other backend."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from lift3d_ros.engines.device_tensor import SupportsDlpack, take_all
from lift3d_ros.engines.operator_times import OperatorTime, slowest_first
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

# Of all models of a process: torch records one graph at a time.
_recording = threading.Lock()


class TorchState:
    """State tensors on the module's device."""

    def __init__(self, signature: EngineSignature, device: torch.device) -> None:
        self._signature = signature
        self._device = device
        self.tensors: dict[str, torch.Tensor] = {}
        self.reset()

    def reset(self) -> None:
        """Fill every buffer with zeros."""
        self.restore({spec.input: spec.zeros() for spec in self._signature.states})

    def snapshot(self) -> Arrays:
        """Copy the buffers to host memory."""
        return {name: tensor.cpu().numpy().copy() for name, tensor in self.tensors.items()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Set the buffers from a snapshot."""
        check_snapshot(self._signature, arrays)
        self.tensors = {
            spec.input: torch.from_numpy(arrays[spec.input].copy()).to(self._device) for spec in self._signature.states
        }


class TorchEngine:
    """A module in eval mode, called with keyword arguments named as in the signature."""

    name = "torch"

    def __init__(
        self,
        module: torch.nn.Module,
        signature: EngineSignature,
        device: str,
        threads: int,
        precision: str = "float32",
        *,
        uses_cuda_graph: bool = False,
    ) -> None:
        """Move `module` to `device`; `threads` = 0 leaves the number of CPU threads alone.

        Args:
            precision: type of convolutions and matrix products; all others, and coordinates, stay in float32.
            uses_cuda_graph: record the kernels of the first run and replay them, for fixed shapes on a CUDA device.

        Raises:
            EngineError: no such device, or this torch cannot use it.
        """
        if threads:
            torch.set_num_threads(threads)
        self.signature = signature
        self._precision: torch.dtype = getattr(torch, precision)
        try:
            self._device = torch.device(device)
            self._module = module.to(self._device).eval()
        except (RuntimeError, AssertionError) as error:  # torch without CUDA answers with an assertion
            raise EngineError(
                f"engine.device '{device}': torch cannot use it ({str(error).splitlines()[0][:200]}); expected for "
                "example cpu or cuda:0, on a machine that has it and with a torch built for it"
            ) from None
        if self._device.type == "cpu":
            # The layout in which convolutions are fastest on a CPU.
            self._module = self._module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        is_recorded = uses_cuda_graph and self._device.type == "cuda"
        self._graph = _CudaGraph(self._call, self._device) if is_recorded else None

    @property
    def module(self) -> torch.nn.Module:
        """The network that is run."""
        return self._module

    def new_state(self) -> EngineState:
        """Return zeroed state buffers."""
        return TorchState(self.signature, self._device)

    def run(self, inputs: Inputs, state: EngineState) -> Arrays:
        """Run the module once; see :meth:`lift3d_ros.engines.protocol.Engine.run`."""
        return {name: tensor.float().cpu().numpy() for name, tensor in self._run(inputs, state).items()}

    def run_on_device(self, inputs: Inputs, state: EngineState) -> Tensors:
        """Run and return tensors of torch; see :meth:`lift3d_ros.engines.protocol.Engine.run_on_device`."""
        return {name: tensor.float() for name, tensor in self._run(inputs, state).items()}

    def _run(self, inputs: Inputs, state: EngineState) -> dict[str, torch.Tensor]:
        check_inputs(self.signature, take_all(inputs))
        buffers = cast("TorchState", state)
        call = self._call if self._graph is None else self._graph
        with torch.inference_mode():
            tensors = {name: _tensor_of(value).to(self._device) for name, value in inputs.items()}
            try:
                results = call({**tensors, **buffers.tensors})
            except torch.cuda.OutOfMemoryError as error:
                raise EngineError(
                    f"torch on {self._device}: not enough memory ({str(error).splitlines()[0][:200]}); close other "
                    "programs, set engine.precision to float16, or take a smaller model"
                ) from None
        for spec in self.signature.states:
            buffers.tensors[spec.input] = results[spec.output]
        return {spec.name: results[spec.name] for spec in self.signature.outputs}

    def profile(self, runs: Sequence[Arrays]) -> tuple[OperatorTime, ...]:
        """Return the times of PyTorch's operators over runs from an empty state, without those that they call.

        On a GPU these are the times of its kernels. A recorded graph is one operator.
        """
        state = self.new_state()
        self.run(runs[0], state)
        state.reset()
        activities = [torch.profiler.ProfilerActivity.CPU]
        is_cuda = self._device.type == "cuda"
        activities += [torch.profiler.ProfilerActivity.CUDA] if is_cuda else []
        with torch.profiler.profile(activities=activities) as profiler:
            for inputs in runs:
                self.run(inputs, state)
        times = [
            OperatorTime(
                event.key,
                event.key.removeprefix("aten::"),
                event.count / len(runs),
                (event.self_device_time_total if is_cuda else event.self_cpu_time_total) / 1e3 / len(runs),
            )
            for event in profiler.key_averages()
        ]
        return slowest_first(times)

    def _call(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        is_mixed = self._precision != torch.float32
        with torch.autocast(self._device.type, self._precision, enabled=is_mixed, cache_enabled=False):
            results = self._module(**tensors)
        return dict(zip(self.signature.output_names, results, strict=True))


def _tensor_of(value: NDArray[Any] | SupportsDlpack) -> torch.Tensor:
    """Return an input as a tensor where it lies."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    tensor: torch.Tensor = torch.from_dlpack(value)  # type: ignore[attr-defined]
    return tensor


class _CudaGraph:
    """Replays the kernels of a function of tensors; a call costs one launch in place of hundreds."""

    def __init__(
        self, function: Callable[[Mapping[str, torch.Tensor]], dict[str, torch.Tensor]], device: torch.device
    ) -> None:
        self._function = function
        self._device = device
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: dict[str, torch.Tensor] = {}
        self._results: dict[str, torch.Tensor] = {}

    def __call__(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if self._graph is None:
            self._record_alone(tensors)
        for name, tensor in tensors.items():
            self._inputs[name].copy_(tensor)
        assert self._graph is not None
        self._graph.replay()
        return {name: tensor.clone() for name, tensor in self._results.items()}

    def _record_alone(self, tensors: Mapping[str, torch.Tensor]) -> None:
        # Streams belong to the current device, which need not be that of the model.
        with _recording, torch.cuda.device(self._device):
            self._record(tensors)

    def _record(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._inputs = {name: tensor.clone() for name, tensor in tensors.items()}
        # Libraries choose their kernels in the first calls, and that cannot be recorded.
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                self._function(self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads may allocate memory meanwhile, as other nodes of the process do. The stream that torch has
            # for this belongs to the device on which it was needed first.
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                self._results = self._function(self._inputs)
        except RuntimeError as error:
            raise EngineError(
                f"the kernels of this model cannot be recorded ({str(error).splitlines()[0][:200]}); set "
                "engine.cuda_graph to false"
            ) from None
        self._graph = graph
