"""How long the parts of a network take, in one form for all backends; imports neither torch nor a runtime."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lift3d_ros.engines.protocol import Arrays, Engine

_KERNEL = "_kernel_time"


@dataclass(frozen=True)
class OperatorTime:
    """One node, layer or operator.

    Args:
        name: as the backend calls it.
        kind: type of the operator; empty where the backend does not say.
        calls: of one run.
        time_ms: of all its calls in one run.
    """

    name: str
    kind: str
    calls: float
    time_ms: float


class ProfiledEngine(Engine, Protocol):
    """An engine that tells where its time goes."""

    def profile(self, runs: Sequence[Arrays]) -> tuple[OperatorTime, ...]:
        """Return the times over consecutive runs from an empty state, the slowest first."""


def slowest_first(times: Iterable[OperatorTime]) -> tuple[OperatorTime, ...]:
    """Return times in the order in which they matter."""
    return tuple(sorted(times, key=lambda time: (-time.time_ms, time.name)))


def times_of_samples(samples_ms: Mapping[tuple[str, str], Sequence[float]], num_runs: int) -> tuple[OperatorTime, ...]:
    """Return the times of operators of which every call was measured.

    The median of the calls counts, so that a first run that is slower does not.

    Args:
        samples_ms: (name, kind) -> milliseconds of each call.
    """
    return slowest_first(
        OperatorTime(name, kind, len(samples) / num_runs, statistics.median(samples) * len(samples) / num_runs)
        for (name, kind), samples in samples_ms.items()
    )


def times_by_kind(times: Iterable[OperatorTime]) -> tuple[OperatorTime, ...]:
    """Return the sums of all operators of each type."""
    kinds: dict[str, list[OperatorTime]] = {}
    for time in times:
        kinds.setdefault(time.kind, []).append(time)
    return slowest_first(
        OperatorTime(kind, kind, sum(one.calls for one in same), sum(one.time_ms for one in same))
        for kind, same in kinds.items()
    )


def times_of_trace(path: Path, num_runs: int) -> tuple[OperatorTime, ...]:
    """Return the times in a trace that ONNX Runtime wrote."""
    samples: dict[tuple[str, str], list[float]] = {}
    for event in json.loads(path.read_text(encoding="utf-8")):
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            key = event["name"].removesuffix(_KERNEL), str(event["args"].get("op_name", ""))
            samples.setdefault(key, []).append(event["dur"] / 1e3)
    return times_of_samples(samples, num_runs)
