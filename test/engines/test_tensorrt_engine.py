"""The TensorRT backend keeps the contract of all backends, on stand-ins of releases 10.3, 11 and RTX.

No GPU is needed, and none is proven: ONNX Runtime computes in place of the engine.
"""

from __future__ import annotations

import dataclasses
import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")

from fake_tensorrt import ORIN, RTX_3060, FakeDevice
from mixer_graph import MIXER_SIGNATURE, mixer_inputs

from lift3d_ros.engines.build_progress import PhaseTree
from lift3d_ros.engines.device_tensor import CPU, CUDA, PINNED, DeviceTensor
from lift3d_ros.engines.engine_cache import EngineCache
from lift3d_ros.engines.numerics import Judge, RefusedEngineError, TaskScore, Verdict
from lift3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from lift3d_ros.engines.quantization import GraphQuantizer
from lift3d_ros.engines.tensorrt_api import load_tensorrt
from lift3d_ros.engines.tensorrt_builder import (
    EngineRequest,
    build_ahead,
    engine_key,
    find_engine,
    obtain_engine,
    open_device,
)
from lift3d_ros.engines.tensorrt_engine import ShapeOutsideProfileError, TensorRtEngine
from lift3d_ros.errors import EngineError

Install = Callable[..., Any]
MakeRequest = Callable[..., EngineRequest]

RELEASES = [("tensorrt", "10.3.0"), ("tensorrt", "11.4.1"), ("tensorrt_rtx", "1.7.1")]


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


@pytest.fixture(params=RELEASES, ids=lambda release: "-".join(release))
def engine(request: Any, install: Install, request_mixer: MakeRequest, cache: EngineCache) -> TensorRtEngine:
    install(*request.param)
    return obtain_engine(request_mixer(backend=request.param[0]), cache, FakeDevice())


def test_outputs_and_carried_state_are_those_of_onnxruntime(engine: TensorRtEngine, mixer: Path) -> None:
    reference = OnnxRuntimeEngine(mixer, 1)
    assert (engine.signature, engine.facts) == (MIXER_SIGNATURE, {"name": "mixer"})
    states = engine.new_state(), reference.new_state()
    for rows in (4, 1, 16, 2):  # sizes change from run to run, and buffers are used again
        found = engine.run(mixer_inputs(rows), states[0])["mixed"]
        expected = reference.run(mixer_inputs(rows), states[1])["mixed"]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        np.testing.assert_allclose(states[0].snapshot()["sum_before"], states[1].snapshot()["sum_before"], rtol=1e-6)
    states[0].reset()
    np.testing.assert_allclose(
        engine.run(mixer_inputs(), states[0])["mixed"], reference.run(mixer_inputs(), reference.new_state())["mixed"]
    )


def test_results_are_not_overwritten_by_the_next_run(engine: TensorRtEngine) -> None:
    first = engine.run(mixer_inputs(4, 1), engine.new_state())["mixed"]
    kept = first.copy()
    engine.run(mixer_inputs(4, 9), engine.new_state())
    np.testing.assert_array_equal(first, kept)


def read_at(tensor: Any) -> Any:
    """Return the device memory of a tensor, which is host memory here."""
    return dataclasses.replace(tensor, device=(CPU, 0)).array()


def test_outputs_that_stay_on_the_device_are_not_copied_and_not_overwritten(engine: TensorRtEngine) -> None:
    memory: Any = engine._memory
    expected = engine.run(mixer_inputs(), engine.new_state())["mixed"]
    memory.copies.clear()
    tensor: Any = engine.run_on_device(mixer_inputs(), engine.new_state())["mixed"]
    assert [way for way, _ in memory.copies] == ["in", "in"]
    assert tensor.__dlpack_device__() == (CUDA, 0)
    assert tensor.address in memory.live
    engine.run_on_device(mixer_inputs(4, 9), engine.new_state())
    np.testing.assert_array_equal(read_at(tensor), expected)
    address = tensor.address
    del tensor
    gc.collect()
    assert address not in memory.live


def test_an_input_on_the_device_is_read_where_it_lies(engine: TensorRtEngine) -> None:
    memory: Any = engine._memory
    arrays = mixer_inputs()
    expected = engine.run(arrays, engine.new_state())["mixed"]
    memory.copies.clear()
    there = np.ascontiguousarray(arrays["rows"])
    rows = DeviceTensor(there.ctypes.data, there.shape, there.dtype, (CUDA, 0), there)
    found = engine.run({**arrays, "rows": rows}, engine.new_state())["mixed"]
    assert [way for way, _ in memory.copies] == ["in", "out"]  # only the offset goes in
    np.testing.assert_array_equal(found, expected)
    elsewhere = dataclasses.replace(rows, device=(CUDA, 1))
    with pytest.raises(EngineError, match="'rows' lies on cuda:1"):
        engine.run({**arrays, "rows": elsewhere}, engine.new_state())


