"""A verdict names errors of outputs, rests on scores of the task, and refuses what is not finite."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest

from lift3d_ros.engines.numerics import ComparedRun, OutputError, TaskScore, Verdict, verdict_of
from lift3d_ros.engines.protocol import Arrays


def compared(found: Sequence[float], expected: Sequence[float] = (1.0, -4.0)) -> ComparedRun:
    return ComparedRun({}, {"out": np.array(expected, np.float32)}, {"out": np.array(found, np.float32)})


def mean_score(runs: Sequence[ComparedRun]) -> tuple[TaskScore, ...]:
    value = float(np.mean([np.abs(run.found["out"] - run.expected["out"]).mean() for run in runs]))
    return (TaskScore("deviation", value, 0.5, is_error=True),)


def test_errors_are_relative_to_the_largest_and_to_the_mean_right_value() -> None:
    verdict = verdict_of([compared([1.0, -3.0]), compared([2.0, -4.0])], mean_score)
    assert verdict.errors == (OutputError("out", 0.25, 0.5 / 2.5),)
    assert verdict.is_accepted
    assert verdict.reason() == ""
    assert verdict.text() == "deviation 0.5 (at most 0.5)"


def test_a_score_beyond_its_limit_refuses_and_is_named_with_both_figures() -> None:
    verdict = verdict_of([compared([1.0, -2.8])], mean_score)
    assert not verdict.is_accepted
    assert verdict.reason() == "deviation 0.6 (at most 0.5)"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_outputs_that_are_not_finite_are_refused_without_a_look_at_the_task(value: float) -> None:
    verdict = verdict_of([compared([1.0, -4.0]), compared([value, 0.0])], mean_score)
    assert verdict.reason() == "share of runs with finite outputs 0.5 (at least 1)"
    document = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
    assert document["errors"] == [{"output": "out", "max_error": None, "mean_error": None}]
    assert not Verdict.from_json(document).is_accepted


def test_outputs_are_brought_into_order_for_the_errors() -> None:
    def turned(expected: Arrays, found: Arrays) -> Arrays:
        return {"out": found["out"][::-1]}

    verdict = verdict_of([compared([-4.0, 1.0])], lambda runs: (), turned)
    assert verdict.errors[0].max_error == 0.0


def test_a_verdict_survives_the_way_through_json() -> None:
    verdict = verdict_of([compared([1.0, -3.0])], mean_score)
    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json()))) == verdict
