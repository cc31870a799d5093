"""A slower machine is no regression; more work, more memory, or losing against ONNX Runtime is one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from bench_results import answer, only_start, results

from lift3d_ros.bench.model_run import RunAnswer
from lift3d_ros.bench.regression import regressions

RATES = (19.0, 20.0, 21.0)
FAST = [answer(rate) for rate in RATES]
SLOW = [answer(rate / 2) for rate in RATES]


def with_runs(answers: Sequence[RunAnswer], **changes: Any) -> list[RunAnswer]:
    """Return the same with other figures of the frames one after another."""
    changed = []
    for item in answers:
        assert item.back_to_back is not None
        changed.append(dataclasses.replace(item, back_to_back=dataclasses.replace(item.back_to_back, **changes)))
    return changed


def test_a_machine_that_became_slower_is_no_regression() -> None:
    before, after = results(onnxruntime=FAST, torch=FAST), results(onnxruntime=SLOW, torch=SLOW)
    assert regressions(before, after) == []


def test_more_cpu_time_of_a_frame_is_told_in_a_sentence() -> None:
    (found,) = regressions(results(onnxruntime=FAST), results(onnxruntime=with_runs(FAST, cpu_cores=1.8)))
    assert str(found) == (
        "lifter with onnxruntime: CPU time of a frame in yardsticks rose from 22.5 to 45, x2.00; "
        "at most x1.3 is allowed"
    )
    assert regressions(results(onnxruntime=FAST), results(onnxruntime=with_runs(FAST, cpu_cores=1.1))) == []


def test_a_backend_that_loses_against_onnxruntime_is_found_though_both_became_faster() -> None:
    before = results(onnxruntime=SLOW, torch=SLOW)
    found = regressions(before, results(onnxruntime=FAST, torch=SLOW))
    assert [(item.difference.backend, item.difference.figure) for item in found] == [
        ("torch", "CPU time of a frame over that of onnxruntime"),
        ("torch", "median latency over that of onnxruntime"),
    ]


def test_more_memory_is_a_regression() -> None:
    larger = [answer(rate, resident=150_000_000) for rate in RATES]
    (found,) = regressions(results(onnxruntime=FAST), results(onnxruntime=larger))
    assert "peak memory in MB rose from 100 to 150" in str(found)


def test_one_repeat_and_ranges_that_overlap_are_noise() -> None:
    worse = with_runs(FAST, cpu_cores=1.8)
    assert regressions(results(onnxruntime=FAST[:1]), results(onnxruntime=worse[:1])) == []
    assert regressions(results(onnxruntime=FAST), results(onnxruntime=[*worse[:2], FAST[0]])) == []


def test_another_machine_power_mode_or_workload_is_not_judged() -> None:
    before, after = results(onnxruntime=FAST), results(onnxruntime=with_runs(FAST, cpu_cores=1.8))
    machine = dataclasses.replace(after.machine, processor="another")
    power = dataclasses.replace(after.power, mode="MAXN (0)")
    workload = dataclasses.replace(after.results[0], workload="50 instances")
    assert regressions(before, dataclasses.replace(after, machine=machine)) == []
    assert regressions(before, dataclasses.replace(after, power=power)) == []
    assert regressions(before, dataclasses.replace(after, results=(workload,))) == []


def test_files_with_starts_only_are_judged_by_memory() -> None:
    larger = [answer(rate, resident=150_000_000) for rate in RATES]
    found = regressions(results(onnxruntime=only_start(FAST)), results(onnxruntime=only_start(larger)))
    assert [item.difference.figure for item in found] == ["peak memory in MB"]
