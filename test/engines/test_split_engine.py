"""Parts of a batch in parallel."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from lift3d_ros.engines.protocol import Arrays, EngineSignature, EngineState, Inputs, StateSpec, Tensors, TensorSpec
from lift3d_ros.engines.split_engine import SplitEngine
from lift3d_ros.errors import EngineError

SIGNATURE = EngineSignature(
    inputs=(TensorSpec("points", (None, None, 2)), TensorSpec("weight", (None,))),
    outputs=(TensorSpec("mean", (None, 2)),),
)


class Means:
    """Means of points; notes how many rows came, and which threads ran."""

    name = "means"

    def __init__(self, signature: EngineSignature = SIGNATURE, meeting: threading.Barrier | None = None) -> None:
        self.signature = signature
        self.facts: dict[str, Any] = {"model": "means"}
        self.rows: list[int] = []
        self._meeting = meeting

    def new_state(self) -> EngineState:
        return None  # type: ignore[return-value]

    def run(self, inputs: Inputs, state: EngineState) -> Arrays:
        points, weight = np.asarray(inputs["points"]), np.asarray(inputs["weight"])
        self.rows.append(len(points))
        if self._meeting is not None:
            self._meeting.wait()
        if not np.isfinite(points).all():
            raise EngineError("points are not finite")
        return {"mean": points.mean(axis=1) * weight[:, None]}

    def run_on_device(self, inputs: Inputs, state: EngineState) -> Tensors:
        return dict(self.run(inputs, state))


def inputs_of(rows: int) -> Arrays:
    rng = np.random.default_rng(rows)
    return {
        "points": rng.normal(size=(rows, 5, 2)).astype(np.float32),
        "weight": rng.normal(size=rows).astype(np.float32),
    }


@pytest.mark.parametrize(("rows", "expected"), [(2, [1, 1]), (3, [1, 1, 1]), (7, [2, 2, 3]), (30, [10, 10, 10])])
def test_parts_are_of_like_size_and_give_what_the_whole_gives(rows: int, expected: list[int]) -> None:
    whole, part = Means(), Means()
    engine = SplitEngine(whole, part, 3)
    inputs = inputs_of(rows)
    found = engine.run(inputs, engine.new_state())
    assert (sorted(part.rows), whole.rows) == (expected, [])
    np.testing.assert_array_equal(found["mean"], whole.run(inputs, None)["mean"])  # type: ignore[arg-type]
    assert (engine.name, engine.facts, engine.signature) == ("means", {"model": "means"}, SIGNATURE)


def test_parts_run_at_the_same_time() -> None:
    part = Means(meeting=threading.Barrier(4, timeout=20.0))
    SplitEngine(Means(), part, 4).run(inputs_of(8), None)  # type: ignore[arg-type]
    assert part.rows == [2, 2, 2, 2]


def test_one_row_and_rows_that_differ_are_left_to_the_whole() -> None:
    whole, part = Means(), Means()
    engine = SplitEngine(whole, part, 2)
    engine.run(inputs_of(1), engine.new_state())
    with pytest.raises(ValueError, match="broadcast"):
        engine.run({**inputs_of(4), "weight": np.ones(3, dtype=np.float32)}, engine.new_state())
    assert (whole.rows, part.rows) == ([1, 4], [])


def test_an_error_of_any_part_is_that_of_the_run() -> None:
    engine = SplitEngine(Means(), Means(), 2)
    for row in (0, 3):
        inputs = inputs_of(4)
        inputs["points"][row] = np.nan
        with pytest.raises(EngineError, match="not finite"):
            engine.run(inputs, engine.new_state())


def test_graphs_with_state_or_fixed_rows_are_refused() -> None:
    fixed = EngineSignature(SIGNATURE.inputs, (TensorSpec("mean", (4, 2)),))
    with pytest.raises(EngineError, match="cannot be split"):
        SplitEngine(Means(fixed), Means(fixed), 2)
    stateful = EngineSignature(SIGNATURE.inputs, SIGNATURE.outputs, (StateSpec("old", "new", (1, 2)),))
    with pytest.raises(EngineError, match="cannot be split"):
        SplitEngine(Means(stateful), Means(stateful), 2)
