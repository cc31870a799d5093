"""Runs a PyTorch module behind the engine protocol; the reference for every other backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from numpy.typing import NDArray

from lift3d_ros.engines.protocol import Arrays, EngineSignature, EngineState, check_inputs, check_snapshot
from lift3d_ros.errors import EngineError


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

    def __init__(self, module: torch.nn.Module, signature: EngineSignature, device: str, threads: int) -> None:
        """Move `module` to `device`; `threads` = 0 leaves the number of CPU threads alone.

        Raises:
            EngineError: no such device, or this torch cannot use it.
        """
        if threads:
            torch.set_num_threads(threads)
        self.signature = signature
        try:
            self._device = torch.device(device)
            self._module = module.to(self._device).eval()
        except (RuntimeError, AssertionError) as error:  # torch without CUDA answers with an assertion
            raise EngineError(
                f"engine.device '{device}': torch cannot use it ({str(error).splitlines()[0][:200]}); expected for "
                "example cpu or cuda:0, on a machine that has it and with a torch built for it"
            ) from None

    def new_state(self) -> EngineState:
        """Return zeroed state buffers."""
        return TorchState(self.signature, self._device)

    def run(self, inputs: Mapping[str, NDArray[Any]], state: EngineState) -> Arrays:
        """Run the module once; see :meth:`lift3d_ros.engines.protocol.Engine.run`."""
        check_inputs(self.signature, inputs)
        buffers = cast("TorchState", state)
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(array).to(self._device) for name, array in inputs.items()}
            results = dict(zip(self.signature.output_names, self._module(**tensors, **buffers.tensors), strict=True))
        for spec in self.signature.states:
            buffers.tensors[spec.input] = results[spec.output]
        return {spec.name: results[spec.name].cpu().numpy() for spec in self.signature.outputs}