def test_the_device_copies_from_and_to_pinned_memory_only(engine: TensorRtEngine) -> None:
    memory: Any = engine._memory
    engine.run(mixer_inputs(), engine.new_state())
    assert len(memory.copies) == 3
    assert {host for _, host in memory.copies} <= memory.pinned
    memory.copies.clear()
    block = np.ascontiguousarray(mixer_inputs()["rows"])  # stands for memory that another library has pinned
    rows = DeviceTensor(block.ctypes.data, block.shape, block.dtype, (PINNED, 0), block)
    engine.run({**mixer_inputs(), "rows": rows}, engine.new_state())
    assert ("in", block.ctypes.data) in memory.copies  # without a copy of ours before


def test_two_states_are_independent_and_a_snapshot_resumes(engine: TensorRtEngine) -> None:
    first, second = engine.new_state(), engine.new_state()
    engine.run(mixer_inputs(), first)
    assert not second.snapshot()["sum_before"].any()
    second.restore(first.snapshot())
    np.testing.assert_array_equal(
        engine.run(mixer_inputs(), first)["mixed"], engine.run(mixer_inputs(), second)["mixed"]
    )
    with pytest.raises(EngineError, match=r"'sum_before' holds shape \(4,\); expected shape \(8,\)"):
        first.restore({"sum_before": np.zeros(4, np.float32)})


def test_undeclared_inputs_and_sizes_beyond_the_engine_are_refused_by_name(engine: TensorRtEngine) -> None:
    with pytest.raises(EngineError, match=r"'rows' is float64 \(4, 64\); expected float32"):
        engine.run({**mixer_inputs(), "rows": np.zeros((4, 64))}, engine.new_state())
    with pytest.raises(ShapeOutsideProfileError, match=r"'rows' has shape \(17, 64\); .* for \(1, 64\) to \(16, 64\)"):
        engine.run(mixer_inputs(17), engine.new_state())


def test_a_failed_run_names_device_and_reason_and_leaves_the_state_as_it_was(engine: TensorRtEngine) -> None:
    state = engine.new_state()
    engine.run(mixer_inputs(), state)
    before = state.snapshot()["sum_before"]
    engine._api.module.fails_to_run = True
    with pytest.raises(EngineError, match=r"on Orin: the run was refused \(Cask convolution execution failed\)"):
        engine.run(mixer_inputs(), state)
    np.testing.assert_array_equal(state.snapshot()["sum_before"], before)


def test_all_memory_is_given_back(install: Install, request_mixer: MakeRequest, cache: EngineCache) -> None:
    install()
    device = FakeDevice()
    engine = obtain_engine(request_mixer(), cache, device)
    engine.warm_up()
    assert device.live
    del engine
    gc.collect()
    assert not device.live


def test_an_engine_is_built_once_for_a_gpu_and_a_version(
    install: Install, request_mixer: MakeRequest, cache: EngineCache
) -> None:
    module = install()
    for _ in range(2):
        obtain_engine(request_mixer(), cache, FakeDevice())
    assert module.builds == 1
    assert find_engine(request_mixer(), cache, FakeDevice(RTX_3060)) is None
    module = install("tensorrt", "10.7.0")
    assert find_engine(request_mixer(), cache, FakeDevice()) is None
    obtain_engine(request_mixer(), cache, FakeDevice())
    assert module.builds == 1
    assert len(cache.records()) == 2


def test_an_engine_that_the_runtime_refuses_is_built_again(
    install: Install, request_mixer: MakeRequest, cache: EngineCache, caplog: pytest.LogCaptureFixture
) -> None:
    module = install()
    obtain_engine(request_mixer(), cache, FakeDevice())
    module.__version__ = "10.3.0.26"  # a patch release that says the same version to us, and is not compatible
    assert load_tensorrt("tensorrt").version == "10.3.0"
    caplog.set_level("INFO")
    obtain_engine(request_mixer(), cache, FakeDevice())
    assert module.builds == 2
    assert any("does not load it: The engine plan file is not compatible" in line for line in caplog.messages)


