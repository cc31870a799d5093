"""Frames are offered as a sensor does, and what a slow pipeline misses is counted."""

from __future__ import annotations

import time

import pytest

from lift3d_ros.bench.feeding import latency_of, run_back_to_back, run_paced


class Sleeper:
    """A pipeline that takes a given time and notes which frames it saw."""

    def __init__(self, prepare_s: float = 0.0, infer_s: float = 0.0) -> None:
        self.prepare_s, self.infer_s = prepare_s, infer_s
        self.stamps_ns: list[int] = []
        self.resets = 0

    def prepare(self, stamp_ns: int) -> int:
        time.sleep(self.prepare_s)
        return stamp_ns

    def infer(self, stamp_ns: int) -> None:
        time.sleep(self.infer_s)
        self.stamps_ns.append(stamp_ns)

    def reset(self) -> None:
        self.resets += 1
        self.stamps_ns.clear()


def test_back_to_back_counts_preparing_and_inference_of_each_frame() -> None:
    pipeline = Sleeper(0.01, 0.02)
    run = run_back_to_back(pipeline, int, seconds=0.2)
    assert run.frames == len(pipeline.stamps_ns) >= 3
    assert 0 < run.rate_hz <= 1 / 0.03
    assert 30 <= run.latency.p50_ms <= run.latency.p90_ms <= run.latency.p99_ms
    assert pipeline.stamps_ns[:3] == [0, 100_000_000, 200_000_000]


def test_three_frames_are_run_however_short_the_time_is() -> None:
    assert run_back_to_back(Sleeper(), int, seconds=1e-6).frames >= 3
    assert run_paced(Sleeper(), int, rate_hz=100.0, seconds=1e-6).offered == 3


def test_a_slow_pipeline_misses_frames_and_takes_the_newest() -> None:
    pipeline = Sleeper(infer_s=0.1)
    run = run_paced(pipeline, int, rate_hz=50.0, seconds=0.8)
    assert run.offered == 40
    assert run.results == len(pipeline.stamps_ns)
    assert run.missed_share == pytest.approx(1 - run.results / 40, abs=1e-3)
    assert run.missed_share > 0.5
    assert run.result_rate_hz <= 10.0
    assert run.latency.p50_ms >= 100
    assert pipeline.stamps_ns == sorted(set(pipeline.stamps_ns))
    assert pipeline.stamps_ns[-1] == round(39 * 1e9 / 50)  # the last frame is never missed


def test_a_fast_pipeline_gives_no_more_results_than_frames_came() -> None:
    run = run_paced(Sleeper(), int, rate_hz=20.0, seconds=0.3)
    assert run.results <= run.offered == 6
    assert run.result_rate_hz <= 20.0
    assert run.jitter_ms >= 0


def test_a_frame_counts_from_when_it_was_due_not_from_when_a_late_source_gave_it() -> None:
    def late(stamp_ns: int) -> int:
        time.sleep(0.05)
        return stamp_ns

    assert run_paced(Sleeper(), late, rate_hz=100.0, seconds=0.03).latency.p50_ms >= 50


def test_each_run_starts_without_memory_of_the_one_before() -> None:
    pipeline = Sleeper()
    run_back_to_back(pipeline, int, seconds=1e-6)
    run_paced(pipeline, int, rate_hz=100.0, seconds=1e-6)
    assert pipeline.resets == 2


def test_an_error_of_the_pipeline_ends_the_run_and_its_source() -> None:
    class Broken(Sleeper):
        def infer(self, stamp_ns: int) -> None:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        run_paced(Broken(), int, rate_hz=100.0, seconds=0.05)


def test_percentiles_are_milliseconds() -> None:
    latency = latency_of([0.001 * number for number in range(1, 102)])
    assert (latency.p50_ms, latency.p90_ms, latency.p99_ms) == (51.0, 91.0, 100.0)
