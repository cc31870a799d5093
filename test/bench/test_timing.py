"""Calls are timed in turns, and the first call of each is kept apart."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.bench.timing import time_interleaved


def test_calls_take_turns_and_the_first_one_does_not_count() -> None:
    order: list[str] = []

    def slow_at_first() -> None:
        if "slow" not in order:
            time.sleep(0.05)
        order.append("slow")

    timings = time_interleaved({"slow": slow_at_first, "fast": lambda: order.append("fast")}, 3, lambda: None)
    assert order == ["slow", "fast"] * 4
    assert timings["slow"].first_ms > 45
    assert timings["slow"].min_ms <= timings["slow"].median_ms < 45


def test_the_wait_for_the_device_is_part_of_the_time() -> None:
    timings = time_interleaved({"call": lambda: None}, 1, lambda: time.sleep(0.02))
    assert timings["call"].min_ms > 15
