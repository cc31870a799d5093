"""Times of operators come in one form from every backend, the slowest first, and state is as in other runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lift3d_ros.engines.operator_times import OperatorTime, times_by_kind, times_of_samples, times_of_trace

RUNS = [{"rows": np.ones((4, 64), np.float32), "offset": np.array([1])}] * 3


def test_the_median_of_the_calls_counts_so_that_a_slow_first_one_does_not() -> None:
    samples = {("a", "Conv"): [90.0, 1.0, 1.0], ("b", "Add"): [2.0, 2.0, 2.0, 2.0, 2.0, 2.0]}
    assert times_of_samples(samples, 3) == (OperatorTime("b", "Add", 2.0, 4.0), OperatorTime("a", "Conv", 1.0, 1.0))


def test_operators_of_one_kind_are_summed() -> None:
    times = (
        OperatorTime("a", "Conv", 1.0, 1.0),
        OperatorTime("b", "Add", 1.0, 1.5),
        OperatorTime("c", "Conv", 2.0, 2.0),
    )
    assert times_by_kind(times) == (OperatorTime("Conv", "Conv", 3.0, 3.0), OperatorTime("Add", "Add", 1.0, 1.5))


def test_a_trace_is_read_without_what_is_no_kernel(tmp_path: Path) -> None:
    events = [
        {"cat": "Node", "name": "linear_kernel_time", "dur": 1500, "args": {"op_name": "MatMul"}},
        {"cat": "Node", "name": "linear_fence_before", "dur": 9, "args": {}},
        {"cat": "Session", "name": "model_run", "dur": 2000},
    ]
    (tmp_path / "trace.json").write_text(json.dumps(events))
    assert times_of_trace(tmp_path / "trace.json", 1) == (OperatorTime("linear", "MatMul", 1.0, 1.5),)


def test_onnxruntime_tells_its_nodes_and_runs_on_as_before(mixer: Path) -> None:
    from lift3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine

    engine = OnnxRuntimeEngine(mixer, 1)
    for _ in range(2):
        times = engine.profile(RUNS)
        assert {time.kind for time in times} >= {"MatMul", "Add", "ReduceSum"}
        assert all(time.calls == 1.0 for time in times)
    state = engine.new_state()
    first = engine.run(RUNS[0], state)["mixed"]
    assert (engine.run(RUNS[0], state)["mixed"] > first).any()  # the state counts on from zero
    assert not list(Path.cwd().glob("profile*.json"))


def test_torch_tells_its_operators() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from lift3d_ros.engines.protocol import EngineSignature, TensorSpec
    from lift3d_ros.engines.torch_engine import TorchEngine

    class Square(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: object) -> tuple[object]:
            return (torch.matmul(x, x).relu(),)

    signature = EngineSignature((TensorSpec("x", (64, 64)),), (TensorSpec("y", (64, 64)),))
    times = TorchEngine(Square(), signature, "cpu", 1).profile([{"x": np.ones((64, 64), np.float32)}] * 4)
    by_name = {time.name: time for time in times}
    assert by_name["aten::mm"].calls == 1.0
    assert by_name["aten::mm"].kind == "mm"
    assert times[0].time_ms == max(time.time_ms for time in times)
