"""Kernels are recorded once and replayed on the inputs of each run; a stand-in of CUDA's graphs runs on the CPU."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.engines import torch_engine  # noqa: E402
from lift3d_ros.engines.protocol import EngineSignature, TensorSpec  # noqa: E402
from lift3d_ros.errors import EngineError  # noqa: E402

CUDA = torch.device("cuda", 1)


class Graph:
    """Replays as a graph of CUDA does: reads the tensors it was recorded with, and writes to those it returned then."""

    recorded: Any = None
    fails = False
    at_once = most_at_once = 0

    def replay(self) -> None:
        again = self.recorded._function(self.recorded._inputs)
        for name, tensor in self.recorded._results.items():
            tensor.copy_(again[name])


class Stream:
    """Belongs to the device that is current when it is made, as that of torch does."""

    current_device = torch.device("cuda", 0)

    def __init__(self) -> None:
        self.device = Stream.current_device

    def wait_stream(self, other: Any) -> None:
        """Nothing runs beside the caller here."""


@contextlib.contextmanager
def device(wanted: Any) -> Any:
    before, Stream.current_device = Stream.current_device, wanted
    try:
        yield
    finally:
        Stream.current_device = before


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    graph_class = type("Graph", (Graph,), {"captures": []})

    @contextlib.contextmanager
    def recording(graph: Any, stream: Any = None, capture_error_mode: str = "global") -> Any:
        graph_class.at_once += 1
        graph_class.most_at_once = max(graph_class.most_at_once, graph_class.at_once)
        graph_class.captures.append((capture_error_mode, None if stream is None else stream.device))
        yield
        graph_class.at_once -= 1
        if graph.fails:
            raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", graph_class)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "device", device)
    return graph_class


def test_each_run_gives_the_results_of_its_own_inputs_and_keeps_those_of_the_last(on_cpu: Any) -> None:
    recorded = torch_engine._CudaGraph(lambda tensors: {"double": 2 * tensors["x"]}, CUDA)
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
        torch_engine._CudaGraph(lambda tensors: tensors, CUDA)({"x": torch.zeros(1)})


def test_kernels_are_recorded_on_the_device_of_the_model_while_other_threads_may_allocate(on_cpu: Any) -> None:
    on_cpu.recorded = recorded = torch_engine._CudaGraph(lambda tensors: {"y": tensors["x"] + 1}, CUDA)
    recorded({"x": torch.zeros(1)})
    assert on_cpu.captures == [("thread_local", CUDA)]
    assert Stream.current_device == torch.device("cuda", 0)


def test_of_two_nodes_in_one_process_one_records_after_the_other(on_cpu: Any) -> None:
    is_first_recording, may_go_on = threading.Event(), threading.Event()

    def slow(tensors: Any) -> dict[str, Any]:
        if on_cpu.at_once:
            is_first_recording.set()
            may_go_on.wait(5.0)
        return {"y": tensors["x"] + 1}

    def fast(tensors: Any) -> dict[str, Any]:
        return {"y": tensors["x"] + 1}

    def record(function: Any) -> None:
        torch_engine._CudaGraph(function, CUDA)._record_alone({"x": torch.zeros(1)})

    threads = [threading.Thread(target=record, args=(function,)) for function in (slow, fast)]
    threads[0].start()
    assert is_first_recording.wait(5.0)
    threads[1].start()
    threads[1].join(0.2)
    may_go_on.set()
    for thread in threads:
        thread.join(5.0)
    assert (len(on_cpu.captures), on_cpu.most_at_once) == (2, 1)


def test_a_gpu_whose_memory_is_too_small_is_an_error_with_a_remedy_and_no_traceback() -> None:
    class Large(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.\nSee documentation")

    tensor = TensorSpec("x", (1,))
    engine = torch_engine.TorchEngine(Large(), EngineSignature((tensor,), (tensor,)), "cpu", 0)
    message = r"torch on cpu: not enough memory \(CUDA out of memory\. Tried to allocate 20 GiB\.\); close other"
    with pytest.raises(EngineError, match=message):
        engine.run({"x": np.zeros(1, dtype=np.float32)}, engine.new_state())