def test_an_engine_whose_record_lacks_its_tensors_is_built_again(
    install: Install, request_mixer: MakeRequest, cache: EngineCache
) -> None:
    module = install()
    obtain_engine(request_mixer(), cache, FakeDevice())
    (record,) = cache.records()
    note = record.path.with_suffix(".json")
    note.write_text(json.dumps({**json.loads(note.read_text()), "facts": {"model": {}}}))
    obtain_engine(request_mixer(), cache, FakeDevice())
    assert module.builds == 2


@pytest.mark.parametrize(("name", "version"), RELEASES)
def test_half_precision_is_built_and_close_to_float32(
    install: Install, request_mixer: MakeRequest, cache: EngineCache, mixer: Path, name: str, version: str
) -> None:
    install(name, version)
    engine = obtain_engine(request_mixer(backend=name, precision="float16"), cache, FakeDevice())
    (record,) = cache.records()
    assert record.facts["16bit_layers"] == 1
    assert any("Half" in types for _, *layer in record.facts["layers"] for types in layer)
    reference = OnnxRuntimeEngine(mixer, 1)
    found = engine.run(mixer_inputs(), engine.new_state())["mixed"]
    expected = reference.run(mixer_inputs(), reference.new_state())["mixed"]
    error = np.abs(found - expected).max() / np.abs(expected).max()
    assert 0.0 < error < 2e-3


def test_an_engine_that_came_out_in_float32_though_16_bit_were_asked_for_is_refused(
    install: Install, request_mixer: MakeRequest, cache: EngineCache
) -> None:
    install(ignores_types=True)
    with pytest.raises(EngineError, match="without a single layer in float16"):
        obtain_engine(request_mixer(precision="float16"), cache, FakeDevice())
    assert not cache.records()


def judging(value: float, calls: list[Any]) -> Judge:
    """Return a judge that gives one score, of which 0.9 is needed, and notes whom it was asked about."""

    def judge(engine: Any) -> Verdict:
        calls.append(engine.name)
        return Verdict((), (TaskScore("boxes kept", value, 0.9),))

    return judge


def test_an_engine_that_is_worse_than_float32_is_refused_with_the_figures_and_judged_once(
    install: Install, request_mixer: MakeRequest, cache: EngineCache
) -> None:
    module, calls = install(), list[Any]()
    request = request_mixer(precision="float16", judge=judging(0.5, calls))
    message = r"mixer in float16 on tensorrt is refused: boxes kept 0\.5 \(at least 0\.9\).*--accept-worse"
    with pytest.raises(RefusedEngineError, match=message):
        obtain_engine(request, cache, FakeDevice())
    with pytest.raises(RefusedEngineError, match=message):
        find_engine(request, cache, FakeDevice())
    assert (module.builds, calls) == (1, ["tensorrt"])
    without_judge = request_mixer(precision="float16")
    with pytest.raises(RefusedEngineError):  # the record says it
        find_engine(without_judge, cache, FakeDevice())


