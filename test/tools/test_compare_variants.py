"""The comparison of variants keeps what is finished, and compares only what was trained alike."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")

from dfa3d_recipe import RECIPE, SMALL
from painted_street import painted_pack

from lift3d_ros.errors import ConfigError

REPOSITORY = Path(__file__).resolve().parents[2]
TOOL = REPOSITORY / "tools" / "compare_variants.py"
CHANGES = (*SMALL, "preset=tiny", "network.backbone.architecture=resnet", "loss.frozen_stages=0", "run.max_steps=3")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compare_variants", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["compare_variants"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return painted_pack(tmp_path_factory.mktemp("painted") / "pack")


def arguments(pack: Path, out: Path, *changes: str) -> list[str]:
    options = ["--data", str(pack), "--val", str(pack), "--out", str(out), "--config", str(RECIPE)]
    return [*options, "--only", "dfa3d", "lift_splat", "--seeds", "0", "--set", *CHANGES, *changes]


def finish(tool: ModuleType, options: list[str], name: str, seed: int = 0) -> Path:
    """Write the files of a finished run."""
    args = tool.parse(options)
    detections, record = tool.result_files(args, name, seed)
    record.parent.mkdir(parents=True, exist_ok=True)
    detections.touch()
    record.write_text(json.dumps(tool.agreement(args, name, seed)))
    return record


def test_a_finished_run_is_kept(tool: ModuleType, pack: Path, tmp_path: Path) -> None:
    options = arguments(pack, tmp_path)
    finish(tool, options, "dfa3d")
    assert tool.is_finished(tool.parse(options), "dfa3d", 0)
    assert not tool.is_finished(tool.parse(options), "lift_splat", 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("run.max_steps=4", r"another 'samples' \(6\)"),
        ("network.num_queries=30", r"another 'recipe' \(network.num_queries 40\)"),
    ],
)
def test_a_run_of_another_recipe_or_length_is_refused(
    tool: ModuleType, pack: Path, tmp_path: Path, change: str, message: str
) -> None:
    finish(tool, arguments(pack, tmp_path), "dfa3d")
    with pytest.raises(ConfigError, match=message):
        tool.is_finished(tool.parse(arguments(pack, tmp_path, change)), "dfa3d", 0)


def test_a_run_on_a_pack_that_has_grown_is_refused(tool: ModuleType, tmp_path: Path) -> None:
    grown = painted_pack(tmp_path / "pack", num_scenes=1)
    finish(tool, arguments(grown, tmp_path / "out"), "dfa3d")
    painted_pack(grown, num_scenes=2)
    with pytest.raises(ConfigError, match=r"another 'data' \(\['pack, 1 scenes'\]\)"):
        tool.is_finished(tool.parse(arguments(grown, tmp_path / "out")), "dfa3d", 0)


def test_runs_of_different_length_are_not_compared(tool: ModuleType, pack: Path, tmp_path: Path) -> None:
    records = {}
    for name, change in (("dfa3d", "run.max_steps=4"), ("lift_splat", "run.max_steps=5")):
        record = finish(tool, arguments(pack, tmp_path, change), name)
        records[name, 0] = json.loads(record.read_text())
    with pytest.raises(ConfigError, match="lift_splat seed 0 has samples 10, dfa3d seed 0 has 8"):
        tool.check_equal_training(records)


@pytest.mark.slow
def test_variants_are_trained_side_by_side_and_scored(pack: Path, tmp_path: Path) -> None:
    pytest.importorskip("nuscenes", reason="nuscenes-devkit is not installed")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}

    def call(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(TOOL), *options], env=environment, capture_output=True, text=True, timeout=280
        )

    options = [*arguments(pack, tmp_path), "--jobs", "2"]
    stopped = call(*options, "--limit-minutes", "1e-9")
    assert stopped.returncode == 1
    assert "stopped by its time limit" in stopped.stderr
    trained = call(*options)
    assert trained.returncode == 0, trained.stderr
    assert "2 of 2 runs are finished" in trained.stdout
    assert "kept: dfa3d seed 0, lift_splat seed 0" in call(*options).stdout
    figures = tmp_path / "figures.json"
    scored = call("--val", str(pack), "--out", str(tmp_path), "--score", str(figures))
    assert scored.returncode == 0, scored.stderr
    document = json.loads(figures.read_text())
    assert set(document["runs"]) == {"dfa3d", "lift_splat"}
    difference = document["differences"]["3D attention over lift-splat, predicted depth"]
    assert difference["mAP"]["verdict"] == "not separated"
    assert "not separated" in scored.stdout
