"""Times several calls against each other in one run."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Times of one call, milliseconds; the first one includes whatever is prepared or compiled once."""

    min_ms: float
    median_ms: float
    first_ms: float


def time_interleaved(
    calls: Mapping[str, Callable[[], object]], rounds: int, synchronize: Callable[[], None]
) -> dict[str, Timing]:
    """Time each call `rounds` times, in turns, so that a slow moment of the machine meets all of them.

    Args:
        synchronize: waits until the device has done what was asked of it.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            synchronize()
            times[name].append((time.perf_counter() - start) * 1e3)
    return {
        name: Timing(round(min(later), 3), round(statistics.median(later), 3), round(first, 3))
        for name, (first, *later) in times.items()
    }


def synchronizer(device: str) -> Callable[[], None]:
    """Return a call that waits until `device` has done what was asked of it."""
    if not device.startswith("cuda"):
        return lambda: None
    import torch

    return functools.partial(torch.cuda.synchronize, device)