def test_an_engine_that_keeps_its_limits_is_judged_once_for_each_release(
    install: Install, request_mixer: MakeRequest, cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    install()
    calls: list[Any] = []
    request = request_mixer(judge=judging(0.95, calls))
    for _ in range(3):
        obtain_engine(request, cache, FakeDevice())
    assert len(calls) == 1
    (record,) = cache.records()
    assert record.facts["verdict"]["scores"][0]["value"] == 0.95
    monkeypatch.setattr("lift3d_ros.__version__", "later")
    obtain_engine(request, cache, FakeDevice())
    assert len(calls) == 2


def test_a_worse_engine_that_was_accepted_once_is_used_from_then_on(
    install: Install, request_mixer: MakeRequest, cache: EngineCache, caplog: pytest.LogCaptureFixture
) -> None:
    install()
    calls: list[Any] = []
    judge = judging(0.5, calls)
    obtain_engine(request_mixer(judge=judge, accepts_worse="always"), cache, FakeDevice())
    assert find_engine(request_mixer(judge=judge), cache, FakeDevice()) is not None
    assert len(calls) == 1
    assert (
        "mixer in float32 on tensorrt is worse than float32 and was accepted: boxes kept 0.5 (at least 0.9)"
        in caplog.text
    )


def test_a_worse_engine_that_is_accepted_for_once_is_refused_again_afterwards(
    install: Install, request_mixer: MakeRequest, cache: EngineCache, caplog: pytest.LogCaptureFixture
) -> None:
    install()
    judge = judging(0.5, [])
    obtain_engine(request_mixer(judge=judge, accepts_worse="once"), cache, FakeDevice())
    assert "mixer in float32 on tensorrt is worse than float32 and was accepted" in caplog.text
    with pytest.raises(RefusedEngineError, match=r"for a node with engine\.accepts_worse"):
        find_engine(request_mixer(judge=judge), cache, FakeDevice())


def test_layers_are_profiled_slowest_first(engine: TensorRtEngine) -> None:
    times = engine.profile([mixer_inputs(4), mixer_inputs(8)])
    assert [(time.name, time.calls, time.time_ms) for time in times] == [
        (f"layer {number}", 1.0, 1.0 + number) for number in (4, 3, 2, 1, 0)
    ]
    assert engine._context.profiler is None  # runs afterwards are not slowed down


@pytest.fixture
def int8_mixer(mixer: Path, tmp_path: Path) -> Path:
    quantizer = GraphQuantizer(mixer, [{**mixer_inputs(), "sum_before": np.zeros(8, np.float32)}])
    path = tmp_path / "int8.onnx"
    path.write_bytes(quantizer.quantize(quantizer.groups))
    return path


def test_a_quantised_graph_is_built_with_int8_layers(
    install: Install, request_mixer: MakeRequest, cache: EngineCache, int8_mixer: Path, mixer: Path
) -> None:
    install()
    engine = obtain_engine(request_mixer(graph=int8_mixer), cache, FakeDevice())
    (record,) = cache.records()
    assert record.facts["int8_layers"] == 1
    assert any("Int8" in types for _, *layer in record.facts["layers"] for types in layer)
    reference = OnnxRuntimeEngine(mixer, 1)
    found = engine.run(mixer_inputs(), engine.new_state())["mixed"]
    expected = reference.run(mixer_inputs(), reference.new_state())["mixed"]
    assert 0.0 < np.abs(found - expected).max() / np.abs(expected).max() < 2e-2


def test_a_quantised_graph_that_came_out_in_float32_is_refused(
    install: Install, request_mixer: MakeRequest, cache: EngineCache, int8_mixer: Path
) -> None:
    install(ignores_types=True)
    with pytest.raises(EngineError, match="without a single layer in int8"):
        obtain_engine(request_mixer(graph=int8_mixer), cache, FakeDevice())


def test_a_deep_learning_accelerator_is_given_what_it_takes_and_the_gpu_the_rest(
    install: Install, request_mixer: MakeRequest, cache: EngineCache
) -> None:
    module = install(dla_cores=2)
    request = request_mixer(precision="float16", dla_core=1)
    obtain_engine(request, cache, FakeDevice())
    config = module.last_config
    assert (config.default_device_type, config.DLA_core) == (module.DeviceType.DLA, 1)
    assert config.flags == [module.BuilderFlag.GPU_FALLBACK]
    assert engine_key(load_tensorrt("tensorrt"), request, ORIN).options == {"workspace_mb": None, "dla_core": 1}


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("tensorrt", {}, r"DLA core 0: tensorrt 10\.3\.0 finds none here; Jetson AGX Orin.*Build without --dla-core"),
        ("tensorrt_rtx", {"dla_cores": 2}, r"DLA core 0: tensorrt_rtx 10\.3\.0 does not offer it"),
    ],
)
def test_an_accelerator_that_is_not_there_is_refused(
    install: Install, request_mixer: MakeRequest, cache: EngineCache, name: str, changes: Any, expected: str
) -> None:
    module = install(name, **changes)
    with pytest.raises(EngineError, match=expected):
        obtain_engine(request_mixer(backend=name, precision="float16", dla_core=0), cache, FakeDevice())
    assert module.builds == 0


def test_an_accelerator_does_not_take_float32(install: Install, request_mixer: MakeRequest, cache: EngineCache) -> None:
    install(dla_cores=2)
    with pytest.raises(EngineError, match=r"DLA core 0: takes layers in float16 and int8 only.*--precision float16"):
        obtain_engine(request_mixer(dla_core=0), cache, FakeDevice())


def test_an_operator_that_is_not_taken_is_named_with_its_node_and_the_remedy(
    install: Install, request_mixer: MakeRequest, cache: EngineCache
) -> None:
    install(refused=frozenset({"MatMul"}))
    with pytest.raises(EngineError, match=r"node 'linear' \(MatMul\): Plugin not found.*lift3d engine check"):
        obtain_engine(request_mixer(), cache, FakeDevice())


