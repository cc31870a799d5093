"""Shipped models keep their limits in float32 and 16 bit, and a damaged graph is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
for package in ("torch", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from lift3d_ros.engines.mixed_precision import to_rounded_precision  # noqa: E402
from lift3d_ros.engines.numerics import Verdict, judge  # noqa: E402
from lift3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine  # noqa: E402
from lift3d_ros.pipelines.engine_subjects import EngineSubject, engine_subjects, reference_recording  # noqa: E402

# The detector and the reconstructor take half a minute each where the cores are busy.
MODELS = [
    "lift3d-lfm",
    "lift3d-points-small",
    pytest.param("lift3d-bev-tiny", marks=pytest.mark.slow),
    pytest.param("lift3d-lrm-tiny", marks=pytest.mark.slow),
]


def verdicts(model: str, graphs: list[Path | None], subject: EngineSubject) -> list[Verdict]:
    """Return the verdicts on graphs, None for that of the model."""
    assert subject.recorded is not None
    recording = reference_recording(model, subject, subject.recorded())
    return [
        judge(OnnxRuntimeEngine(graph or subject.graph, 1), recording, subject.score, subject.align) for graph in graphs
    ]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("model", MODELS)
def test_shipped_models_keep_their_limits_in_float32_and_float16(model: str, tmp_path: Path) -> None:
    for subject in engine_subjects(model, 6, is_fixed=True):
        rounded = tmp_path / subject.graph.name
        rounded.write_bytes(to_rounded_precision(subject.graph, "float16")[0])
        exact, half = verdicts(model, [None, rounded], subject)
        assert exact.scores
        assert exact.is_accepted, exact.reason()
        assert max(error.max_error for error in exact.errors) < 1e-4
        assert half.is_accepted, half.reason()


def test_weights_that_were_rounded_coarsely_are_refused_with_the_figures(tmp_path: Path) -> None:
    (subject,) = engine_subjects("lift3d-lfm", 6, is_fixed=True)
    model = onnx.load(str(subject.graph))
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.ndim == 2 and values.dtype.kind == "f":
            step = abs(values).max() / 4
            tensor.CopyFrom(onnx.numpy_helper.from_array((values / step).round() * step, tensor.name))
    damaged = tmp_path / "damaged.onnx"
    onnx.save(model, str(damaged))
    (verdict,) = verdicts("lift3d-lfm", [damaged], subject)
    assert not verdict.is_accepted
    assert "PA-MPJPE / size" in verdict.reason()
    assert "(at most 0.01)" in verdict.reason()


def test_a_judge_needs_no_torch_and_accepts_the_graph_itself() -> None:
    (subject,) = engine_subjects("lift3d-lfm", 6, is_fixed=True)
    ask = subject.judge()
    assert ask is not None
    verdict = ask(OnnxRuntimeEngine(subject.graph, 1))
    assert verdict.is_accepted
    assert {error.max_error for error in verdict.errors} == {0.0}
