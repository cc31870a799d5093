"""The fallback serves while an engine is built and after one failed; no run and no state is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")

from fake_tensorrt import FakeDevice
from mixer_graph import MIXER_PROFILE, MIXER_SIGNATURE, mixer_inputs

from lift3d_ros.engines import tensorrt_builder
from lift3d_ros.engines.device_tensor import CUDA, DeviceTensor, WrongDeviceError
from lift3d_ros.engines.engine_cache import EngineCache
from lift3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from lift3d_ros.engines.open_graph import GraphRuntime, open_graph
from lift3d_ros.engines.switching_engine import SwitchingEngine
from lift3d_ros.engines.tensorrt_builder import EngineRequest, obtain_engine
from lift3d_ros.engines.tensorrt_engine import TensorRtEngine
from lift3d_ros.errors import EngineError

MakeRequest = Callable[..., EngineRequest]


@pytest.fixture
def expected(mixer: Path) -> list[Any]:
    """Return what eight runs give when nothing happens."""
    engine = OnnxRuntimeEngine(mixer, 1)
    state = engine.new_state()
    return [engine.run(mixer_inputs(4, offset), state)["mixed"] for offset in range(8)]


@pytest.fixture
def build(install: Callable[..., Any], request_mixer: MakeRequest, tmp_path: Path) -> Callable[..., TensorRtEngine]:
    def make(device: FakeDevice | None = None, **changes: Any) -> TensorRtEngine:
        install(**changes)
        return obtain_engine(request_mixer(), EngineCache(tmp_path / "engines"), device or FakeDevice())

    return make


def test_every_run_is_served_while_a_slow_build_goes_on_and_the_state_moves_over(
    mixer: Path, build: Callable[..., TensorRtEngine], expected: list[Any]
) -> None:
    may_end = threading.Event()

    def slow() -> TensorRtEngine:
        assert may_end.wait(30)
        return build()

    engine = SwitchingEngine(slow, lambda: OnnxRuntimeEngine(mixer, 1))
    assert engine.signature == MIXER_SIGNATURE
    assert engine.notice == "serving with onnxruntime while the engine is built"
    state, served, found = engine.new_state(), [], []
    for offset in range(8):
        if offset == 4:
            may_end.set()
            assert engine.wait_until_built(30)
        served.append(engine.name)
        found.append(engine.run(mixer_inputs(4, offset), state)["mixed"])
    assert served == ["onnxruntime"] * 4 + ["tensorrt"] * 4
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert engine.notice == ""


def test_a_build_that_fails_leaves_the_fallback_serving_and_says_why(
    mixer: Path, build: Callable[..., TensorRtEngine], expected: list[Any]
) -> None:
    engine = SwitchingEngine(lambda: build(refused=frozenset({"MatMul"})), lambda: OnnxRuntimeEngine(mixer, 1))
    assert engine.wait_until_built(30)
    assert engine.notice.startswith("the engine could not be built")
    assert engine.notice.endswith("serving with onnxruntime")
    np.testing.assert_array_equal(engine.run(mixer_inputs(4, 0), engine.new_state())["mixed"], expected[0])


def test_an_unforeseen_error_of_the_runtime_while_building_leaves_the_fallback_serving(mixer: Path) -> None:
    def fail() -> TensorRtEngine:
        raise RuntimeError("internal error of the runtime")

    engine = SwitchingEngine(fail, lambda: OnnxRuntimeEngine(mixer, 1))
    assert engine.wait_until_built(30)
    assert engine.notice == "the engine could not be built (internal error of the runtime); serving with onnxruntime"


@pytest.mark.parametrize("is_lost", [False, True], ids=["state can be read", "device lost"])
def test_an_engine_that_fails_at_run_time_is_replaced_within_the_same_run(
    mixer: Path, build: Callable[..., TensorRtEngine], expected: list[Any], is_lost: bool
) -> None:
    device = FakeDevice()
    preferred = build(device)
    engine = SwitchingEngine(preferred, lambda: OnnxRuntimeEngine(mixer, 1))
    state = engine.new_state()
    for offset in range(3):
        engine.run(mixer_inputs(4, offset), state)
    preferred._api.module.fails_to_run, device.is_lost = True, is_lost
    found = engine.run(mixer_inputs(4, 3), state)["mixed"]
    assert engine.name == "onnxruntime"
    assert engine.notice.startswith("tensorrt failed (")
    if is_lost:  # the state went with the device
        afresh = OnnxRuntimeEngine(mixer, 1)
        np.testing.assert_array_equal(found, afresh.run(mixer_inputs(4, 3), afresh.new_state())["mixed"])
    else:
        np.testing.assert_allclose(found, expected[3], rtol=1e-5)
        np.testing.assert_allclose(engine.run(mixer_inputs(4, 4), state)["mixed"], expected[4], rtol=1e-5)
    state.reset()


def test_outputs_that_stay_on_the_device_come_from_the_fallback_when_the_engine_fails(
    mixer: Path, build: Callable[..., TensorRtEngine], expected: list[Any]
) -> None:
    preferred = build()
    engine = SwitchingEngine(preferred, lambda: OnnxRuntimeEngine(mixer, 1))
    state = engine.new_state()
    on_device: Any = engine.run_on_device(mixer_inputs(4, 0), state)["mixed"]
    assert on_device.__dlpack_device__() == (CUDA, 0)
    preferred._api.module.fails_to_run = True
    on_host: Any = engine.run_on_device(mixer_inputs(4, 1), state)["mixed"]
    np.testing.assert_allclose(np.from_dlpack(on_host), expected[1], rtol=1e-5)


def test_an_input_on_another_device_is_refused_and_costs_the_engine_nothing(
    mixer: Path, build: Callable[..., TensorRtEngine]
) -> None:
    engine = SwitchingEngine(build(), lambda: OnnxRuntimeEngine(mixer, 1))
    rows = mixer_inputs()["rows"]
    elsewhere = {**mixer_inputs(), "rows": DeviceTensor(rows.ctypes.data, rows.shape, rows.dtype, (CUDA, 7), rows)}
    with pytest.raises(WrongDeviceError, match="'rows' lies on cuda:7"):
        engine.run(elsewhere, engine.new_state())
    assert engine.name == "tensorrt"


def test_a_larger_set_than_the_engine_takes_goes_to_the_fallback_and_the_next_one_back(
    mixer: Path, build: Callable[..., TensorRtEngine], caplog: pytest.LogCaptureFixture
) -> None:
    engine = SwitchingEngine(build(), lambda: OnnxRuntimeEngine(mixer, 1))
    reference = OnnxRuntimeEngine(mixer, 1)
    states = engine.new_state(), reference.new_state()
    for rows in (4, 17, 4, 17, 17):
        found = engine.run(mixer_inputs(rows), states[0])
        expected = reference.run(mixer_inputs(rows), states[1])
        np.testing.assert_allclose(found["mixed"], expected["mixed"], rtol=1e-5)
    assert engine.name == "tensorrt"
    assert (
        sum("the fallback took this run" in line for line in caplog.messages) == 2
    )  # the 1st and the 2nd, not the 3rd


def test_wrong_inputs_are_the_callers_fault_and_switch_nothing(
    mixer: Path, build: Callable[..., TensorRtEngine]
) -> None:
    engine = SwitchingEngine(build(), lambda: OnnxRuntimeEngine(mixer, 1))
    with pytest.raises(EngineError, match="'offset' is missing"):
        engine.run({"rows": mixer_inputs()["rows"]}, engine.new_state())
    assert (engine.name, engine.notice) == ("tensorrt", "")


@pytest.mark.parametrize("builds_beside", [False, True])
def test_a_graph_opens_on_tensorrt_and_is_found_in_the_cache_afterwards(
    mixer: Path,
    install: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    builds_beside: bool,
) -> None:
    monkeypatch.setenv("LIFT3D_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tensorrt_builder, "CudaDevice", lambda index: FakeDevice())
    module = install(build_s=0.1)
    runtime = GraphRuntime("tensorrt", precision="float16", builds_beside=builds_beside)
    first = open_graph("mixer", mixer, runtime, MIXER_PROFILE)
    assert first.name == ("onnxruntime" if builds_beside else "tensorrt")
    assert isinstance(first, SwitchingEngine)
    assert first.wait_until_built(30)
    assert first.name == "tensorrt"
    assert open_graph("mixer", mixer, runtime, MIXER_PROFILE).name == "tensorrt"
    assert module.builds == 1


@pytest.fixture
def on_gpu(install: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("LIFT3D_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tensorrt_builder, "CudaDevice", lambda index: FakeDevice())
    return install()


@pytest.mark.parametrize("builds_beside", [False, True])
def test_an_engine_has_loaded_its_kernels_before_the_first_set(
    mixer: Path, on_gpu: Any, monkeypatch: pytest.MonkeyPatch, builds_beside: bool
) -> None:
    warmed: list[str] = []
    monkeypatch.setattr(TensorRtEngine, "warm_up", lambda engine: warmed.append(engine.name))
    runtime = GraphRuntime("tensorrt", builds_beside=builds_beside)
    for times in (1, 2):  # built, and found in the cache
        engine = open_graph("mixer", mixer, runtime, MIXER_PROFILE)
        assert isinstance(engine, SwitchingEngine)
        assert engine.wait_until_built(30)
        assert warmed == ["tensorrt"] * times


def test_an_engine_that_fails_when_it_is_warmed_up_leaves_the_first_set_to_the_fallback(
    mixer: Path, on_gpu: Any, caplog: pytest.LogCaptureFixture
) -> None:
    on_gpu.fails_to_run = True
    engine = open_graph("mixer", mixer, GraphRuntime("tensorrt"), MIXER_PROFILE)
    assert "tensorrt failed when it was warmed up" in caplog.text
    engine.run(mixer_inputs(), engine.new_state())
    assert engine.name == "onnxruntime"


def test_asking_for_tensorrt_without_it_is_an_error_and_no_silent_fallback(
    mixer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    monkeypatch.setattr(tensorrt_builder, "CudaDevice", lambda index: FakeDevice())
    tensorrt_builder.load_tensorrt.cache_clear()
    with pytest.raises(EngineError, match=r"engine\.backend 'tensorrt' is not usable here"):
        open_graph("mixer", mixer, GraphRuntime("tensorrt"))
