"""How far the outputs of an engine are from right ones, and whether what they are used for suffers.

The errors of tensors say little by themselves: one box that vanishes may hide behind a mean of thousands of numbers. So
a verdict rests on scores of the task, which the caller computes, and each score brings its limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lift3d_ros.engines.protocol import Arrays, Engine
from lift3d_ros.engines.recording import Recording
from lift3d_ros.errors import EngineError

# Brings outputs into the order of the expected ones, where their order means nothing.
Align = Callable[[Arrays, Arrays], Arrays]


class RefusedEngineError(EngineError):
    """An engine whose results are worse than those of float32 by more than the limits."""


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """What went into one run, what should have come out, and what did."""

    inputs: Arrays
    expected: Arrays
    found: Arrays


@dataclass(frozen=True)
class OutputError:
    """Error of one output over all runs.

    Args:
        max_error: largest absolute error over the largest absolute right value.
        mean_error: mean absolute error over the mean absolute right value.
    """

    output: str
    max_error: float
    mean_error: float


@dataclass(frozen=True)
class TaskScore:
    """One figure of what the outputs are used for, with the worst value that is accepted.

    Args:
        is_error: the smaller the better; otherwise the larger.
    """

    metric: str
    value: float
    limit: float
    is_error: bool = False

    @property
    def is_accepted(self) -> bool:
        """Whether the value keeps the limit; a value that is no number does not."""
        return self.value <= self.limit if self.is_error else self.value >= self.limit

    def text(self) -> str:
        """Return the figure with its limit."""
        return f"{self.metric} {self.value:.4g} ({'at most' if self.is_error else 'at least'} {self.limit:g})"


# Scores of the runs of one model, which is what the limits are for.
ScoreOf = Callable[[Sequence[ComparedRun]], tuple[TaskScore, ...]]


@dataclass(frozen=True)
class Verdict:
    """How an engine compares with the reference.

    Args:
        errors: of each output, for information.
        scores: what the verdict rests on.
    """

    errors: tuple[OutputError, ...]
    scores: tuple[TaskScore, ...]

    @property
    def is_accepted(self) -> bool:
        """Whether every score keeps its limit."""
        return all(score.is_accepted for score in self.scores)

    def reason(self) -> str:
        """Return the scores beyond their limits, with the figures; empty where it is accepted."""
        return "; ".join(score.text() for score in self.scores if not score.is_accepted)

    def text(self) -> str:
        """Return all scores."""
        return "; ".join(score.text() for score in self.scores)

    def to_json(self) -> dict[str, Any]:
        """Return plain data; infinite and undefined figures become null."""
        return {
            "errors": [_without_infinity(asdict(error)) for error in self.errors],
            "scores": [_without_infinity(asdict(score)) for score in self.scores],
            "is_accepted": self.is_accepted,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Verdict:
        """Rebuild a verdict from :meth:`to_json`."""
        return cls(
            tuple(OutputError(**_with_nan(entry)) for entry in document["errors"]),
            tuple(TaskScore(**_with_nan(entry)) for entry in document["scores"]),
        )


# Compares an engine with the reference; called where an engine was built and runs on its device.
Judge = Callable[[Engine], Verdict]


def replay(engine: Engine, recording: Recording) -> list[ComparedRun]:
    """Run the inputs of a recording one after the other, from an empty state.

    Raises:
        EngineError: the engine does not take the inputs, or failed.
    """
    state = engine.new_state()
    return [ComparedRun(inputs, expected, engine.run(inputs, state)) for inputs, expected in recording.runs]


def judge(
    engine: Engine, recording: Recording, score: ScoreOf, align: Align = lambda expected, found: found
) -> Verdict:
    """Compare an engine with the right outputs of a recording.

    Outputs that are not finite are refused without a look at the task.

    Raises:
        EngineError: the engine does not take the inputs, or failed.
    """
    return verdict_of(replay(engine, recording), score, align)


def verdict_of(runs: Sequence[ComparedRun], score: ScoreOf, align: Align = lambda expected, found: found) -> Verdict:
    """Return the verdict on runs; see :func:`judge`."""
    finite = float(np.mean([all(np.isfinite(array).all() for array in run.found.values()) for run in runs]))
    if finite < 1.0:
        names = runs[0].expected
        errors = tuple(OutputError(name, math.inf, math.inf) for name in names)
        return Verdict(errors, (TaskScore("share of runs with finite outputs", finite, 1.0),))
    aligned = [align(run.expected, run.found) for run in runs]
    return Verdict(
        tuple(_error_of(name, runs, aligned) for name in runs[0].expected),
        tuple(score(runs)),
    )


def _error_of(name: str, runs: Sequence[ComparedRun], found: Sequence[Arrays]) -> OutputError:
    expected = np.concatenate([np.ravel(run.expected[name]).astype(np.float64) for run in runs])
    difference = np.abs(np.concatenate([np.ravel(arrays[name]) for arrays in found]) - expected)
    size = np.abs(expected)
    return OutputError(
        name, float(difference.max() / (size.max() or 1.0)), float(difference.mean() / (size.mean() or 1.0))
    )


def _without_infinity(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in entry.items()
    }


def _with_nan(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: math.nan if value is None else value for name, value in entry.items()}
