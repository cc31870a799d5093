"""Measures one model with one backend in a process of its own: start-up, memory, and runs; imports no torch itself.

`python -m lift3d_ros.bench.model_run QUESTION` prints JSON on its last line: `RunAnswer`, or why nothing was measured.
"""

from __future__ import annotations

import time

_LOADED_S = time.monotonic()  # before the imports below, which are part of the start-up

import dataclasses  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from typing import Any  # noqa: E402

from lift3d_ros.bench.feeding import STEP_NS, BackToBack, Paced, run_back_to_back, run_paced  # noqa: E402
from lift3d_ros.bench.memory import ask_fresh_process, process_bytes  # noqa: E402
from lift3d_ros.bench.subjects import open_subject  # noqa: E402
from lift3d_ros.config import from_mapping  # noqa: E402
from lift3d_ros.errors import EngineError, Lift3dError  # noqa: E402
from lift3d_ros.pipelines.bev_engine import EngineConfig  # noqa: E402

_SETTLING_FRAMES = 3


@dataclass(frozen=True)
class Start:
    """From the start of the process on; the graph of the model is in the cache already.

    Args:
        interpreter_s: until the first line of ours.
        imported_s, opened_s, first_result_s: until everything is imported, the model is loaded, and a frame is done.
        resident_bytes, peak_bytes: of the process after a few frames; None where the system does not tell.
        imports_torch: whether torch was loaded by then.
    """

    interpreter_s: float
    imported_s: float
    opened_s: float
    first_result_s: float
    resident_bytes: int | None
    peak_bytes: int | None
    imports_torch: bool


@dataclass(frozen=True)
class RunAnswer:
    """What one process measured; without runs only the start."""

    workload: str
    start: Start
    back_to_back: BackToBack | None = None
    paced: tuple[Paced, ...] = ()


@dataclass(frozen=True)
class RunQuestion:
    """What one process is to measure.

    Args:
        started_s: monotonic time at which the process was started.
        seconds: of each run; 0 measures the start only.
        rates_hz: of the input, one run for each.
    """

    model: str
    engine: EngineConfig
    started_s: float
    seconds: float
    rates_hz: tuple[float, ...]


def ask_model_run(model: str, engine: EngineConfig, seconds: float, rates_hz: Sequence[float]) -> RunAnswer:
    """Measure in a fresh process.

    Raises:
        EngineError: the model cannot be opened with that engine, and why.
        Lift3dError: the process failed.
    """
    question = RunQuestion(model, engine, time.monotonic(), seconds, tuple(rates_hz))
    answer = ask_fresh_process("lift3d_ros.bench.model_run", dataclasses.asdict(question))
    if "problem" in answer:
        raise EngineError(answer["problem"])
    return from_mapping(RunAnswer, answer, f"the measurement of '{model}'")


def measure(question: RunQuestion) -> RunAnswer:
    """Measure in this process, whose start is part of it."""
    imported_s = time.monotonic()
    subject = open_subject(question.model, question.engine)
    opened_s = time.monotonic()
    pipeline, frame_at = subject.pipeline, subject.frame_at
    pipeline.infer(pipeline.prepare(frame_at(0)))
    first_result_s = time.monotonic()
    for number in range(1, _SETTLING_FRAMES):
        pipeline.infer(pipeline.prepare(frame_at(number * STEP_NS)))
    resident, peak = process_bytes() or (None, None)

    def after_start(at_s: float) -> float:
        return round(at_s - question.started_s, 3)

    start = Start(
        after_start(_LOADED_S), after_start(imported_s), after_start(opened_s), after_start(first_result_s),
        resident, peak, "torch" in sys.modules,
    )  # fmt: skip
    if not question.seconds:
        return RunAnswer(subject.workload, start)
    back_to_back = run_back_to_back(pipeline, frame_at, question.seconds)
    paced = tuple(run_paced(pipeline, frame_at, rate_hz, question.seconds) for rate_hz in question.rates_hz)
    return RunAnswer(subject.workload, start, back_to_back, paced)


def _answer(text: str) -> dict[str, Any]:
    try:
        return dataclasses.asdict(measure(from_mapping(RunQuestion, json.loads(text), "the question")))
    except Lift3dError as error:
        return {"problem": str(error)}


if __name__ == "__main__":
    print(json.dumps(_answer(sys.argv[1])))
