"""Results become tables for the documents, with the machine, its power mode and ratios between the backends."""

from __future__ import annotations

import dataclasses

from bench_results import answer, only_start, results

from lift3d_ros.bench.markdown import markdown
from lift3d_ros.bench.result_file import NotRun

REPEATS = [answer(rate) for rate in (19.0, 20.0, 21.0)]


def test_the_tables_name_machine_power_mode_and_command() -> None:
    first = markdown([results(onnxruntime=REPEATS)]).splitlines()[0]
    assert "CPU, 6 cores, 7.6 GB; nvpmodel 15W (0); python 3.10.12, onnxruntime 1.20.0" in first
    assert "median of 3 (`lift3d bench all --out robot.json`)" in first


def test_a_backend_is_set_against_onnxruntime() -> None:
    larger = [answer(start_s=6.0, resident=250_000_000) for _ in REPEATS]
    text = markdown([results(onnxruntime=REPEATS, torch=larger)])
    assert "| `lifter` | onnxruntime | no | 2.00 s | 100 MB | 100 MB |" in text
    assert "| `lifter` | torch | no | 6.00 s (x3.0) | 250 MB (x2.5) | 250 MB (x2.5) |" in text


def test_each_input_rate_has_a_column() -> None:
    text = markdown([results(onnxruntime=REPEATS)])
    assert "| at 30 Hz: results/s, missed, p50, jitter |" in text
    assert "| `lifter` | onnxruntime | 20.0 | 50 / 60 / 75 ms | 0.90 | 120 MB | 20.0, 33%, 50 ms, 3 ms |" in text


def test_every_row_has_as_many_cells_as_its_header() -> None:
    for block in markdown([results(onnxruntime=REPEATS, torch=REPEATS)]).split("\n\n")[1:]:
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_without_runs_there_is_one_table() -> None:
    text = markdown([results(onnxruntime=only_start(REPEATS))])
    assert "frames/s" not in text


def test_what_was_not_measured_is_said() -> None:
    file = dataclasses.replace(results(onnxruntime=REPEATS), not_run=(NotRun("detector", "torch", "no torch"),))
    assert "`detector` with torch was not measured: no torch" in markdown([file])


def test_unknown_memory_is_said() -> None:
    assert "| not known | not known |" in markdown([results(onnxruntime=[answer(resident=None)])])
