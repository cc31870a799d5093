"""Judges two files of `lift3d bench all` by figures that stay the same on a machine that is busy or slow.

Frames per second and latency depend on what else runs. What does not, or much less: the CPU time of a frame over that
of a fixed calculation in the same process; latency and CPU time of a backend over those of ONNX Runtime, whose repeats
ran in turns with its own; and memory. Each has a limit of how many times worse it may become.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lift3d_ros.bench.comparison import Difference, difference_of
from lift3d_ros.bench.model_run import RunAnswer
from lift3d_ros.bench.result_file import REFERENCE_BACKEND, BenchResults, ModelResult, reference_of

_CPU_LIMIT, _LATENCY_LIMIT, _MEMORY_LIMIT = 1.3, 1.5, 1.2


@dataclass(frozen=True)
class Regression:
    """A figure that became more than `limit` times worse, beyond the spread of the repeats."""

    difference: Difference
    limit: float

    def __str__(self) -> str:
        found = self.difference
        return (
            f"{found.model} with {found.backend}: {found.figure} rose from {found.before:.3g} to {found.after:.3g}, "
            f"x{found.worse:.2f}; at most x{self.limit:g} is allowed"
        )


def regressions(before: BenchResults, after: BenchResults) -> list[Regression]:
    """Return what became worse; nothing where the machines or their power modes differ, since all ratios do then."""
    if not are_comparable(before, after):
        return []
    found = []
    later = {(result.model, result.backend): result for result in after.results}
    for old in before.results:
        new = later.get((old.model, old.backend))
        if new is None or new.workload != old.workload:
            continue
        figures = _figures(new, reference_of(after.results, new))
        for name, (values, limit) in _figures(old, reference_of(before.results, old)).items():
            others, _ = figures.get(name, ([], limit))
            if values and others and min(*values, *others) > 0:
                difference = difference_of(old, name, values, others, more_is_better=False)
                if difference.worse > limit and not difference.is_noise:
                    found.append(Regression(difference, limit))
    return found


def are_comparable(before: BenchResults, after: BenchResults) -> bool:
    """Return whether both files are of the same kind of machine in the same power mode."""
    first, second = before.machine, after.machine
    kinds = [(machine.processor, machine.architecture, machine.cores, machine.gpu) for machine in (first, second)]
    return kinds[0] == kinds[1] and before.power == after.power


def _figures(result: ModelResult, reference: ModelResult | None) -> dict[str, tuple[list[float], float]]:
    """Return name -> value of each repeat that has one, and its limit."""
    peaks = [run.start.peak_bytes / 1e6 for run in result.repeats if run.start.peak_bytes]
    figures = {
        "CPU time of a frame in yardsticks": (list(_yardsticks(result)), _CPU_LIMIT),
        "peak memory in MB": (peaks, _MEMORY_LIMIT),
    }
    if reference is not None:
        pairs = list(zip(result.repeats, reference.repeats, strict=False))
        cpu = [own / other for own, other in _pairs_of(pairs, _cpu_s)]
        latency = [own / other for own, other in _pairs_of(pairs, _latency_ms)]
        figures[f"CPU time of a frame over that of {REFERENCE_BACKEND}"] = (cpu, _CPU_LIMIT)
        figures[f"median latency over that of {REFERENCE_BACKEND}"] = (latency, _LATENCY_LIMIT)
    return figures


def _yardsticks(result: ModelResult) -> Iterator[float]:
    for run in result.repeats:
        cpu_s = _cpu_s(run)
        if cpu_s is not None and run.back_to_back is not None and run.back_to_back.yardstick_ms > 0:
            yield 1e3 * cpu_s / run.back_to_back.yardstick_ms


def _pairs_of(
    pairs: Sequence[tuple[RunAnswer, RunAnswer]], figure_of: Callable[[RunAnswer], float | None]
) -> Iterator[tuple[float, float]]:
    for own, other in pairs:
        first, second = figure_of(own), figure_of(other)
        if first and second:
            yield first, second


def _cpu_s(run: RunAnswer) -> float | None:
    """Return the CPU time of a frame, seconds."""
    found = run.back_to_back
    return found.cpu_cores / found.rate_hz if found is not None and found.rate_hz > 0 else None


def _latency_ms(run: RunAnswer) -> float | None:
    return None if run.back_to_back is None else run.back_to_back.latency.p50_ms
