"""Kernels are recorded once and replayed on the inputs of each run; a stand-in of CUDA's graphs runs on the CPU."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.engines import torch_engine  # noqa: E402
from lift3d_ros.errors import EngineError  # noqa: E402


class Graph:
    """Replays as a graph of CUDA does: reads the tensors it was recorded with, and writes to those it returned then."""

    recorded: Any = None
    fails = False

    def replay(self) -> None:
        again = self.recorded._function(self.recorded._inputs)
        for name, tensor in self.recorded._results.items():
            tensor.copy_(again[name])


@contextlib.contextmanager
def recording(graph: Graph) -> Any:
    yield
    if graph.fails:
        raise RuntimeError("operation not permitted when stream is capturing")


class Stream:
    def wait_stream(self, other: Any) -> None:
        """Nothing runs beside the caller here."""


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    graph = type("Graph", (Graph,), {})
    monkeypatch.setattr(torch.cuda, "CUDAGraph", graph)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    return graph


def test_each_run_gives_the_results_of_its_own_inputs_and_keeps_those_of_the_last(on_cpu: Any) -> None:
    recorded = torch_engine._CudaGraph(lambda tensors: {"double": 2 * tensors["x"]})
    on_cpu.recorded = recorded
    given = torch.tensor([1.0, 2.0])
    first = recorded({"x": given})["double"]
    address = recorded._inputs["x"].data_ptr()
    second = recorded({"x": torch.tensor([5.0, 6.0])})["double"]
    assert recorded._inputs["x"].data_ptr() == address  # a graph reads where it was recorded
    assert (first.tolist(), second.tolist(), given.tolist()) == ([2.0, 4.0], [10.0, 12.0], [1.0, 2.0])


def test_kernels_that_cannot_be_recorded_are_an_error_that_names_the_setting(on_cpu: Any) -> None:
    on_cpu.fails = True
    with pytest.raises(
        EngineError, match=r"cannot be recorded \(operation not permitted.*set engine\.cuda_graph to fal"
    ):
        torch_engine._CudaGraph(lambda tensors: tensors)({"x": torch.zeros(1)})
