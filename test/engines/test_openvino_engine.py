"""The OpenVINO backend gives the results of ONNX Runtime, in the precision that was asked for."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")

from mixer_graph import MIXER_SIGNATURE, mixer_inputs

from lift3d_ros.engines import openvino_engine
from lift3d_ros.engines.numerics import Judge, RefusedEngineError, TaskScore, Verdict
from lift3d_ros.engines.onnxruntime_engine import DamagedGraphError, OnnxRuntimeEngine
from lift3d_ros.engines.open_graph import GraphRuntime, open_graph
from lift3d_ros.engines.openvino_engine import OpenVinoEngine, load_openvino
from lift3d_ros.engines.protocol import Engine
from lift3d_ros.errors import EngineError


@pytest.fixture
def openvino() -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")


@pytest.mark.usefixtures("openvino")
def test_outputs_and_carried_state_are_those_of_onnxruntime(mixer: Path) -> None:
    engine = open_graph("mixer", mixer, GraphRuntime("openvino", threads=1))
    reference = OnnxRuntimeEngine(mixer, 1)
    assert (engine.name, engine.signature, engine.facts) == ("openvino", MIXER_SIGNATURE, {"name": "mixer"})
    states = engine.new_state(), reference.new_state()
    kept = []
    for rows in (4, 1, 16, 2):  # sizes change from run to run
        found = engine.run(mixer_inputs(rows), states[0])["mixed"]
        expected = reference.run(mixer_inputs(rows), states[1])["mixed"]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        kept.append((found, expected))
    for found, expected in kept:  # later runs have not written to earlier results
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    for name, array in states[0].snapshot().items():
        np.testing.assert_allclose(array, states[1].snapshot()[name], rtol=1e-5)


@pytest.mark.usefixtures("openvino")
def test_float32_is_float32_and_bfloat16_has_to_be_asked_for(mixer: Path) -> None:
    expected = OnnxRuntimeEngine(mixer, 1).run(mixer_inputs(), OnnxRuntimeEngine(mixer, 1).new_state())["mixed"]
    errors = []
    for precision in ("float32", "bfloat16"):
        try:
            engine = open_graph("mixer", mixer, GraphRuntime("openvino", precision=precision, threads=1))  # type: ignore[arg-type]
        except EngineError as error:
            pytest.skip(str(error))  # this processor has no bfloat16
        found = engine.run(mixer_inputs(), engine.new_state())["mixed"]
        errors.append(float(np.abs(found - expected).max() / np.abs(expected).max()))
    assert errors[0] < 1e-6
    assert 1e-5 < errors[1] < 2e-2


@pytest.mark.usefixtures("openvino")
def test_nodes_are_profiled_slowest_first_and_the_engine_goes_on_as_before(mixer: Path) -> None:
    engine = OpenVinoEngine(mixer, 1)
    times = engine.profile([mixer_inputs(4), mixer_inputs(8)])
    assert any(time.kind for time in times)
    assert [time.time_ms for time in times] == sorted((time.time_ms for time in times), reverse=True)
    assert engine.run(mixer_inputs(), engine.new_state())["mixed"].shape


@pytest.fixture
def given_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for the runtime, so that it need not be installed: the graph runs with ONNX Runtime."""

    class Given(OnnxRuntimeEngine):
        name = "openvino"

        def __init__(self, path: Path, threads: int, precision: str) -> None:
            super().__init__(path, threads)

    monkeypatch.setattr(openvino_engine, "OpenVinoEngine", Given)


def judging(value: float, asked: list[str]) -> Judge:
    def judge(engine: Engine) -> Verdict:
        asked.append(engine.name)
        return Verdict((), (TaskScore("boxes kept", value, 0.95),))

    return judge


@pytest.mark.usefixtures("given_openvino")
def test_bfloat16_whose_results_are_worse_is_refused_unless_that_is_accepted(
    mixer: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []
    runtime = GraphRuntime("openvino", precision="bfloat16", threads=1)
    with pytest.raises(
        RefusedEngineError,
        match=r"mixer in bfloat16 on openvino is refused: boxes kept 0\.5 \(at least 0\.95\).*engine\.accepts_worse",
    ):
        open_graph("mixer", mixer, runtime, judge=judging(0.5, asked))
    accepting = dataclasses.replace(runtime, accepts_worse=True)
    assert open_graph("mixer", mixer, accepting, judge=judging(0.5, asked)).name == "openvino"
    assert "mixer in bfloat16 on openvino is worse than float32 and was accepted: boxes kept 0.5" in caplog.text
    assert open_graph("mixer", mixer, runtime, judge=judging(0.99, asked)).name == "openvino"
    assert asked == ["openvino"] * 3


@pytest.mark.usefixtures("given_openvino")
def test_float32_is_not_compared_with_itself_at_every_start(mixer: Path) -> None:
    asked: list[str] = []
    open_graph("mixer", mixer, GraphRuntime("openvino", threads=1), judge=judging(0.0, asked))
    assert asked == []


@pytest.mark.usefixtures("openvino")
def test_missing_damaged_and_foreign_graphs_are_refused(mixer: Path, tmp_path: Path) -> None:
    import onnx

    with pytest.raises(EngineError, match="file not found"):
        OpenVinoEngine(tmp_path / "absent.onnx", 1)
    (tmp_path / "truncated.onnx").write_bytes(mixer.read_bytes()[:100])
    with pytest.raises(DamagedGraphError, match=r"truncated\.onnx: OpenVINO cannot load"):
        OpenVinoEngine(tmp_path / "truncated.onnx", 1)
    foreign = onnx.load(str(mixer))
    del foreign.metadata_props[:]
    onnx.save(foreign, str(tmp_path / "foreign.onnx"))
    with pytest.raises(DamagedGraphError, match="not a graph exported by this package"):
        OpenVinoEngine(tmp_path / "foreign.onnx", 1)


def test_without_openvino_the_error_says_how_to_install_it(mixer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineError, match=r"'pip install openvino==[\d.]+', or set engine\.backend to onnxruntime"):
        load_openvino()