def test_too_little_memory_is_seen_before_building(
    install: Install, request_mixer: MakeRequest, cache: EngineCache
) -> None:
    module = install()
    with pytest.raises(EngineError, match=r"needs about 300 MB of the device's memory, and 100 MB are free"):
        obtain_engine(request_mixer(), cache, FakeDevice(free=100_000_000))
    assert module.builds == 0


def test_sizes_that_may_differ_need_bounds(install: Install, request_mixer: MakeRequest, cache: EngineCache) -> None:
    install()
    with pytest.raises(EngineError, match="sizes of input 'rows' may differ, and TensorRT is told no limits for them"):
        obtain_engine(request_mixer(profile={}), cache, FakeDevice())


def test_measured_times_are_kept_for_the_next_build(
    install: Install, request_mixer: MakeRequest, cache: EngineCache
) -> None:
    install()
    obtain_engine(request_mixer(workspace_mb=64), cache, FakeDevice())
    (path,) = cache.folder.glob("timing-tensorrt-10.3.0-Orin.cache")
    assert path.read_bytes() == b"measured"


def test_progress_is_reported_with_the_time_left(
    install: Install, request_mixer: MakeRequest, cache: EngineCache
) -> None:
    install(build_s=0.04)
    reports: list[Any] = []
    obtain_engine(request_mixer(), cache, FakeDevice(), reports.append)
    assert [report.done for report in reports] == [0.25, 0.5, 0.75, 1.0]
    assert reports[1].remaining_s == pytest.approx(reports[1].elapsed_s)


def test_nested_phases_add_up_and_never_go_back() -> None:
    tree = PhaseTree(started_s=0.0)
    tree.start("all", None, 4)
    assert tree.advance("all", 0, 1.0).done == 0.25
    tree.start("inner", "all", 2)
    assert tree.advance("inner", 0, 2.0).done == pytest.approx(0.375)
    assert tree.advance("inner", 1, 3.0).done == pytest.approx(0.5)
    tree.finish("inner")
    assert tree.advance("all", 1, 4.0) == tree.advance("unknown", 0, 4.0).__class__("all", 0.5, 4.0, 4.0)
    assert tree.advance("stray", 0, 5.0).done == 0.5


def test_engines_are_built_ahead_of_time_for_named_gpus_by_rtx_only(
    install: Install, request_mixer: MakeRequest, cache: EngineCache
) -> None:
    install("tensorrt_rtx", "1.7.1")
    record = build_ahead(request_mixer(backend="tensorrt_rtx", targets=("SM86", "SM89")), cache)
    assert record.key["gpu"] == "SM86 SM89"
    with pytest.raises(EngineError, match=r"target 'SM87' is not known to tensorrt_rtx 1\.7\.1; did you mean 'SM8"):
        build_ahead(request_mixer(backend="tensorrt_rtx", targets=("SM87",)), cache)
    install()
    with pytest.raises(EngineError, match="tensorrt builds for the GPU of this machine only"):
        build_ahead(request_mixer(targets=("SM86",)), cache)


def test_a_key_tells_the_device_and_what_it_is_built_with(install: Install, request_mixer: MakeRequest) -> None:
    install()
    key = engine_key(load_tensorrt("tensorrt"), request_mixer(precision="bfloat16"), ORIN)
    assert key.gpu == "Orin (compute capability 8.7, driver for CUDA 12)"
    assert (key.precision, key.version, key.options) == ("bfloat16", "10.3.0", {"workspace_mb": None})


def test_missing_old_and_empty_installations_say_what_to_do(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("tensorrt", "8.6.1")
    with pytest.raises(EngineError, match=r"release 8\.6\.1 is installed; expected 10\.3"):
        load_tensorrt("tensorrt")
    module = install()
    del module.Builder
    with pytest.raises(EngineError, match="the installed package is empty; on a Jetson install"):
        load_tensorrt("tensorrt")
    load_tensorrt.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "tensorrt_rtx", None)
    with pytest.raises(EngineError, match="'pip install tensorrt_rtx' on a PC"):
        load_tensorrt("tensorrt_rtx")


def test_a_machine_without_a_driver_and_a_wrong_device_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from lift3d_ros.engines import cuda_memory

    with pytest.raises(EngineError, match=r"engine\.device 'gpu1': a GPU is cuda or cuda:0"):
        open_device("gpu1")
    monkeypatch.setattr(cuda_memory, "_LIBRARY", "libno_such_driver.so.1")
    with pytest.raises(
        EngineError, match="no NVIDIA driver on this machine.*set engine.backend to onnxruntime".replace("set", "Set")
    ):
        open_device("cuda:0")
