"""The comparison of lifters keeps what is finished, refuses what was trained otherwise, and writes its tables."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")

from lfm_sets import SMALL, write_sets

REPOSITORY = Path(__file__).resolve().parents[2]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def run(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    return int(load(name).main())


def test_variants_are_trained_once_and_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ["--data", str(write_sets(tmp_path / "data")), "--out", str(tmp_path / "runs"), "--seeds", "0"]
    only = ["--only", "lfm", "learned_encoding"]
    changes = ["--set", *SMALL, "run.max_steps=2", "run.checkpoint_interval=1"]
    assert run(monkeypatch, "compare_lifters", *where, "--only", "lfm", *changes) == 0
    assert run(monkeypatch, "compare_lifters", *where, *only, *changes) == 0
    text = capsys.readouterr().out
    assert "[1/2] lfm, seed 0: kept" in text
    assert "[2/2] learned_encoding, seed 0: " in text

    tables = tmp_path / "tables.json"
    assert run(monkeypatch, "compare_lifters", *where, *only, *changes, "--score", str(tables)) == 0
    document = json.loads(tables.read_text(encoding="utf-8"))
    parts = document["parts"]
    assert set(parts) == {"lfm", "learned_encoding"}
    assert parts["learned_encoding"]["verdict"] == "not separated"  # one seed separates nothing

    assert run(monkeypatch, "compare_lifters", *where, *only, *changes, "run.max_steps=3") == 2
    assert "was made with another 'steps'" in capsys.readouterr().err


def test_scoring_needs_the_base(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ["--data", str(tmp_path), "--out", str(tmp_path / "runs"), "--score", str(tmp_path / "tables.json")]
    assert run(monkeypatch, "compare_lifters", *where) == 2
    assert "no finished run of 'lfm'" in capsys.readouterr().err


def test_runs_that_cannot_be_written_are_said_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    where = ["--data", str(write_sets(tmp_path / "data")), "--out", str(tmp_path / "file"), "--only", "lfm"]
    assert run(monkeypatch, "compare_lifters", *where, "--set", *SMALL, "run.max_steps=1") == 2
    assert "Not a directory" in capsys.readouterr().err


def test_specialists_stand_beside_the_lifter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = write_sets(tmp_path / "data"), tmp_path / "specialists.json"
    weights = tmp_path / "run"
    where = ["--data", str(data), "--out", str(weights), "--seeds", "0", "--only", "lfm"]
    assert run(monkeypatch, "compare_lifters", *where, "--set", *SMALL, "run.max_steps=2") == 0
    own = weights / "runs" / "lfm-0" / "weights.safetensors"
    command = ["--data", str(data), "--out", str(out), "--model", str(own), "--steps", "5", "--seeds", "0"]
    assert run(monkeypatch, "compare_specialists", *command) == 0
    document = json.loads(out.read_text(encoding="utf-8"))
    rows = document["rows"]
    assert set(rows) == {"own_bird20", "own_hand21", "median of all sets"}
    # A basis knows its set and the network has seen nothing yet.
    assert rows["own_bird20"]["basis_clean"] < 0.8 * rows["own_bird20"]["lfm_clean"]
    assert "the lifter is better in" in capsys.readouterr().out
    again = tmp_path / "again.json"
    kept = ["--specialists", str(out), "--out", str(again)]
    assert run(monkeypatch, "compare_specialists", *command, *kept) == 0
    assert json.loads(again.read_text(encoding="utf-8"))["rows"] == rows
    assert run(monkeypatch, "compare_specialists", *command, *kept, "--steps", "6") == 2
    assert "perceptron_steps is 5, asked for is 6" in capsys.readouterr().err
