"""A GPU provider of ONNX Runtime is asked for by name, and never replaced in silence by a slower one.

No GPU is needed, and none is proven: lists of providers are made up, and a CPU session stands in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")

import onnxruntime as ort
from mixer_graph import mixer_inputs

from lift3d_ros.engines import onnxruntime_engine
from lift3d_ros.engines.device_tensor import CUDA, DeviceTensor
from lift3d_ros.engines.onnxruntime_engine import DamagedGraphError, OnnxRuntimeEngine
from lift3d_ros.engines.open_graph import GraphRuntime, open_graph
from lift3d_ros.errors import EngineError

GPU_WHEEL = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


class Binding:
    """A binding on the CPU that notes where it was told to bind."""

    def __init__(self, session: Any) -> None:
        self._binding = session.io_binding()
        self.bound: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._binding, name)

    def bind_output(self, name: str, *device: Any) -> None:
        self.bound.append((name, *device))
        self._binding.bind_output(name, "cpu")

    def bind_input(self, name: str, device: str, index: int, dtype: Any, shape: list[int], address: int) -> None:
        self.bound.append((name, device, index, address))
        self._binding.bind_input(name, "cpu", 0, dtype, shape, address)


class Session:
    """A session that says to have the providers that it was asked for, those of `missing` excepted."""

    missing: tuple[str, ...] = ()
    asked: Any = None
    left_out: Any = None

    def __init__(self, path: str, options: Any, providers: Any, disabled_optimizers: list[str]) -> None:
        type(self).asked, type(self).left_out = providers, disabled_optimizers
        self._session = ort.capi.onnxruntime_inference_collection.InferenceSession(path, options)
        self.bindings: list[Binding] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def get_providers(self) -> list[str]:
        return [name for name, _ in self.asked if name not in self.missing]

    def io_binding(self) -> Binding:
        self.bindings.append(Binding(self._session))
        return self.bindings[-1]

    def run_with_iobinding(self, binding: Binding) -> None:
        self._session.run_with_iobinding(binding._binding)


@pytest.fixture
def gpu_wheel(monkeypatch: pytest.MonkeyPatch) -> type[Session]:
    share = ort.OrtValue.ortvalue_from_numpy
    monkeypatch.setattr(ort, "get_available_providers", lambda: GPU_WHEEL)
    monkeypatch.setattr(ort.OrtValue, "ortvalue_from_numpy", lambda array, *_: share(array))
    monkeypatch.setattr(onnxruntime_engine.ort, "InferenceSession", Session)
    monkeypatch.setattr(Session, "missing", ())
    return Session


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_the_wheel_lacks_is_named_with_what_it_has(
    mixer: Path, provider: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(EngineError, match=rf"engine\.provider '{provider}': .* it has CPUExecutionProvider\. Install"):
        OnnxRuntimeEngine(mixer, 1, provider)


def test_a_provider_that_does_not_start_is_an_error_and_no_silent_run_on_the_cpu(
    mixer: Path, gpu_wheel: type[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_wheel, "missing", ("CUDAExecutionProvider",))
    with pytest.raises(EngineError, match="could not start CUDAExecutionProvider and runs on CPUExecutionProvider"):
        OnnxRuntimeEngine(mixer, 1, "cuda")


def test_a_session_that_fails_on_a_gpu_does_not_blame_the_graph(
    mixer: Path, gpu_wheel: type[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA failure 2: out of memory")

    monkeypatch.setattr(onnxruntime_engine.ort, "InferenceSession", fail)
    with pytest.raises(EngineError, match=r"with engine\.provider 'cuda' .CUDA failure 2") as caught:
        OnnxRuntimeEngine(mixer, 1, "cuda")
    assert not isinstance(caught.value, DamagedGraphError)  # which would be exported again


def test_faster_providers_come_first_on_the_gpu_that_was_named(
    mixer: Path, gpu_wheel: type[Session], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFT3D_CACHE_DIR", str(tmp_path))
    engine = open_graph("mixer", mixer, GraphRuntime("onnxruntime", "cuda:1", provider="tensorrt"))
    assert [name for name, _ in gpu_wheel.asked] == GPU_WHEEL
    assert gpu_wheel.left_out == []  # fusions that cost time on a CPU pay on a GPU
    options = dict(gpu_wheel.asked)
    assert options["TensorrtExecutionProvider"]["trt_engine_cache_enable"]
    assert options["TensorrtExecutionProvider"]["trt_engine_cache_path"] == str(tmp_path / "engines" / "onnxruntime")
    assert {options[name]["device_id"] for name in GPU_WHEEL[:2]} == {1}
    assert engine.name == "onnxruntime"


def test_inputs_outputs_and_state_stay_on_the_gpu(mixer: Path, gpu_wheel: type[Session]) -> None:
    engine, reference = OnnxRuntimeEngine(mixer, 1, "cuda", 1), OnnxRuntimeEngine(mixer, 1)
    states = engine.new_state(), reference.new_state()
    arrays = mixer_inputs()
    rows = arrays["rows"]
    on_gpu = {**arrays, "rows": DeviceTensor(rows.ctypes.data, rows.shape, rows.dtype, (CUDA, 1), rows)}
    for _ in range(2):
        found = engine.run(on_gpu, states[0])["mixed"]
        np.testing.assert_array_equal(found, reference.run(arrays, states[1])["mixed"])
    bound = engine._session.bindings[-1].bound
    assert bound == [("rows", "cuda", 1, rows.ctypes.data), ("mixed", "cuda", 1), ("sum_after", "cuda", 1)]


def test_a_tensor_on_another_gpu_is_refused(mixer: Path, gpu_wheel: type[Session]) -> None:
    rows = mixer_inputs()["rows"]
    elsewhere = {**mixer_inputs(), "rows": DeviceTensor(rows.ctypes.data, rows.shape, rows.dtype, (CUDA, 0), rows)}
    engine = OnnxRuntimeEngine(mixer, 1, "cuda", 1)
    with pytest.raises(EngineError, match="'rows' lies on cuda:0"):
        engine.run(elsewhere, engine.new_state())


def test_a_run_that_the_runtime_breaks_off_is_an_error_with_its_reason_and_leaves_the_state(mixer: Path) -> None:
    engine = OnnxRuntimeEngine(mixer, 1)
    state = engine.new_state()
    before = state.snapshot()

    class Broken:
        def __init__(self, session: Any) -> None:
            self.io_binding = session.io_binding

        def run_with_iobinding(self, binding: Any) -> None:
            raise RuntimeError("Non-zero status code returned.\n  Failed to allocate memory for requested buffer")

    engine._session = Broken(engine._session)
    with pytest.raises(
        EngineError,
        match=r"onnxruntime \S+ on cpu:0: the run failed \(Non-zero .* Failed to alloc.*; where memory is",
    ):
        engine.run(mixer_inputs(), state)
    for name, array in state.snapshot().items():
        np.testing.assert_array_equal(array, before[name])
