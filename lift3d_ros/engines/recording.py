"""Recorded inputs and outputs of a graph, and the comparison of an engine with them; imports neither torch nor onnx."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lift3d_ros.array_files import read_archive
from lift3d_ros.engines.protocol import Arrays, Engine
from lift3d_ros.errors import EngineError

_GRAPH_KEY = "graph_sha256"


@dataclass(frozen=True)
class Recording:
    """Consecutive runs of one graph.

    Args:
        graph_sha256: of the graph whose outputs these are.
        runs: inputs and outputs of each run; state is carried from one to the next.
    """

    graph_sha256: str
    runs: tuple[tuple[Arrays, Arrays], ...]


@dataclass(frozen=True)
class Comparison:
    """How an engine compares with a recording.

    Args:
        error: largest RMS error over RMS value of any output of any run.
        seconds: fastest run.
    """

    error: float
    output: str
    seconds: float


def record(engine: Engine, graph_sha256: str, inputs: Sequence[Arrays]) -> Recording:
    """Run `inputs` one after the other and return what came out."""
    state = engine.new_state()
    return Recording(graph_sha256, tuple((arrays, engine.run(arrays, state)) for arrays in inputs))


def write_recording(recording: Recording, path: Path) -> None:
    """Write a recording as an npz file."""
    arrays = {_GRAPH_KEY: np.array(recording.graph_sha256)}
    for number, (inputs, outputs) in enumerate(recording.runs):
        arrays |= {f"{number}/in/{name}": array for name, array in inputs.items()}
        arrays |= {f"{number}/out/{name}": array for name, array in outputs.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)


def read_recording(path: Path) -> Recording:
    """Read what :func:`write_recording` wrote.

    Raises:
        EngineError: the file is missing, damaged or something else.
    """
    runs: dict[int, tuple[Arrays, Arrays]] = {}
    try:
        arrays = dict(read_archive(path).arrays)
        sha256 = str(arrays.pop(_GRAPH_KEY))
        for key, array in arrays.items():
            number, side, name = key.split("/", 2)
            runs.setdefault(int(number), ({}, {}))[("in", "out").index(side)][name] = array
    except (OSError, KeyError, ValueError) as error:
        raise EngineError(
            f"{path}: is no recording ({' '.join(str(error).split())[:200]}); make it with 'lift3d engine selftest "
            "--record DIR' on a machine where the model is known to be right"
        ) from None
    return Recording(sha256, tuple(runs[number] for number in sorted(runs)))


def compare(
    engine: Engine, recording: Recording, align: Callable[[Arrays, Arrays], Arrays] = lambda expected, found: found
) -> Comparison:
    """Replay a recording on an engine.

    Args:
        align: brings outputs into the order of the expected ones, where their order means nothing.

    Raises:
        EngineError: the engine does not take the inputs, or failed.
    """
    state, worst, seconds = engine.new_state(), Comparison(0.0, "", float("inf")), float("inf")
    for inputs, expected in recording.runs:
        started_s = time.perf_counter()
        found = engine.run(inputs, state)
        seconds = min(seconds, time.perf_counter() - started_s)
        found = align(expected, found)
        for name, reference in expected.items():
            scale = float(np.sqrt(np.mean(np.square(reference)))) or 1.0
            error = float(np.sqrt(np.mean(np.square(found[name] - reference)))) / scale
            if not error <= worst.error or not worst.output:  # an error that is no number is the worst
                worst = Comparison(error, name, 0.0)
    return Comparison(worst.error, worst.output, seconds)
