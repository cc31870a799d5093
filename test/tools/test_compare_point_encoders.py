"""The comparison of point encoders keeps what is finished, refuses what was made otherwise, and writes its tables."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("sklearn")

from point_files import SMALL, write_clouds

REPOSITORY = Path(__file__).resolve().parents[2]


def load() -> ModuleType:
    path = REPOSITORY / "tools" / "compare_point_encoders.py"
    spec = importlib.util.spec_from_file_location("compare_point_encoders", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["compare_point_encoders", *arguments])
    return int(load().main())


def test_variants_are_made_once_and_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = str(write_clouds(tmp_path / "data"))
    where = ["--train", data, "--test", data, "--out", str(tmp_path / "runs"), "--seeds", "0", "1"]
    changes = ["--set", *SMALL, "run.max_steps=2", "run.checkpoint_interval=1"]
    only = ["--only", "untrained", "plain", "descriptors", "pointnet"]
    assert run(monkeypatch, *where, "--only", "plain", *changes) == 0
    assert run(monkeypatch, *where, *only, *changes) == 0
    text = capsys.readouterr().out
    assert "[2/8] plain, seed 0: kept" in text
    assert "[3/8] descriptors, seed 0: 1.000" in text

    table = tmp_path / "table.json"
    assert run(monkeypatch, *where, *only, *changes, "--score", str(table)) == 0
    document = json.loads(table.read_text(encoding="utf-8"))
    assert list(document["variants"]) == ["untrained", "plain", "descriptors", "pointnet"]
    assert {"clean", "rotated", "points_256", "noise", "occluded"} <= set(document["variants"]["plain"])
    assert document["variants"]["plain"].keys() == document["variants"]["pointnet"].keys()
    assert document["pairs"]["pre-training"]["seeds"] == [0, 1]
    assert document["training"]["steps"] == 2

    assert run(monkeypatch, *where, *only, *changes, "run.max_steps=3") == 2
    assert "was made with another 'steps'" in capsys.readouterr().err
    assert run(monkeypatch, *where, "--only", "masks", *changes) == 2
    assert "no teacher is given" in capsys.readouterr().err


def test_scoring_needs_a_finished_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = str(write_clouds(tmp_path / "data"))
    where = ["--train", data, "--test", data, "--out", str(tmp_path / "runs"), "--score", str(tmp_path / "t.json")]
    assert run(monkeypatch, *where) == 2
    assert "no finished run with these seeds" in capsys.readouterr().err
