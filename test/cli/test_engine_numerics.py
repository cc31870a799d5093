"""`lift3d engine compare`, `quantize` and `profile` on small graphs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from mixer_graph import MIXER_PROFILE, mixer_inputs, write_mixer

from lift3d_ros.cli import engine
from lift3d_ros.engines import openvino_engine
from lift3d_ros.engines.numerics import ComparedRun, TaskScore
from lift3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from lift3d_ros.engines.recording import record, write_recording
from lift3d_ros.errors import ConfigError, EngineError
from lift3d_ros.pipelines import engine_subjects
from lift3d_ros.pipelines.engine_subjects import EngineSubject

Run = Callable[..., int]


def deviation(limit: float) -> Callable[[Sequence[ComparedRun]], tuple[TaskScore, ...]]:
    def score(runs: Sequence[ComparedRun]) -> tuple[TaskScore, ...]:
        worst = max(float(np.abs(run.found["mixed"] - run.expected["mixed"]).max()) for run in runs)
        return (TaskScore("deviation", worst, limit, is_error=True),)

    return score


@pytest.fixture
def mixer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Path]:
    """Return a function that makes the model mixer.onnx with a limit of its deviation."""
    graph = tmp_path / "mixer.onnx"
    write_mixer(graph)

    def make(limit: float) -> Path:
        runs = tuple(mixer_inputs(rows, rows) for rows in (1, 4, 16))
        subject = EngineSubject("mixer", graph, runs, MIXER_PROFILE, recorded=lambda: runs, score=deviation(limit))
        monkeypatch.setattr(engine_subjects, "engine_subjects", lambda model, cameras, is_fixed: (subject,))
        return graph

    return make


def run(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser(prog="lift3d")
    engine.add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["engine", *map(str, arguments)])
    return int(args.run(args))


def test_each_precision_gets_a_verdict_with_errors_and_all_is_written(
    mixer: Callable[[float], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph, out = mixer(1e-3), tmp_path / "numerics.json"
    assert run("compare", graph, "--precision", "float32", "bfloat16", "--out", out) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ok     mixer: onnxruntime float32: deviation 0 (at most 0.001)"
    assert lines[1].split() == ["mixed", "largest", "error", "0.0e+00,", "mean", "error", "0.0e+00"]
    assert lines[2].startswith("FAILED mixer: onnxruntime bfloat16: deviation 0.")
    first, second = json.loads(out.read_text())["results"]
    assert (first["reference"], first["inputs"], first["runs"]) == ("onnxruntime float32", "scenes of this package", 3)
    assert (first["is_accepted"], second["is_accepted"]) == (True, False)


def test_openvino_computes_in_the_precision_that_is_asked_for_and_rounds_nothing_itself(
    mixer: Callable[[float], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, opened = mixer(1e-3), []

    class Given(OnnxRuntimeEngine):
        def __init__(self, path: Path, threads: int, precision: str) -> None:
            super().__init__(path, threads)
            opened.append((path, precision))

    monkeypatch.setattr(openvino_engine, "OpenVinoEngine", Given)
    monkeypatch.setattr(openvino_engine, "load_openvino", lambda: None)
    assert run("compare", graph, "--backend", "openvino", "--precision", "float32", "bfloat16") == 0
    assert opened == [(graph, "float32"), (graph, "bfloat16")]


def test_torch_is_compared_with_itself_in_float32(
    mixer: Callable[[float], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    graph, asked = mixer(1e-3), []

    def engine_of(
        model: str, subject: EngineSubject, threads: int, device: str = "cpu", precision: str = "float32"
    ) -> OnnxRuntimeEngine:
        asked.append((device, precision))
        return OnnxRuntimeEngine(graph, threads)

    monkeypatch.setattr(engine_subjects, "torch_engine", engine_of)
    assert run("compare", "mixer", "--backend", "torch", "--precision", "bfloat16") == 0
    assert asked[-1] == ("cpu", "bfloat16")
    assert capsys.readouterr().out.startswith("ok     mixer: torch bfloat16: deviation 0 ")


def test_an_engine_that_fails_is_a_verdict_and_the_others_go_on(
    mixer: Callable[[float], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    graph, out = mixer(1e-3), tmp_path / "numerics.json"

    class Given(OnnxRuntimeEngine):
        def __init__(self, path: Path, threads: int, precision: str) -> None:
            if precision == "bfloat16":
                raise EngineError("computes in f32 on this processor")
            super().__init__(path, threads)

    monkeypatch.setattr(openvino_engine, "OpenVinoEngine", Given)
    monkeypatch.setattr(openvino_engine, "load_openvino", lambda: None)
    arguments = ("--backend", "openvino", "--precision", "bfloat16", "float32", "--out", out)
    assert run("compare", graph, *arguments) == 1
    printed = capsys.readouterr().out
    assert printed.startswith("FAILED mixer: openvino bfloat16: computes in f32 on this processor\n")
    assert "ok     mixer: openvino float32" in printed
    assert [result["is_accepted"] for result in json.loads(out.read_text())["results"]] == [False, True]


def test_inputs_that_were_recorded_elsewhere_are_taken(
    mixer: Callable[[float], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = mixer(1.0)
    write_recording(record(OnnxRuntimeEngine(graph, 1), "", [mixer_inputs(2)]), tmp_path / "inputs.npz")
    out = tmp_path / "numerics.json"
    assert run("compare", graph, "--inputs", tmp_path / "inputs.npz", "--out", out) == 0
    (result,) = json.loads(out.read_text())["results"]
    assert (result["inputs"], result["runs"]) == ("inputs.npz", 1)


def test_options_that_contradict_each_other_are_refused(mixer: Callable[[float], Path]) -> None:
    graph = mixer(1.0)
    with pytest.raises(ConfigError, match=r"--backend 'onxruntime' runs no graphs here; did you mean 'onnxruntime'"):
        run("compare", graph, "--backend", "onxruntime")
    with pytest.raises(ConfigError, match="--precision float16: openvino computes in float32 or bfloat16"):
        run("compare", graph, "--backend", "openvino", "--precision", "float32", "float16")
    with pytest.raises(ConfigError, match="--backend torch: runs no graphs; give the name of a model"):
        run("compare", graph, "--backend", "torch")
    with pytest.raises(ConfigError, match="--inputs and --bag: give one of them"):
        run("compare", graph, "--inputs", "a.npz", "--bag", "b.mcap")
    with pytest.raises(ConfigError, match="--graph: belongs to one model"):
        run("compare", graph, graph, "--graph", "c.onnx")


def test_a_quantised_graph_is_written_with_a_table_and_compared_again(
    mixer: Callable[[float], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph, out, report = mixer(1.0), tmp_path / "int8.onnx", tmp_path / "parts.json"
    assert run("quantize", graph, "--out", out, "--report", report) == 0
    printed = capsys.readouterr().out
    assert "note: ranges are taken from the scenes that the result is judged on" in printed
    assert "1 of 1 layers in int8" in printed
    (part,) = json.loads(report.read_text())["parts"]
    assert (part["part"], part["layers"], part["is_int8"]) == ("network", 1, True)
    assert 1e-4 < part["error"] < 2e-2
    assert run("compare", graph, "--graph", out) == 0
    assert "ok     mixer: onnxruntime int8, float32: deviation 0." in capsys.readouterr().out


def test_nothing_is_written_where_the_limits_cannot_be_kept_unless_that_is_accepted(
    mixer: Callable[[float], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph, out = mixer(1e-6), tmp_path / "int8.onnx"
    assert run("quantize", graph, "--out", out) == 1
    assert "no part can be quantised within the limits; nothing was written" in capsys.readouterr().out
    assert not out.exists()
    assert run("quantize", graph, "--out", out, "--accept-worse") == 0
    assert "FAILED" in capsys.readouterr().out
    assert out.is_file()


def test_parts_that_are_kept_must_exist(mixer: Callable[[float], Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--keep-float 'networks': no such part; did you mean 'network'"):
        run("quantize", mixer(1.0), "--out", tmp_path / "int8.onnx", "--keep-float", "networks")


@pytest.mark.parametrize(
    ("backend", "precision"), [("onnxruntime", "bfloat16"), ("torch", "float16"), ("openvino", "float16")]
)
def test_a_precision_that_profiling_would_ignore_is_refused(
    mixer: Callable[[float], Path], monkeypatch: pytest.MonkeyPatch, backend: str, precision: str
) -> None:
    monkeypatch.setattr(openvino_engine, "load_openvino", lambda: None)
    with pytest.raises(ConfigError, match=f"--precision {precision}: {backend} is profiled in float32"):
        run("profile", mixer(1.0), "--backend", backend, "--precision", precision)


def test_the_slowest_nodes_are_listed_and_written(
    mixer: Callable[[float], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph, out = mixer(1.0), tmp_path / "profile.json"
    assert run("profile", graph, "--runs", "2", "--out", out) == 0
    assert "linear (MatMul)" in capsys.readouterr().out
    operators = json.loads(out.read_text())["operators"]
    assert {entry["kind"] for entry in operators} >= {"MatMul", "ReduceSum"}
    times = [entry["time_ms"] for entry in operators]
    assert times == sorted(times, reverse=True)
    with pytest.raises(ConfigError, match="--runs is 0; expected 1 or more"):
        run("profile", graph, "--runs", "0")
