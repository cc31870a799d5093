"""The file of `lift3d bench all` is what its JSON schema says, and another file is refused with a remedy."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench_results import answer, only_start, results
from json_schema import problems

from lift3d_ros.bench.feeding import BackToBack, Latency, Paced
from lift3d_ros.bench.jetson_facts import PowerMode
from lift3d_ros.bench.model_run import RunAnswer, Start
from lift3d_ros.bench.result_file import (
    BenchResults,
    BenchSettings,
    Gpu,
    Machine,
    ModelResult,
    NotRun,
    new_results,
    read_results,
    write_results,
)
from lift3d_ros.errors import ConfigError

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SCHEMA: dict[str, Any] = json.loads((BENCHMARKS / "bench_all.schema.json").read_text())
CLASSES = {
    "machine": Machine, "gpu": Gpu, "power": PowerMode, "settings": BenchSettings, "result": ModelResult,
    "not_run": NotRun, "repeat": RunAnswer, "start": Start, "latency": Latency, "back_to_back": BackToBack,
    "paced": Paced,
}  # fmt: skip


def document() -> dict[str, Any]:
    """Return a file as JSON gives it."""
    data: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(results(onnxruntime=[answer(), answer(21.0)]))))
    return data


def test_the_schema_and_the_dataclasses_have_the_same_fields() -> None:
    for name, cls in (*CLASSES.items(), ("", BenchResults)):
        part = SCHEMA["$defs"][name] if name else SCHEMA
        assert list(part["properties"]) == [field.name for field in dataclasses.fields(cls)], name
        assert sorted(part["required"]) == sorted(part["properties"]), name
    assert set(SCHEMA["$defs"]) == set(CLASSES)


def test_what_is_written_fits_the_schema_and_is_read_again(tmp_path: Path) -> None:
    settings = BenchSettings(0.0, (), 1, 1, "cpu", "float32")
    found = ModelResult("lifter", "onnxruntime", "5 instances", only_start([answer()]))
    written = new_results(
        ["lift3d", "bench", "all", "--out", "a b.json"], settings, [found], [NotRun("m", "torch", "gone")]
    )
    write_results(tmp_path / "a b.json", written)
    assert problems(json.loads((tmp_path / "a b.json").read_text()), SCHEMA) == []
    assert read_results(tmp_path / "a b.json") == written
    assert written.command == "lift3d bench all --out 'a b.json'"


def test_a_file_with_runs_fits_the_schema() -> None:
    assert problems(document(), SCHEMA) == []


def stored_files() -> list[Path]:
    return [path for path in sorted(BENCHMARKS.glob("*.json")) if '"lift3d bench all 1"' in path.read_text()[:200]]


def test_stored_results_fit_the_schema_and_hold_no_path_of_the_machine() -> None:
    assert stored_files()
    for path in stored_files():
        assert problems(json.loads(path.read_text()), SCHEMA) == [], path
        stored = read_results(path)
        assert stored.command.split()[-1] == f"benchmarks/{path.name}"
        assert stored.not_run == ()


def test_the_page_about_jetson_shows_the_stored_memory() -> None:
    page = (BENCHMARKS.parent / "docs" / "jetson.md").read_text()
    for result in read_results(BENCHMARKS / "start_and_memory.json").results:
        resident, peak = (
            f"{statistics.median(getattr(run.start, name) for run in result.repeats) / 1e6:.0f} MB"
            for name in ("resident_bytes", "peak_bytes")
        )
        loads_torch = "yes" if result.repeats[0].start.imports_torch else "no"
        row = rf"\| `{result.model}` \| {result.backend} \| {loads_torch} \| x[\d.]+ \| {resident} \| {peak} \|"
        assert re.search(row, page), row


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda d: d.pop("power"), "lacks power"),
        (lambda d: d["results"][0].update(speed=3), "speed is not known"),
        (lambda d: d["results"][0].update(repeats=[]), "too few items"),
        (lambda d: d["settings"].update(precision="int8"), "is none of"),
        (lambda d: d["results"][0]["repeats"][0]["start"].update(opened_s="1"), "str is not number"),
        (lambda d: d["results"][0]["repeats"][0]["start"].update(imports_torch=1), "int is not boolean"),
        (lambda d: d["results"][0]["repeats"][0]["paced"][0].update(missed_share=1.5), "out of range"),
        (lambda d: d.update(format="lift3d bench all 2"), "is not 'lift3d bench all 1'"),
    ],
)
def test_the_schema_refuses_what_is_wrong(change: Callable[[dict[str, Any]], object], problem: str) -> None:
    data = copy.deepcopy(document())
    change(data)
    assert [line for line in problems(data, SCHEMA) if problem in line]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "its format is 'list'; expected 'lift3d bench all 1'"),
        ('{"command": "lift3d bench lfm"}', "its format is None"),
        ('{"format": "lift3d bench all 1"}', "'command' is required"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "other.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_results(path)


def test_a_wrong_figure_is_named_with_its_place(tmp_path: Path) -> None:
    data = document()
    data["results"][0]["repeats"][1]["start"]["first_result_s"] = "fast"
    (tmp_path / "a.json").write_text(json.dumps(data))
    with pytest.raises(ConfigError, match=r"results\[0\]\.repeats\[1\]\.start\.first_result_s' must be a number"):
        read_results(tmp_path / "a.json")
