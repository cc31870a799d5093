"""Compares two files of `lift3d bench all`: ratios, and which of them lie within the spread of the repeats."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lift3d_ros.bench.model_run import RunAnswer
from lift3d_ros.bench.result_file import BenchResults, ModelResult
from lift3d_ros.errors import ConfigError

FigureOf = Callable[[RunAnswer], "float | None"]


@dataclass(frozen=True)
class Difference:
    """One figure in both files.

    Args:
        before, after: medians of the repeats.
        worse: how many times worse it became; below 1 it became better.
        is_noise: the ranges of the repeats overlap, or one of the files has a single repeat.
    """

    model: str
    backend: str
    figure: str
    before: float
    after: float
    worse: float
    is_noise: bool


def compare(before: BenchResults, after: BenchResults) -> list[Difference]:
    """Return every figure that both files have.

    Raises:
        ConfigError: they have no model with the same backend in common, or were made with other settings.
    """
    first, second = before.settings, after.settings
    for name in ("rates_hz", "threads", "device", "precision"):
        if getattr(first, name) != getattr(second, name):
            raise ConfigError(
                f"the files cannot be compared: {name} is {getattr(first, name)} in one and {getattr(second, name)} in "
                "the other; measure again with the same options"
            )
    later = {(result.model, result.backend): result for result in after.results}
    pairs = [(result, later[key]) for result in before.results if (key := (result.model, result.backend)) in later]
    if not pairs:
        raise ConfigError(
            f"the files have no model with the same backend in common: {_names(before)} and {_names(after)}; "
            "measure the same models"
        )
    return [difference for old, new in pairs for difference in _differences(old, new)]


def remarks(before: BenchResults, after: BenchResults) -> list[str]:
    """Return sentences about what else is different between the files, which may explain the figures."""
    said = []
    if before.machine.processor != after.machine.processor or before.machine.cores != after.machine.cores:
        said.append(
            f"the machines differ: {before.machine.processor}, {before.machine.cores} cores; "
            f"{after.machine.processor}, {after.machine.cores} cores"
        )
    if before.power != after.power:
        said.append(f"the power modes differ: {before.power.text()}; {after.power.text()}")
    for name in sorted({*before.machine.versions, *after.machine.versions}):
        old, new = before.machine.versions.get(name, "none"), after.machine.versions.get(name, "none")
        if old != new:
            said.append(f"{name}: {old} and {new}")
    workloads = {(result.model, result.backend): result.workload for result in after.results}
    for result in before.results:
        new = workloads.get((result.model, result.backend), result.workload)
        if new != result.workload:
            said.append(f"{result.model}: the workloads differ: {result.workload}; {new}")
    return said


def comparison_text(differences: Sequence[Difference], said: Sequence[str]) -> str:
    """Return the comparison as lines; figures are in the units of their names."""
    lines = [f"note: {sentence}" for sentence in said]
    for difference in differences:
        if difference.is_noise:
            note = "within the noise of the repeats"
        else:
            note = "worse" if difference.worse > 1 else "better"
        lines.append(
            f"{difference.model:20} {difference.backend:12} {difference.figure:26} {difference.before:12.3f} "
            f"{difference.after:12.3f}  x{difference.after / difference.before:<7.3f} {note}"
        )
    return "\n".join(lines)


def failures(differences: Sequence[Difference], ratio: float) -> list[Difference]:
    """Return what became more than `ratio` times worse, and not by noise."""
    return [difference for difference in differences if difference.worse > ratio and not difference.is_noise]


def _differences(old: ModelResult, new: ModelResult) -> Iterator[Difference]:
    for name, figure_of, more_is_better in _figures(old):
        before = [value for run in old.repeats if (value := figure_of(run)) is not None]
        after = [value for run in new.repeats if (value := figure_of(run)) is not None]
        if before and after and min(*before, *after) > 0:
            yield difference_of(old, name, before, after, more_is_better)


def difference_of(
    result: ModelResult, figure: str, before: Sequence[float], after: Sequence[float], more_is_better: bool
) -> Difference:
    """Compare one figure of the repeats of two files, above 0 in all of them."""
    first, second = statistics.median(before), statistics.median(after)
    is_noise = min(len(before), len(after)) < 2 or (max(before) >= min(after) and max(after) >= min(before))
    worse = first / second if more_is_better else second / first
    return Difference(result.model, result.backend, figure, first, second, worse, is_noise)


def _figures(result: ModelResult) -> Iterator[tuple[str, FigureOf, bool]]:
    """Yield name, where it is found, and whether more is better."""
    yield "start first_result_s", lambda run: run.start.first_result_s, False
    yield "resident MB", lambda run: _megabytes(run.start.resident_bytes), False
    yield "peak MB", lambda run: _megabytes(run.start.peak_bytes), False
    if result.repeats[0].back_to_back is not None:
        yield "frames per second", lambda run: run.back_to_back.rate_hz if run.back_to_back else None, True
        yield "latency p50_ms", lambda run: run.back_to_back.latency.p50_ms if run.back_to_back else None, False
        yield "latency p99_ms", lambda run: run.back_to_back.latency.p99_ms if run.back_to_back else None, False
    for number, paced in enumerate(result.repeats[0].paced):
        yield from _paced_figures(number, f"at {paced.input_rate_hz:g} Hz")


def _paced_figures(number: int, at: str) -> Iterator[tuple[str, FigureOf, bool]]:
    yield f"{at}: results per second", lambda run: _paced(run, number, "result_rate_hz"), True
    yield f"{at}: cpu_cores", lambda run: _paced(run, number, "cpu_cores"), False


def _paced(run: RunAnswer, number: int, name: str) -> float | None:
    return float(getattr(run.paced[number], name)) if number < len(run.paced) else None


def _megabytes(count: int | None) -> float | None:
    return None if count is None else count / 1e6


def _names(results: BenchResults) -> str:
    return ", ".join(f"{result.model} ({result.backend})" for result in results.results) or "none"
