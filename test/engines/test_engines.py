"""Backends agree with each other, own their state and refuse what was not declared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lift3d_ros.engines.protocol import Engine, EngineSignature, StateSpec, TensorSpec
from lift3d_ros.errors import EngineError

torch = pytest.importorskip("torch", reason="torch is not installed")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from lift3d_ros.engines.export import export_onnx  # noqa: E402
from lift3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine  # noqa: E402
from lift3d_ros.engines.openvino_engine import OpenVinoEngine  # noqa: E402
from lift3d_ros.engines.torch_engine import TorchEngine  # noqa: E402

SIGNATURE = EngineSignature(
    inputs=(TensorSpec("pixels", (2, 3), "uint8"), TensorSpec("gain", ())),
    outputs=(TensorSpec("total", (3,)),),
    states=(StateSpec("sum_before", "sum_after", (3,)),),
)


class RunningSum(torch.nn.Module):
    """Adds the weighted rows of `pixels` to what was there before."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.tensor([1.0, 10.0]))

    def forward(self, pixels: Any, gain: Any, sum_before: Any) -> Any:
        total = gain * (self.weights[:, None] * pixels.float()).sum(0) + sum_before
        return 2 * total, total


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "sum.onnx"
    export_onnx(RunningSum(), SIGNATURE, {"name": "sum"}, inputs(), path)
    return path


def test_a_graph_tells_nothing_of_the_machine_that_exported_it(graph: Path) -> None:
    content = graph.read_bytes()
    assert b"forward" not in content
    assert str(Path(__file__).parent).encode() not in content


def inputs(gain: float = 1.0) -> dict[str, Any]:
    pixels = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.uint8)
    return {"pixels": pixels, "gain": np.array(gain, dtype=np.float32)}


@pytest.fixture(params=["torch", "onnxruntime", "openvino"])
def engine(request: pytest.FixtureRequest, graph: Path) -> Engine:
    if request.param == "torch":
        return TorchEngine(RunningSum(), SIGNATURE, "cpu", 1)
    if request.param == "openvino":
        pytest.importorskip("openvino", reason="openvino is not installed")
        return OpenVinoEngine(graph, 1)
    return OnnxRuntimeEngine(graph, 1)


def test_state_is_carried_from_run_to_run_and_forgotten_on_reset(engine: Engine) -> None:
    state = engine.new_state()
    assert engine.run(inputs(), state)["total"].tolist() == [82.0, 104.0, 126.0]
    assert engine.run(inputs(), state)["total"].tolist() == [164.0, 208.0, 252.0]
    state.reset()
    assert engine.run(inputs(), state)["total"].tolist() == [82.0, 104.0, 126.0]


def test_two_states_of_one_engine_are_independent(engine: Engine) -> None:
    first, second = engine.new_state(), engine.new_state()
    engine.run(inputs(), first)
    assert engine.run(inputs(0.5), second)["total"].tolist() == [41.0, 52.0, 63.0]


def test_a_snapshot_resumes_where_it_was_taken(engine: Engine) -> None:
    state = engine.new_state()
    engine.run(inputs(), state)
    snapshot = state.snapshot()
    expected = engine.run(inputs(), state)["total"]
    resumed = engine.new_state()
    resumed.restore(snapshot)
    np.testing.assert_array_equal(engine.run(inputs(), resumed)["total"], expected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"pixels": np.zeros((2, 4), np.uint8)}, r"'pixels' is uint8 \(2, 4\); expected uint8", id="shape"),
        pytest.param({"pixels": np.zeros((2, 3))}, r"float64 \(2, 3\); expected uint8 \(2, 3\)", id="type"),
        pytest.param({"gian": np.zeros(())}, "'gian' is not declared; did you mean 'gain'", id="unknown name"),
        pytest.param({"gain": None}, "'gain' is missing", id="missing"),
    ],
)
def test_undeclared_inputs_are_refused_by_name(engine: Engine, changes: dict[str, Any], expected: str) -> None:
    values = {name: value for name, value in {**inputs(), **changes}.items() if value is not None}
    with pytest.raises(EngineError, match=expected):
        engine.run(values, engine.new_state())


def test_a_snapshot_of_another_model_is_refused(engine: Engine) -> None:
    with pytest.raises(EngineError, match="'sum_before' holds shape \\(4,\\); expected shape \\(3,\\)"):
        engine.new_state().restore({"sum_before": np.zeros(4, np.float32)})


