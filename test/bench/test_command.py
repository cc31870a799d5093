"""`lift3d bench` checks its arguments before it measures for minutes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.bench import encoder as encoder_bench
from lift3d_ros.bench import operator as operator_bench
from lift3d_ros.bench.operator_cases import OperatorCase
from lift3d_ros.cli import bench
from lift3d_ros.errors import ConfigError, EngineError, Lift3dError


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    bench.add_parser(parser.add_subparsers())
    args = parser.parse_args(["bench", "dfa3d", *arguments])
    return int(args.run(args))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--out", "x.txt"], ConfigError, "--out 'x.txt': expected a file name that ends in .json"),
        (["--out", "x.json", "--rounds", "0"], ConfigError, "--rounds 0: expected 1 to 1000"),
        (["--out", "x.json", "--threads", "-1"], ConfigError, "--threads -1: expected 0 to 256"),
        (["--out", "x.json", "--cameras", "13"], ConfigError, "--cameras 13: expected 1 to 12"),
        (["--out", "x.json", "--config", "tinny"], ConfigError, "did you mean 'tiny'"),
        (["--out", "x.json", "--device", "hip:3"], EngineError, "--device 'hip:3'"),
    ],
)
def test_wrong_use_is_named_before_anything_is_measured(
    arguments: list[str], error: type[Lift3dError], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator_bench, "CASES", {})
    with pytest.raises(error, match=message):
        run(*arguments)


def test_the_operator_alone_is_measured_printed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(operator_bench, "CASES", {"small": OperatorCase(100, ((5, 6),), bins=4)})
    monkeypatch.setattr(operator_bench, "peak_bytes", lambda *_: 1000)
    path = tmp_path / "bench.json"
    assert run("--operator-only", "--rounds", "1", "--out", str(path)) == 0
    document: dict[str, Any] = json.loads(path.read_text())
    assert [case["case"] for case in document["operator"]] == ["small"]
    assert "detector" not in document
    printed = capsys.readouterr().out
    assert "four_nearest" in printed
    assert f"wrote {path}" in printed


def run_lfm(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    bench.add_parser(parser.add_subparsers())
    args = parser.parse_args(["bench", "lfm", *arguments])
    return int(args.run(args))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x.txt"], "--out 'x.txt': expected a file name that ends in .json"),
        (["--out", "x.json", "--instances", "5", "0"], "--instances 0: expected 1 to 10000"),
        (["--out", "x.json", "--joints", "3"], "--joints 3: expected 4 to 2048"),
        (["--out", "x.json", "--config", "lift3d-lfm-meduim"], "did you mean 'lift3d-lfm-medium'"),
    ],
)
def test_wrong_use_of_the_lifter_is_named(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run_lfm(*arguments)


def test_the_lifter_is_measured_over_instances_and_joints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lifter.json"
    sizes = ("--instances", "1", "2", "--joints", "8", "300", "--rounds", "1", "--threads", "1")
    assert run_lfm("--config", "lift3d-lfm-small", "--backend", "torch", *sizes, "--out", str(path)) == 0
    document: dict[str, Any] = json.loads(path.read_text())
    assert {"command", "machine", "lifter"} <= set(document)
    (lifter,) = document["lifter"]
    assert [(case["instances"], case["joints"]) for case in lifter["cases"]] == [(1, 8), (2, 8), (1, 300), (2, 300)]
    for case in lifter["cases"]:
        assert set(case["times"]) == {"torch cpu float32, network", "torch cpu float32, pipeline"}
        assert all(time["min_ms"] > 0 for time in case["times"].values())
        assert case["relative_rms_error"] == {"torch cpu float32": 0.0}
    assert f"wrote {path}" in capsys.readouterr().out


def run_i2p_mae(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    bench.add_parser(parser.add_subparsers())
    args = parser.parse_args(["bench", "i2p_mae", *arguments])
    return int(args.run(args))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x.txt"], "--out 'x.txt': expected a file name that ends in .json"),
        (["--out", "x.json", "--crops", "5", "0"], "--crops 0: expected 1 to 1000"),
        (["--out", "x.json", "--points", "0"], "--points 0: expected 1 to 1000000"),
        (["--out", "x.json", "--config", "lift3d-point"], "did you mean 'lift3d-points-small'"),
    ],
)
def test_wrong_use_of_the_encoder_is_named(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run_i2p_mae(*arguments)


def test_the_encoder_is_measured_over_the_number_of_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(encoder_bench, "ask_fresh_process", lambda *_: 50_000_000)
    path = tmp_path / "encoder.json"
    sizes = ("--crops", "1", "3", "--points", "300", "--rounds", "1", "--threads", "1")
    assert run_i2p_mae("--backend", "torch", *sizes, "--out", str(path)) == 0
    document: dict[str, Any] = json.loads(path.read_text())
    assert {"command", "machine", "encoder"} <= set(document)
    (encoder,) = document["encoder"]
    assert [case["crops"] for case in encoder["cases"]] == [1, 3]
    for case in encoder["cases"]:
        name = "torch cpu float32"
        assert set(case["times"]) == {"prepare", *(f"{name}, {kind}" for kind in ("network", "pipeline", "overlapped"))}
        assert all(time["min_ms"] > 0 for time in case["times"].values())
        assert case["relative_rms_error"] == {name: 0.0}
    printed = capsys.readouterr().out
    assert "50 MB at the peak with 3 objects" in printed
    assert f"wrote {path}" in printed


def run_lrm(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    bench.add_parser(parser.add_subparsers())
    args = parser.parse_args(["bench", "lrm", *arguments])
    return int(args.run(args))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x.txt"], "--out 'x.txt': expected a file name that ends in .json"),
        (["--out", "x.json", "--resolution", "2000"], "--resolution 2000: expected 4 to 1024"),
        (["--out", "x.json", "--resolution", "30"], "surface.resolution is 30; expected a multiple of 4"),
        (["--out", "x.json", "--config", "triposs"], "did you mean 'triposr'"),
    ],
)
def test_wrong_use_of_the_reconstructor_is_named(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run_lrm(*arguments)


def test_the_reconstructor_is_measured_stage_by_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("skimage")
    from lift3d_ros.bench import reconstructor

    monkeypatch.setattr(reconstructor, "ask_fresh_process", lambda *_: 5_000_000)
    path = tmp_path / "lrm.json"
    options = ("--resolution", "64", "--backend", "torch", "--rounds", "1", "--threads", "1")
    assert run_lrm(*options, "--out", str(path)) == 0
    document: dict[str, Any] = json.loads(path.read_text())
    (figures,) = document["reconstructor"]
    assert figures["dense_queries"] == 65**3
    assert figures["dense_over_adaptive"] > 3.0
    (entry,) = figures["engines"].values()
    assert list(entry["stages_median_ms"]) == ["prepare", "planes", "surface", "simplify", "colors", "visibility"]
    assert set(entry["networks"]) == {"planes", "field of 16384 points"}
    assert entry["relative_rms_error"] == {"planes": 0.0, "density": 0.0, "color": 0.0}
    printed = capsys.readouterr().out
    assert "points of the field in place of 274625" in printed
    assert "5 MB" in printed
