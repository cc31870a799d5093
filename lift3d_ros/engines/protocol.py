"""What every runtime backend offers: declared tensors, named inputs and outputs, and state that it owns.

An engine knows names, shapes and types of tensors; it knows no model. State tensors (the BEV memory)
are fed back by the engine itself from one run to the next, so they stay on its device and never
appear among the inputs and outputs of :meth:`Engine.run`.

Inputs are numpy arrays or tensors of any library that speaks DLPack, in host memory or on the engine's device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.engines.device_tensor import DeviceTensor, SupportsDlpack
from lift3d_ros.errors import EngineError, nearest_name_hint

Arrays = dict[str, NDArray[Any]]
Inputs = Mapping[str, "NDArray[Any] | SupportsDlpack"]
Tensors = Mapping[str, SupportsDlpack]
# Smallest, usual and largest shape of a tensor whose sizes may differ from run to run.
Shapes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and numpy type name of one tensor; None in the shape is a size that may differ from run to run."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"

    def fits(self, array: NDArray[Any] | DeviceTensor) -> bool:
        """Return whether `array` has this shape and type."""
        return (
            array.dtype.name == self.dtype
            and len(array.shape) == len(self.shape)
            and all(wanted in (None, size) for wanted, size in zip(self.shape, array.shape, strict=True))
        )


@dataclass(frozen=True)
class StateSpec:
    """A tensor that a run leaves behind as `output` and takes in again as `input` at the next run."""

    input: str
    output: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    def zeros(self) -> NDArray[Any]:
        """Return the value before the first run."""
        return np.zeros(self.shape, dtype=self.dtype)


@dataclass(frozen=True)
class EngineSignature:
    """The tensors that go in and out of one graph, in the order of its arguments and results."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    states: tuple[StateSpec, ...] = ()

    @property
    def input_names(self) -> tuple[str, ...]:
        """Graph inputs in order: declared inputs, then states."""
        return (*(spec.name for spec in self.inputs), *(state.input for state in self.states))

    @property
    def output_names(self) -> tuple[str, ...]:
        """Graph outputs in order: declared outputs, then states."""
        return (*(spec.name for spec in self.outputs), *(state.output for state in self.states))

    def to_json(self) -> dict[str, Any]:
        """Return plain data for storing beside a graph."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> EngineSignature:
        """Rebuild a signature from :meth:`to_json`."""

        def tensor(entry: Mapping[str, Any]) -> TensorSpec:
            return TensorSpec(entry["name"], tuple(entry["shape"]), entry["dtype"])

        return cls(
            inputs=tuple(map(tensor, document["inputs"])),
            outputs=tuple(map(tensor, document["outputs"])),
            states=tuple(
                StateSpec(entry["input"], entry["output"], tuple(entry["shape"]), entry["dtype"])
                for entry in document["states"]
            ),
        )


class EngineState(Protocol):
    """Buffers that belong to one sequence of runs."""

    def reset(self) -> None:
        """Forget everything: the next run starts from zeros."""

    def snapshot(self) -> Arrays:
        """Copy the buffers to host memory, by state input name, so that a run can be resumed."""

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Set the buffers from a snapshot."""


class Engine(Protocol):
    """One loaded graph."""

    @property
    def name(self) -> str:
        """Backend name for logs, for example ``onnxruntime``."""

    @property
    def signature(self) -> EngineSignature:
        """Declared tensors."""

    def new_state(self) -> EngineState:
        """Return fresh state buffers."""

    def run(self, inputs: Inputs, state: EngineState) -> Arrays:
        """Run once, update `state` and return the declared outputs by name, in host memory.

        Raises:
            EngineError: an input is missing, unknown or of another shape or type than declared.
        """

    def run_on_device(self, inputs: Inputs, state: EngineState) -> Tensors:
        """Run as :meth:`run` does, and return the outputs where they were computed, without a copy.

        Each speaks DLPack: ``torch.from_dlpack`` takes it, and ``numpy.from_dlpack`` what lies in host memory. No later
        run writes to them. Inputs are read where they lie if that is host memory or the device of the engine.
        """


class GraphEngine(Engine, Protocol):
    """An engine that was made from an exported graph, with the facts of its model."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the graph says of its model: name, hash of the weights, configuration."""


def profile_of(smallest: Arrays, usual: Arrays, largest: Arrays) -> dict[str, Shapes]:
    """Return the shapes of three examples of the same inputs, input -> shapes."""
    return {name: (smallest[name].shape, usual[name].shape, largest[name].shape) for name in usual}


def check_inputs(signature: EngineSignature, inputs: Mapping[str, NDArray[Any] | DeviceTensor]) -> None:
    """Compare `inputs` with the declared tensors.

    Raises:
        EngineError: names tensor, found and expected.
    """
    declared = {spec.name: spec for spec in signature.inputs}
    for name in inputs:
        if name not in declared:
            raise EngineError(f"engine input '{name}' is not declared{nearest_name_hint(name, declared)}")
    for name, spec in declared.items():
        if name not in inputs:
            raise EngineError(f"engine input '{name}' is missing; expected {spec.dtype} {spec.shape}")
        found = inputs[name]
        if not spec.fits(found):
            raise EngineError(
                f"engine input '{name}' is {found.dtype.name} {found.shape}; expected {spec.dtype} {spec.shape}"
            )


def check_snapshot(signature: EngineSignature, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Compare a state snapshot with the declared states.

    Raises:
        EngineError: names state, found and expected.
    """
    for state in signature.states:
        found = arrays.get(state.input)
        if found is None or found.shape != state.shape:
            shape = "nothing" if found is None else f"shape {found.shape}"
            raise EngineError(f"state '{state.input}' holds {shape}; expected shape {state.shape}")