def addresses_read(engine: Any, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Return a set that fills with the addresses which the runtime itself is told to read."""
    read: set[int] = set()

    def noting(function: Any, address_of: Any) -> Any:
        def call(*arguments: Any) -> Any:
            result = function(*arguments)
            read.update(address_of(arguments, result))
            return result

        return call

    if engine.name == "onnxruntime":
        make = noting(ort.OrtValue.ortvalue_from_numpy, lambda _, value: [value.data_ptr()])
        monkeypatch.setattr(ort.OrtValue, "ortvalue_from_numpy", make)
    elif engine.name == "openvino":
        shared = noting(engine._shared, lambda _, tensor: [tensor.data.ctypes.data])
        monkeypatch.setattr(engine, "_shared", shared)
    else:
        call = noting(engine._call, lambda given, _: [tensor.data_ptr() for tensor in given[0].values()])
        monkeypatch.setattr(engine, "_call", call)
    return read


def test_tensors_of_another_library_are_taken_and_given_without_a_copy(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, read = engine.new_state(), addresses_read(engine, monkeypatch)
    tensors = {name: torch.from_numpy(array) for name, array in inputs().items()}
    outputs = engine.run_on_device(tensors, state)
    assert {tensor.data_ptr() for tensor in tensors.values()} <= read
    total: Any = outputs["total"]
    seen = torch.from_dlpack(total)
    assert seen.data_ptr() == np.from_dlpack(total).ctypes.data
    engine.run_on_device(tensors, state)
    assert seen.tolist() == [82.0, 104.0, 126.0]  # no later run writes to what was handed out
    assert engine.run(tensors, state)["total"].tolist() == [246.0, 312.0, 378.0]  # state went along


def test_arrays_in_any_order_of_memory_give_the_same(engine: Engine) -> None:
    arrays = inputs()
    arrays["pixels"] = np.asfortranarray(arrays["pixels"])
    arrays["pixels"].flags.writeable = engine.name == "torch"  # which warns of arrays that it must not write to
    assert engine.run(arrays, engine.new_state())["total"].tolist() == [82.0, 104.0, 126.0]


def test_a_tensor_with_another_shape_is_refused_by_name(engine: Engine) -> None:
    with pytest.raises(EngineError, match=r"'pixels' is uint8 \(2, 4\); expected uint8"):
        engine.run({**inputs(), "pixels": torch.zeros((2, 4), dtype=torch.uint8)}, engine.new_state())


def test_a_graph_knows_its_signature_and_facts(graph: Path) -> None:
    engine = OnnxRuntimeEngine(graph, 1)
    assert engine.signature == SIGNATURE
    assert engine.facts == {"name": "sum"}


def test_missing_damaged_and_foreign_graphs_are_refused(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="file not found"):
        OnnxRuntimeEngine(tmp_path / "absent.onnx", 1)
    truncated = tmp_path / "truncated.onnx"
    truncated.write_bytes(graph.read_bytes()[:100])
    with pytest.raises(EngineError, match=r"truncated\.onnx: ONNX Runtime cannot load"):
        OnnxRuntimeEngine(truncated, 1)
    onnx = pytest.importorskip("onnx")
    foreign = onnx.load(str(graph))
    del foreign.metadata_props[:]
    onnx.save(foreign, str(tmp_path / "foreign.onnx"))
    with pytest.raises(EngineError, match="not a graph exported by this package"):
        OnnxRuntimeEngine(tmp_path / "foreign.onnx", 1)


def test_an_export_that_deviates_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lift3d_ros.engines.export.MAX_RELATIVE_ERROR", -1.0)
    with pytest.raises(EngineError, match="deviates from PyTorch"):
        export_onnx(RunningSum(), SIGNATURE, {}, inputs(), tmp_path / "bad.onnx")
    assert list(tmp_path.iterdir()) == []


def test_onnxruntime_needs_no_torch(graph: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np, pathlib\n"
        "from lift3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine\n"
        f"engine = OnnxRuntimeEngine(pathlib.Path({str(graph)!r}), 1)\n"
        "inputs = {'pixels': np.ones((2, 3), np.uint8), 'gain': np.ones((), np.float32)}\n"
        "print(engine.run(inputs, engine.new_state())['total'].tolist())\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "[22.0, 22.0, 22.0]", result.stderr
