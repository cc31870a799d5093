"""Means of differences with the interval that holds the true one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
NOT_SEPARATED = "not separated"


@dataclass(frozen=True)
class Interval:
    """A mean and the interval that holds the true one with `CONFIDENCE`; infinite where one value alone is known."""

    mean: float
    low: float
    high: float

    @property
    def is_separated(self) -> bool:
        """Whether zero lies outside."""
        return self.low > 0.0 or self.high < 0.0

    @property
    def verdict(self) -> str:
        """Return ``higher``, ``lower`` or ``not separated``."""
        if not self.is_separated:
            return NOT_SEPARATED
        return "higher" if self.mean > 0.0 else "lower"

    @property
    def text(self) -> str:
        """Return it as a cell of a table."""
        if not np.isfinite(self.high - self.low):
            return f"{self.mean:+.3f} [one seed]"
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def t_interval(differences: Sequence[float]) -> Interval:
    """Return Student's interval of the mean of differences, each of a pair."""
    from scipy.stats import t as student_t  # type: ignore[import-untyped]  # comes with nuscenes-devkit

    values = np.asarray(differences, dtype=np.float64)
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, -np.inf, np.inf)
    half = float(student_t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Interval(mean, mean - half, mean + half)
