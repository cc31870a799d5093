"""Runs parts of a batch at the same time, each in one thread.

The threads of a runtime wait for each other after every operator; for networks of many small operators that costs more
than the operators. Parts of a batch have nothing to wait for.
"""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from lift3d_ros.engines.protocol import Arrays, EngineSignature, EngineState, GraphEngine, Inputs, Tensors
from lift3d_ros.errors import EngineError


class SplitEngine:
    """An engine without state whose tensors all have the rows of a batch first."""

    def __init__(self, whole: GraphEngine, part: GraphEngine, num_parts: int) -> None:
        """Run single rows on `whole`, which may use all threads, and parts of more rows on `part`, which uses one.

        Args:
            part: takes several runs at the same time.

        Raises:
            EngineError: the graph has state, or a tensor with a fixed number of rows.
        """
        signature = whole.signature
        fixed = [spec.name for spec in (*signature.inputs, *signature.outputs) if spec.shape[:1] != (None,)]
        if signature.states or fixed:
            raise EngineError(f"a graph with state or a fixed number of rows cannot be split ({', '.join(fixed)})")
        self._whole, self._part, self._num_parts = whole, part, num_parts
        self._threads = ThreadPoolExecutor(num_parts - 1, thread_name_prefix="part")

    @property
    def name(self) -> str:
        """Backend name for logs."""
        return self._whole.name

    @property
    def signature(self) -> EngineSignature:
        """Declared tensors."""
        return self._whole.signature

    @property
    def facts(self) -> dict[str, Any]:
        """What the graph says of its model."""
        return self._whole.facts

    def new_state(self) -> EngineState:
        """Return the state of an engine without state."""
        return self._whole.new_state()

    def run(self, inputs: Inputs, state: EngineState) -> Arrays:
        """Run once; see :meth:`lift3d_ros.engines.protocol.Engine.run`."""
        arrays = {name: value for name, value in inputs.items() if isinstance(value, np.ndarray) and value.ndim}
        rows = {len(array) for array in arrays.values()}
        # What does not fit the signature is left to the engine, which says so.
        if len(arrays) < len(inputs) or len(rows) != 1 or min(rows) < 2:
            return self._whole.run(inputs, state)
        bounds = np.linspace(0, min(rows), min(self._num_parts, *rows) + 1).round().astype(int)
        parts = [
            {name: array[first:last] for name, array in arrays.items()} for first, last in itertools.pairwise(bounds)
        ]
        others = [self._threads.submit(self._part.run, part, state) for part in parts[1:]]
        outputs = [self._part.run(parts[0], state), *(other.result() for other in others)]
        return {spec.name: np.concatenate([part[spec.name] for part in outputs]) for spec in self.signature.outputs}

    def run_on_device(self, inputs: Inputs, state: EngineState) -> Tensors:
        """Run; host memory is where the parts are put together."""
        return dict(self.run(inputs, state))


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
