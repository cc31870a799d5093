"""Results of `lift3d bench all` with given figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from lift3d_ros.bench.feeding import BackToBack, Latency, Paced
from lift3d_ros.bench.jetson_facts import PowerMode
from lift3d_ros.bench.model_run import RunAnswer, Start
from lift3d_ros.bench.result_file import FORMAT, BenchResults, BenchSettings, Machine, ModelResult

WORKLOAD = "5 instances of 17 joints"


def answer(rate_hz: float = 20.0, start_s: float = 2.0, resident: int | None = 100_000_000) -> RunAnswer:
    """Return one repeat; latency and yardstick follow from the rate, as on a machine that is as much slower."""
    latency = Latency(1e3 / rate_hz, 1.2e3 / rate_hz, 1.5e3 / rate_hz)
    paced = Paced(30.0, 90, 60, 0.3333, min(rate_hz, 30.0), latency, 3.0, 0.8, 120_000_000)
    start = Start(0.1, 1.0, 1.5, start_s, resident, resident, imports_torch=False)
    return RunAnswer(WORKLOAD, start, BackToBack(60, rate_hz, latency, 0.9, 110_000_000, 40.0 / rate_hz), (paced,))


def only_start(answers: Sequence[RunAnswer]) -> tuple[RunAnswer, ...]:
    """Return the same without runs."""
    return tuple(dataclasses.replace(item, back_to_back=None, paced=()) for item in answers)


def results(**answers_of: Sequence[RunAnswer]) -> BenchResults:
    """Return a file with one model, backend -> repeats."""
    repeats = len(next(iter(answers_of.values())))
    return BenchResults(
        FORMAT,
        "lift3d bench all --out robot.json",
        "0.1.0",
        Machine("CPU", "aarch64", 6, 7.6, "Linux", True, {"python": "3.10.12", "onnxruntime": "1.20.0"}),
        PowerMode("nvpmodel", "15W (0)"),
        BenchSettings(3.0, (30.0,), repeats, 0, "cpu", "float32"),
        tuple(ModelResult("lifter", backend, WORKLOAD, tuple(found)) for backend, found in answers_of.items()),
    )
