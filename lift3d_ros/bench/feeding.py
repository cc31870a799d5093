"""Runs a pipeline on frames as fast as it can, and on frames that come at a fixed rate as from a sensor; no torch."""

from __future__ import annotations

import hashlib
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lift3d_ros.bench.memory import process_bytes
from lift3d_ros.sync.ahead import prepared_ahead
from lift3d_ros.sync.mailbox import Mailbox

STEP_NS = 100_000_000
"""Between the stamps of frames that do not come at a rate of their own."""
_LEAST_FRAMES = 3
_YARDSTICK, _YARDSTICK_CALLS = bytes(4_000_000), 9


class BenchPipeline(Protocol):
    """The seam that node, replay and bench share."""

    def prepare(self, item: Any, /) -> Any:
        """Return what `infer` takes; may run beside it."""

    def infer(self, prepared: Any, /) -> Any:
        """Return the result of one frame."""

    def reset(self) -> None:
        """Forget earlier frames."""


FrameAt = Callable[[int], Any]
"""Stamp in nanoseconds -> frame."""


@dataclass(frozen=True)
class Latency:
    """Percentiles of the time from a frame to its result, milliseconds."""

    p50_ms: float
    p90_ms: float
    p99_ms: float


@dataclass(frozen=True)
class BackToBack:
    """One frame after another, each prepared and inferred before the next.

    Args:
        cpu_cores: CPU time over time; 1.0 is one core.
        resident_bytes: memory of the process at the end; None where the system does not tell.
        yardstick_ms: CPU time of a fixed calculation on one core, before and after the frames; it grows where the
            machine is slower or busier, and what is divided by it grows less.
    """

    frames: int
    rate_hz: float
    latency: Latency
    cpu_cores: float
    resident_bytes: int | None
    yardstick_ms: float


@dataclass(frozen=True)
class Paced:
    """Frames at a fixed rate, the newest wins, the next one is prepared during inference.

    Args:
        offered, results: frames that came, and those that gave a result.
        missed_share: of the frames that came, those that a newer one replaced.
        result_rate_hz: results per second.
        latency: from the arrival of a frame to its result.
        jitter_ms: standard deviation of the times between results.
        cpu_cores: CPU time over time; 1.0 is one core.
        resident_bytes: memory of the process at the end; None where the system does not tell.
    """

    input_rate_hz: float
    offered: int
    results: int
    missed_share: float
    result_rate_hz: float
    latency: Latency
    jitter_ms: float
    cpu_cores: float
    resident_bytes: int | None


def run_back_to_back(pipeline: BenchPipeline, frame_at: FrameAt, seconds: float) -> BackToBack:
    """Run for `seconds`, and for three frames at least."""
    pipeline.reset()  # stamps start from 0
    latencies_s: list[float] = []
    yardstick_s = _yardstick_s()
    cpu_s, start_s = time.process_time(), time.monotonic()
    while len(latencies_s) < _LEAST_FRAMES or time.monotonic() - start_s < seconds:
        frame = frame_at(len(latencies_s) * STEP_NS)
        arrival_s = time.monotonic()
        pipeline.infer(pipeline.prepare(frame))
        latencies_s.append(time.monotonic() - arrival_s)
    elapsed_s = time.monotonic() - start_s
    cores = (time.process_time() - cpu_s) / elapsed_s
    count = len(latencies_s)
    yardstick_ms = round(1e3 * statistics.median([*yardstick_s, *_yardstick_s()]), 4)
    return BackToBack(
        count, round(count / elapsed_s, 3), latency_of(latencies_s), round(cores, 3), _resident(), yardstick_ms
    )  # fmt: skip


def run_paced(pipeline: BenchPipeline, frame_at: FrameAt, rate_hz: float, seconds: float) -> Paced:
    """Offer frames at `rate_hz` for `seconds`, three at least, as the worker of a node takes them."""
    pipeline.reset()  # stamps start from 0
    count = max(_LEAST_FRAMES, round(seconds * rate_hz))
    mailbox: Mailbox[tuple[Any, float]] = Mailbox()
    start_s = time.monotonic()

    def feed() -> None:
        for number in range(count):
            due_s = start_s + number / rate_hz
            time.sleep(max(0.0, due_s - time.monotonic()))
            # A source that is late itself must not flatter the pipeline, so a frame counts from when it was due.
            mailbox.put((frame_at(round(number * 1e9 / rate_hz)), due_s))
        mailbox.close()

    def prepare(item: tuple[Any, float]) -> Any:
        return pipeline.prepare(item[0])

    latencies_s: list[float] = []
    ends_s: list[float] = []
    cpu_s = time.process_time()
    source = threading.Thread(target=feed, name="source")
    source.start()
    try:
        for (_, due_s), prepared in prepared_ahead(mailbox, prepare):
            pipeline.infer(prepared)
            ends_s.append(time.monotonic())
            latencies_s.append(ends_s[-1] - due_s)
    finally:
        mailbox.close()
        source.join()
    elapsed_s = time.monotonic() - start_s
    gaps_s = np.diff(ends_s)
    return Paced(
        input_rate_hz=rate_hz,
        offered=count,
        results=len(ends_s),
        missed_share=round(1.0 - len(ends_s) / count, 4),
        result_rate_hz=round(len(ends_s) / max(elapsed_s, count / rate_hz), 3),
        latency=latency_of(latencies_s),
        jitter_ms=round(1e3 * statistics.pstdev(gaps_s.tolist()), 3) if len(gaps_s) > 1 else 0.0,
        cpu_cores=round((time.process_time() - cpu_s) / elapsed_s, 3),
        resident_bytes=_resident(),
    )


def _resident() -> int | None:
    found = process_bytes()
    return None if found is None else found[0]


def _yardstick_s() -> list[float]:
    """Return CPU times of a calculation whose code depends on no package, only on OpenSSL and the processor."""
    times_s = []
    for _ in range(_YARDSTICK_CALLS):
        start_s = time.thread_time()
        hashlib.sha256(_YARDSTICK)
        times_s.append(time.thread_time() - start_s)
    return times_s


def latency_of(latencies_s: Sequence[float]) -> Latency:
    """Return the percentiles of at least one time in seconds."""
    p50, p90, p99 = np.percentile(np.asarray(latencies_s) * 1e3, (50, 90, 99))
    return Latency(round(float(p50), 3), round(float(p90), 3), round(float(p99), 3))
