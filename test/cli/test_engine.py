"""`lift3d engine` builds, lists, prunes, checks and proves engines, on a stand-in of TensorRT and a small graph."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")

from fake_tensorrt import FakeDevice, fake_tensorrt
from mixer_graph import MIXER_PROFILE, mixer_inputs, write_mixer

from lift3d_ros.cli import engine
from lift3d_ros.engines import graph_cache, tensorrt_builder
from lift3d_ros.engines.numerics import ComparedRun, TaskScore
from lift3d_ros.engines.tensorrt_api import load_tensorrt
from lift3d_ros.errors import ConfigError, EngineError
from lift3d_ros.pipelines import engine_subjects
from lift3d_ros.pipelines.engine_subjects import EngineSubject


def run(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser(prog="lift3d")
    engine.add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["engine", *map(str, arguments)])
    return int(args.run(args))


@pytest.fixture
def trt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine with a GPU and TensorRT 10.3, and one model called mixer."""
    graph = tmp_path / "mixer.onnx"
    write_mixer(graph)

    def subjects(model: str, num_cameras: int, *, is_fixed: bool) -> tuple[EngineSubject, ...]:
        runs = tuple(mixer_inputs(rows, rows) for rows in (1, 4, 16))
        return (EngineSubject(model, graph, runs, MIXER_PROFILE),)

    monkeypatch.setenv("LIFT3D_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(engine_subjects, "engine_subjects", subjects)
    monkeypatch.setattr(engine_subjects, "graph_models", lambda: ["mixer"])
    monkeypatch.setattr(tensorrt_builder, "CudaDevice", lambda index: FakeDevice())
    module = fake_tensorrt()
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    load_tensorrt.cache_clear()
    yield module
    load_tensorrt.cache_clear()


def test_engines_are_built_once_listed_and_pruned(trt: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    assert "holds no engines; build one with 'lift3d engine build MODEL'" in capsys.readouterr().out
    for _ in range(2):
        assert run("build", "mixer", "--precision", "float16") == 0
    assert trt.builds == 1
    assert "mixer: mixer float16, tensorrt 10.3.0, Orin (compute capability 8.7" in capsys.readouterr().out
    assert run("build", "mixer", "--precision", "float16", "--rebuild") == 0
    assert trt.builds == 2
    capsys.readouterr()
    assert run("list") == 0
    assert capsys.readouterr().out.count("mixer float16") == 1
    assert run("prune", "--max-mb", "0") == 0
    assert "deleted mixer float16" in capsys.readouterr().out
    assert run("list") == 0
    assert "holds no engines" in capsys.readouterr().out


def test_prune_deletes_what_nothing_would_use_any_more_and_with_all_everything(
    trt: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("build", "mixer")
    graphs = tmp_path / "cache" / "onnx"
    graphs.mkdir()
    stale = graphs / "lift3d-lfm-05a4d96fbe8349f3.onnx"
    stale.write_bytes(bytes(2_000_000))
    current = graph_cache.cached_graph("mixer", {}, lambda path: path.write_bytes(b"graph"))
    capsys.readouterr()
    assert run("list") == 0
    said = capsys.readouterr().out
    assert f"  {stale.stem}: 2.0 MB; unused: exported by another version of this package\n" in said
    assert "2 MB of it unused: 'lift3d engine prune' deletes that" in said
    assert run("prune") == 0
    assert capsys.readouterr().out.startswith(f"deleted {stale.stem}: 2.0 MB (exported by another version")
    assert (stale.exists(), current.is_file(), len(list((tmp_path / "cache" / "engines").glob("*.engine")))) == (
        False,
        True,
        1,
    )
    assert run("prune", "--all") == 0
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_size_that_cannot_be_is_refused_before_anything_is_deleted(trt: Any) -> None:
    run("build", "mixer")
    with pytest.raises(ConfigError, match="--max-mb is -1; expected 0 or more"):
        run("prune", "--max-mb", "-1")
    with pytest.raises(SystemExit):
        run("prune", "--max-mb", "1", "--all")


def test_a_build_that_is_worse_than_float32_is_refused_and_can_be_accepted(
    trt: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tuple(mixer_inputs(rows, rows) for rows in (1, 4))

    def subjects(model: str, num_cameras: int, *, is_fixed: bool) -> tuple[EngineSubject, ...]:
        def score(compared: Sequence[ComparedRun]) -> tuple[TaskScore, ...]:
            worst = max(float(np.abs(run.found["mixed"] - run.expected["mixed"]).max()) for run in compared)
            return (TaskScore("deviation", worst, 1e-6, is_error=True),)

        graph = tmp_path / "mixer.onnx"
        return (EngineSubject(model, graph, runs, MIXER_PROFILE, recorded=lambda: runs, score=score),)

    monkeypatch.setattr(engine_subjects, "engine_subjects", subjects)
    assert run("build", "mixer") == 0
    assert "against float32: deviation 0 (at most 1e-06)" in capsys.readouterr().out
    with pytest.raises(
        EngineError, match=r"mixer in float16 on tensorrt is refused: deviation 0\.\d+ \(at most 1e-06\)"
    ):
        run("build", "mixer", "--precision", "float16")
    assert run("build", "mixer", "--precision", "float16", "--accept-worse") == 0
    assert run("build", "mixer", "--precision", "float16") == 0  # accepted once is accepted
    assert trt.builds == 2


def test_a_damaged_engine_is_listed_as_such(trt: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("build", "mixer")
    (path,) = (tmp_path / "cache" / "engines").glob("*.engine")
    path.write_bytes(b"x")
    assert run("list") == 1
    assert "warning: mixer-float32-" in capsys.readouterr().out


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_the_selftest_gives_one_verdict_for_each_model(
    trt: Any, capsys: pytest.CaptureFixture[str], precision: str
) -> None:
    assert run("selftest", "--precision", precision) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert re.match(rf"ok     mixer: tensorrt in {precision} on Orin: error \S+ of '\w+', at most ", line), line


def test_the_selftest_replays_what_was_recorded_elsewhere(
    trt: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("selftest", "--record", tmp_path / "right") == 0
    assert run("selftest", "--recordings", tmp_path / "right") == 0
    path = tmp_path / "right" / "mixer.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["1/out/mixed"] = arrays["1/out/mixed"] * 1.1
    np.savez(path, **arrays)
    capsys.readouterr()
    assert run("selftest", "--recordings", tmp_path / "right") == 1
    assert capsys.readouterr().out.startswith("FAILED mixer: tensorrt in float32 on Orin: error 9.1e-02 of 'mixed'")
    arrays["graph_sha256"] = np.array("other")
    np.savez(path, **arrays)
    assert run("selftest", "--recordings", tmp_path / "right") == 1
    assert "was recorded of another graph" in capsys.readouterr().out


def test_a_recording_that_is_missing_or_damaged_is_named(
    trt: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mixer.npz").write_bytes(b"PK damaged")
    for folder in (tmp_path, tmp_path / "absent"):
        assert run("selftest", "--recordings", folder) == 1
        assert "is no recording" in capsys.readouterr().out


def test_an_engine_that_fails_is_a_verdict_not_a_traceback(trt: Any, capsys: pytest.CaptureFixture[str]) -> None:
    trt.fails_to_run = True
    assert run("selftest") == 1
    assert "FAILED mixer: tensorrt 10.3.0 on Orin: the run was refused" in capsys.readouterr().out


def test_the_selftest_runs_without_a_gpu_on_onnxruntime(trt: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("selftest", "--backend", "onnxruntime") == 0
    assert "ok     mixer: onnxruntime in float32 on the CPU: error 0.0e+00" in capsys.readouterr().out


def test_check_needs_no_tensorrt_and_fails_for_an_operator_that_is_not_taken(
    trt: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lift3d_ros.engines import tensorrt_operators

    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert run("check") == 0
    assert capsys.readouterr().out == "ok     mixer: 5 nodes of 4 operators\n"
    monkeypatch.setattr(tensorrt_operators, "SUPPORTED", tensorrt_operators.SUPPORTED - {"MatMul"})
    assert run("check") == 1
    assert "FAILED mixer" in capsys.readouterr().out


@pytest.mark.parametrize("action", ["build", "selftest", "compare", "profile"])
def test_what_is_not_usable_here_is_refused_before_a_graph_is_exported_for_it(
    trt: Any, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    def export(model: str, num_cameras: int) -> None:
        raise AssertionError("exported")

    monkeypatch.setattr(engine_subjects, "engine_subjects", export)

    def no_driver(index: int) -> None:
        raise EngineError("no NVIDIA driver on this machine")

    monkeypatch.setattr(tensorrt_builder, "CudaDevice", no_driver)
    with pytest.raises(EngineError, match="no NVIDIA driver"):
        run(action, "mixer", "--backend", "tensorrt")
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(EngineError, match="'tensorrt_rtx' is not usable here"):
        run(action, "mixer", "--backend", "tensorrt_rtx")


def test_scratch_memory_of_less_than_a_megabyte_is_refused(trt: Any) -> None:
    with pytest.raises(ConfigError, match="--workspace-mb is 0; expected 1 or more"):
        run("build", "mixer", "--workspace-mb", "0")


def test_a_field_is_proved_in_the_precision_in_which_nodes_open_it(
    trt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = tmp_path / "mixer.field.onnx"
    write_mixer(graph)
    subject = EngineSubject(graph.stem, graph, (mixer_inputs(4),), MIXER_PROFILE)
    monkeypatch.setattr(engine_subjects, "engine_subjects", lambda model, cameras, is_fixed: (subject,))
    assert run("build", "mixer", "--precision", "float16") == 0
    assert run("selftest", "mixer", "--precision", "float16") == 0
    assert trt.builds == 1
    assert "ok     mixer, field: tensorrt in float32" in capsys.readouterr().out


def test_building_without_tensorrt_or_with_targets_for_it_says_what_to_do(
    trt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EngineError, match="builds for the GPU of this machine only"):
        run("build", "mixer", "--targets", "SM86")
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(EngineError, match="'pip install tensorrt_rtx' on a PC"):
        run("build", "mixer", "--backend", "tensorrt_rtx")
