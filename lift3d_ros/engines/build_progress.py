"""How far a build is, from phases within phases that a builder reports; knows no runtime."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class BuildProgress:
    """How far a build is.

    Args:
        phase: as the builder names it.
        done: share of the work, 0 to 1.
        remaining_s: what is left at the speed so far; None at the beginning.
    """

    phase: str
    done: float
    elapsed_s: float
    remaining_s: float | None


class PhaseTree:
    """Phases of a build within phases, and the share that is done of the outermost one."""

    def __init__(self, started_s: float) -> None:
        """Begin at the steady time `started_s`."""
        self._started_s = started_s
        self._parents: dict[str, str | None] = {}
        self._steps: dict[str, tuple[int, int]] = {}
        self._done = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """Add a phase of `steps` steps."""
        self._parents[name], self._steps[name] = parent, (0, max(1, steps))

    def advance(self, name: str, step: int, now_s: float) -> BuildProgress:
        """Note that step number `step` of a phase is done, and return the progress; it never goes back."""
        if name in self._steps:
            self._steps[name] = (step + 1, self._steps[name][1])
        share = 0.0
        for inner in self._path(name):
            done, steps = self._steps[inner]
            share = min(1.0, (done + (share if inner != name else 0.0)) / steps)
        self._done = max(self._done, share)
        elapsed_s = now_s - self._started_s
        remaining_s = elapsed_s * (1.0 - self._done) / self._done if self._done > 0.05 else None
        return BuildProgress(name, self._done, elapsed_s, remaining_s)

    def finish(self, name: str) -> None:
        """Remove a phase."""
        self._parents.pop(name, None)
        self._steps.pop(name, None)

    def _path(self, name: str) -> Iterator[str]:
        """Yield a phase and those around it, from the inside to the outside."""
        current: str | None = name
        while current is not None and current in self._steps:
            yield current
            current = self._parents[current]
