"""The OpenVINO backend gives the results of ONNX Runtime, in the precision that was asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")

from mixer_graph import MIXER_SIGNATURE, mixer_inputs

from lift3d_ros.engines.onnxruntime_engine import DamagedGraphError, OnnxRuntimeEngine
from lift3d_ros.engines.open_graph import GraphRuntime, open_graph
from lift3d_ros.engines.openvino_engine import OpenVinoEngine, load_openvino
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
