"""The learning rate over a run."""

from __future__ import annotations

import math

from lift3d_ros.training.settings import RunSettings


def progress(settings: RunSettings, step: int, elapsed_s: float) -> float:
    """Return how much of the run is done, 0..1, by steps or by time, whichever is ahead."""
    by_steps = step / settings.max_steps if settings.max_steps else 0.0
    by_time = elapsed_s / (60.0 * settings.max_minutes) if settings.max_minutes else 0.0
    return min(1.0, max(by_steps, by_time))


def rate_factor(settings: RunSettings, step: int, elapsed_s: float) -> float:
    """Return the learning rate as a share of the highest: a linear warm-up from a third, and a cosine."""
    cosine = 0.5 * (1.0 + math.cos(math.pi * progress(settings, step, elapsed_s)))
    factor = settings.final_rate + (1.0 - settings.final_rate) * cosine
    if step < settings.warmup_steps:
        factor *= (1.0 + 2.0 * step / settings.warmup_steps) / 3.0
    return factor
