"""Runs an exported graph on ONNX Runtime; imports no torch."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import onnxruntime as ort
from numpy.typing import NDArray

from lift3d_ros.engines.operator_times import OperatorTime, times_of_trace
from lift3d_ros.engines.protocol import Arrays, EngineSignature, EngineState, check_inputs, check_snapshot
from lift3d_ros.errors import EngineError

SIGNATURE_KEY = "lift3d.signature"
FACTS_KEY = "lift3d.facts"
_LARGE_GRAPH_BYTES = 100_000_000


class DamagedGraphError(EngineError):
    """A file that is no graph of this package; exporting the model again helps."""


class OnnxRuntimeState:
    """State tensors as values of the runtime, on its device."""

    def __init__(self, signature: EngineSignature) -> None:
        self._signature = signature
        self.values: dict[str, Any] = {}
        self.reset()

    def reset(self) -> None:
        """Fill every buffer with zeros."""
        self.restore({spec.input: spec.zeros() for spec in self._signature.states})

    def snapshot(self) -> Arrays:
        """Copy the buffers to host memory."""
        return {name: value.numpy() for name, value in self.values.items()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Set the buffers from a snapshot."""
        check_snapshot(self._signature, arrays)
        # A value of the runtime shares the memory of its array, so it gets one of its own.
        self.values = {
            spec.input: ort.OrtValue.ortvalue_from_numpy(arrays[spec.input].copy()) for spec in self._signature.states
        }


class OnnxRuntimeEngine:
    """An exported graph with the signature and the model's facts in its metadata."""

    name = "onnxruntime"

    def __init__(self, path: Path, threads: int) -> None:
        """Load the graph at `path`; `threads` = 0 lets the runtime choose.

        Raises:
            EngineError: the file is missing.
            DamagedGraphError: it is damaged, or was not written by this package's export.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        # Idle threads must sleep, not spin: on a robot the cores belong to others too.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.use_deterministic_compute = True
        options.log_severity_level = 3
        if not path.is_file():
            raise EngineError(f"{path}: file not found; export the model with 'lift3d export dfa3d --out {path.name}'")
        # The arena keeps memory for the next run, which makes small graphs faster and doubles the peak of large ones.
        # A plan of one block for all tensors takes nearly twice the memory of large graphs and saves no time.
        options.enable_mem_pattern = False
        options.enable_cpu_mem_arena = path.stat().st_size < _LARGE_GRAPH_BYTES
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime has no common base class for its errors
            raise DamagedGraphError(
                f"{path}: ONNX Runtime cannot load this graph ({str(error).splitlines()[0][:200]}); export it again"
            ) from None
        self._path, self._options = path, options
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
        return OnnxRuntimeState(self.signature)

    def run(self, inputs: Mapping[str, NDArray[Any]], state: EngineState) -> Arrays:
        """Run the graph once; see :meth:`lift3d_ros.engines.protocol.Engine.run`."""
        check_inputs(self.signature, inputs)
        buffers = cast("OnnxRuntimeState", state)
        feeds = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in inputs.items()}
        names = self.signature.output_names
        values = self._session.run_with_ort_values(names, {**feeds, **buffers.values})
        results = dict(zip(names, values, strict=True))
        for spec in self.signature.states:
            buffers.values[spec.input] = results[spec.output]
        return {spec.name: results[spec.name].numpy() for spec in self.signature.outputs}

    def profile(self, runs: Sequence[Arrays]) -> tuple[OperatorTime, ...]:
        """Return the times of the nodes, as the runtime has fused them, over runs from an empty state."""
        with TemporaryDirectory() as folder:
            self._options.enable_profiling = True
            self._options.profile_file_prefix = str(Path(folder) / "profile")
            try:
                session = ort.InferenceSession(str(self._path), self._options, providers=["CPUExecutionProvider"])
            finally:
                self._options.enable_profiling = False
            profiled = copy.copy(self)
            profiled._session = session
            state = profiled.new_state()
            for inputs in runs:
                profiled.run(inputs, state)
            return times_of_trace(Path(session.end_profiling()), len(runs))
