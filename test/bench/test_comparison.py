"""A comparison tells ratios that mean something from those that the repeats differ by anyway."""

from __future__ import annotations

import dataclasses

import pytest
from bench_results import answer, only_start, results

from lift3d_ros.bench.comparison import Difference, compare, comparison_text, failures, remarks
from lift3d_ros.bench.jetson_facts import PowerMode
from lift3d_ros.errors import ConfigError

FAST = [answer(rate) for rate in (19.0, 20.0, 21.0)]
SLOW = [answer(rate) for rate in (9.0, 10.0, 11.0)]
ALIKE = [answer(rate) for rate in (18.0, 18.5, 19.5)]


def by_figure(differences: list[Difference]) -> dict[str, Difference]:
    return {difference.figure: difference for difference in differences}


def test_a_rate_that_halves_and_a_latency_that_doubles_are_both_two_times_worse() -> None:
    found = by_figure(compare(results(onnxruntime=FAST), results(onnxruntime=SLOW)))
    rate, latency = found["frames per second"], found["latency p50_ms"]
    assert (rate.before, rate.after) == (20.0, 10.0)
    assert rate.worse == latency.worse == pytest.approx(2.0)
    assert not rate.is_noise
    assert by_figure(compare(results(onnxruntime=SLOW), results(onnxruntime=FAST)))[
        "frames per second"
    ].worse == pytest.approx(0.5)


def test_ranges_that_overlap_are_noise_and_never_a_failure() -> None:
    differences = compare(results(onnxruntime=FAST), results(onnxruntime=ALIKE))
    assert by_figure(differences)["frames per second"].worse > 1.05
    assert all(difference.is_noise for difference in differences)
    assert failures(differences, 1.0) == []
    assert "within the noise of the repeats" in comparison_text(differences, [])


def test_a_single_repeat_cannot_be_told_from_noise() -> None:
    differences = compare(results(onnxruntime=[answer(20.0)]), results(onnxruntime=[answer(10.0)]))
    assert all(difference.is_noise for difference in differences)


def test_failures_are_what_is_worse_than_allowed() -> None:
    differences = compare(results(onnxruntime=FAST), results(onnxruntime=SLOW))
    assert {failure.figure for failure in failures(differences, 1.5)} >= {"frames per second", "latency p99_ms"}
    assert failures(differences, 2.5) == []
    assert failures(compare(results(onnxruntime=SLOW), results(onnxruntime=FAST)), 1.1) == []


def test_more_memory_is_worse() -> None:
    small = [answer(resident=size) for size in (100_000_000, 101_000_000)]
    large = [answer(resident=size) for size in (150_000_000, 151_000_000)]
    found = by_figure(compare(results(onnxruntime=small), results(onnxruntime=large)))["peak MB"]
    assert found.worse == pytest.approx(1.4975, abs=1e-3)
    assert not found.is_noise


def test_what_one_file_lacks_is_left_out() -> None:
    starts = results(onnxruntime=only_start(FAST))
    found = by_figure(compare(starts, results(onnxruntime=FAST)))
    assert set(found) == {"start first_result_s", "resident MB", "peak MB"}
    unknown = [answer(resident=None), answer(resident=None)]
    assert "peak MB" not in by_figure(compare(results(onnxruntime=FAST), results(onnxruntime=unknown)))


def test_files_without_a_common_model_and_other_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"no model with the same backend in common: lifter \(onnxruntime\)"):
        compare(results(onnxruntime=FAST), results(torch=FAST))
    other = results(onnxruntime=FAST)
    other = dataclasses.replace(other, settings=dataclasses.replace(other.settings, threads=2))
    with pytest.raises(ConfigError, match="threads is 0 in one and 2 in the other"):
        compare(results(onnxruntime=FAST), other)


def test_other_reasons_for_a_difference_are_told() -> None:
    before = results(onnxruntime=FAST)
    machine = dataclasses.replace(before.machine, cores=8, versions={"python": "3.10.12", "onnxruntime": "1.23.0"})
    power = PowerMode("nvpmodel", "MAXN_SUPER (2)")
    said = remarks(before, dataclasses.replace(before, machine=machine, power=power))
    assert said == [
        "the machines differ: CPU, 6 cores; CPU, 8 cores",
        "the power modes differ: nvpmodel 15W (0); nvpmodel MAXN_SUPER (2)",
        "onnxruntime: 1.20.0 and 1.23.0",
    ]
    assert remarks(before, before) == []
    assert "note: onnxruntime" in comparison_text([], said)
