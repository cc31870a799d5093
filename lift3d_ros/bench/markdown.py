"""Writes files of `lift3d bench all` as Markdown tables for the documents; each cell is the median of the repeats."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence

from lift3d_ros.bench.model_run import RunAnswer
from lift3d_ros.bench.result_file import BenchResults, ModelResult, reference_of


def markdown(files: Sequence[BenchResults]) -> str:
    """Return the tables of all files, one after the other."""
    return "\n\n".join("\n".join(_lines(file)) for file in files)


def _lines(file: BenchResults) -> Iterator[str]:
    machine, versions = file.machine, file.machine.versions
    runtimes = ", ".join(
        f"{name} {versions[name]}" for name in ("python", "onnxruntime", "openvino", "torch") if name in versions
    )
    gpu = "" if machine.gpu is None else f", {machine.gpu.name}"
    yield (
        f"{machine.processor}, {machine.cores} cores, {machine.memory_gb:g} GB{gpu}; {file.power.text()}; {runtimes}; "
        f"lift3d_ros {file.package_version}; median of {file.settings.repeats} (`{file.command}`)"
    )
    yield ""
    yield from _start_table(file.results)
    if any(run.back_to_back for result in file.results for run in result.repeats):
        yield ""
        yield from _run_table(file)
    for left_out in file.not_run:
        yield ""
        yield f"`{left_out.model}` with {left_out.backend} was not measured: {left_out.reason}"


def _start_table(results: Sequence[ModelResult]) -> Iterator[str]:
    yield "| model | backend | torch loaded | first result | resident | peak |"
    yield "|---|---|---|---|---|---|"
    for result in results:
        reference = reference_of(results, result)
        first = _with_ratio(result, reference, lambda run: run.start.first_result_s, "{:.2f} s")
        resident = _with_ratio(result, reference, lambda run: _megabytes(run.start.resident_bytes), "{:.0f} MB")
        peak = _with_ratio(result, reference, lambda run: _megabytes(run.start.peak_bytes), "{:.0f} MB")
        loads_torch = "yes" if any(run.start.imports_torch for run in result.repeats) else "no"
        yield f"| `{result.model}` | {result.backend} | {loads_torch} | {first} | {resident} | {peak} |"


def _run_table(file: BenchResults) -> Iterator[str]:
    rates = [f"at {rate:g} Hz" for rate in file.settings.rates_hz]
    columns = ["model", "backend", "frames/s", "p50 / p90 / p99", "CPU cores", "memory"]
    columns += [f"{rate}: results/s, missed, p50, jitter" for rate in rates]
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    for result in file.results:
        runs = [run.back_to_back for run in result.repeats if run.back_to_back is not None]
        if not runs:
            continue
        latency = [
            statistics.median(getattr(run.latency, name) for run in runs) for name in ("p50_ms", "p90_ms", "p99_ms")
        ]
        cells = [
            f"`{result.model}`",
            result.backend,
            f"{statistics.median(run.rate_hz for run in runs):.1f}",
            " / ".join(f"{value:.0f}" for value in latency) + " ms",
            f"{statistics.median(run.cpu_cores for run in runs):.2f}",
            _with_ratio(result, None, _resident_after_runs, "{:.0f} MB"),
            *(_paced_cell(result, number) for number in range(len(rates))),
        ]
        yield f"| {' | '.join(cells)} |"


def _paced_cell(result: ModelResult, number: int) -> str:
    runs = [run.paced[number] for run in result.repeats if number < len(run.paced)]
    if not runs:
        return ""
    rate = statistics.median(run.result_rate_hz for run in runs)
    missed = statistics.median(run.missed_share for run in runs)
    latency = statistics.median(run.latency.p50_ms for run in runs)
    jitter = statistics.median(run.jitter_ms for run in runs)
    return f"{rate:.1f}, {missed:.0%}, {latency:.0f} ms, {jitter:.0f} ms"


def _with_ratio(
    result: ModelResult, reference: ModelResult | None, figure_of: Callable[[RunAnswer], float | None], form: str
) -> str:
    value = _median(result, figure_of)
    if value is None:
        return "not known"
    base = None if reference is None else _median(reference, figure_of)
    return form.format(value) + (f" (x{value / base:.1f})" if base else "")


def _median(result: ModelResult, figure_of: Callable[[RunAnswer], float | None]) -> float | None:
    values = [value for run in result.repeats if (value := figure_of(run)) is not None]
    return statistics.median(values) if values else None


def _resident_after_runs(run: RunAnswer) -> float | None:
    """Return the largest memory at the end of a run, MB."""
    ends = [part.resident_bytes for part in (run.back_to_back, *run.paced) if part is not None]
    return _megabytes(max((end for end in ends if end is not None), default=None))


def _megabytes(count: int | None) -> float | None:
    return None if count is None else count / 1e6
