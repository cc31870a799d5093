"""Every model is measured with every backend; one that cannot run costs only itself."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
from bench_results import answer

from lift3d_ros.bench import all_models
from lift3d_ros.bench.all_models import measure_models, models_with_weights
from lift3d_ros.bench.model_run import RunAnswer, ask_model_run
from lift3d_ros.bench.result_file import BenchSettings
from lift3d_ros.bench.subjects import open_subject
from lift3d_ros.errors import EngineError, WeightsError
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.weights.manifest import ModelEntry, find_model

SETTINGS = BenchSettings(3.0, (10.0, 30.0), 2, 1, "cpu", "float32")
MODULES = ("bench.all_models", "bench.markdown", "bench.comparison", "cli.bench_all", "doctor.jetson")


def test_models_without_weights_are_left_out() -> None:
    names = models_with_weights()
    assert "lift3d-lfm" in names
    assert all(find_model(name).weights for name in names)
    assert "dfa3d_tiny" not in names


def test_repeats_go_through_all_models_in_turn_after_a_first_start(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, float, tuple[float, ...]]] = []

    def ask(model: str, engine: EngineConfig, seconds: float, rates_hz: tuple[float, ...]) -> RunAnswer:
        assert engine.threads == 1
        asked.append((model, engine.backend, seconds, rates_hz))
        return answer()

    monkeypatch.setattr(all_models, "ask_model_run", ask)
    results, not_run = measure_models(["lift3d-lfm", "lift3d-bev-tiny"], ["onnxruntime", "torch"], SETTINGS)
    pairs = [(m, b) for m in ("lift3d-lfm", "lift3d-bev-tiny") for b in ("onnxruntime", "torch")]
    assert asked[:4] == [(*pair, 0.0, ()) for pair in pairs]
    assert asked[4:] == [(*pair, 3.0, (10.0, 30.0)) for pair in pairs] * 2
    assert [(result.model, result.backend, len(result.repeats)) for result in results] == [(*p, 2) for p in pairs]
    assert not_run == []


def test_a_backend_that_fails_is_reported_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(model: str, engine: EngineConfig, *_: object) -> RunAnswer:
        if engine.backend == "torch":
            raise EngineError("torch is broken; install it again")
        return answer()

    monkeypatch.setattr(all_models, "ask_model_run", ask)
    results, not_run = measure_models(["lift3d-lfm"], ["torch", "onnxruntime"], SETTINGS)
    assert [result.backend for result in results] == ["onnxruntime"]
    assert [(item.model, item.backend) for item in not_run] == [("lift3d-lfm", "torch")]
    assert not_run[0].reason == "torch is broken; install it again"


def test_an_unknown_model_is_named_before_anything_is_measured() -> None:
    with pytest.raises(WeightsError, match="did you mean 'lift3d-lfm'"):
        measure_models(["lift3d-lmf"], ["onnxruntime"], SETTINGS)


def test_a_method_without_workload_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = ModelEntry("new", "triposr", "licence", "source")
    monkeypatch.setattr("lift3d_ros.bench.subjects.find_model", lambda _: entry)
    with pytest.raises(EngineError, match="'mine': 'lift3d bench all' has no workload for method 'new'"):
        open_subject("mine", EngineConfig())


def test_a_model_that_cannot_be_opened_says_why_through_its_process() -> None:
    with pytest.raises(EngineError, match="model 'absent' is not in"):
        ask_model_run("absent", EngineConfig("onnxruntime"), 0.0, ())


def test_the_harness_is_loaded_without_torch() -> None:
    imports = "".join(f"import lift3d_ros.{name}\n" for name in MODULES)
    code = f"import sys\nsys.path[:] = {sys.path!r}\nsys.modules['torch'] = None\n{imports}"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120).stderr == ""


@pytest.mark.skipif(not importlib.util.find_spec("onnxruntime"), reason="onnxruntime is not installed")
def test_the_lifter_on_onnxruntime_loads_no_torch_and_takes_less_memory() -> None:
    # Memory, because it is the same on a busy machine; times and their ratios are not.
    engine = EngineConfig("onnxruntime", threads=1)
    ask_model_run("lift3d-lfm", engine, 0.0, ())  # exports the graph where the cache lacks it
    light = ask_model_run("lift3d-lfm", engine, 0.2, (20.0,))
    assert not light.start.imports_torch
    times_s = (light.start.interpreter_s, light.start.imported_s, light.start.opened_s, light.start.first_result_s)
    assert times_s == tuple(sorted(times_s))
    assert light.back_to_back is not None
    assert light.back_to_back.frames >= 3
    assert light.paced[0].offered == 4
    if light.start.peak_bytes is None or not importlib.util.find_spec("torch"):
        pytest.skip("no memory figures on this system, or torch is not installed")
    heavy = ask_model_run("lift3d-lfm", EngineConfig("torch", threads=1), 0.0, ())
    assert heavy.start.imports_torch
    assert heavy.start.peak_bytes is not None
    assert heavy.start.peak_bytes > 1.5 * light.start.peak_bytes
