"""The file of `lift3d bench all` as dataclasses, written and read; `benchmarks/bench_all.schema.json` says so.

Everything is in the units of its name. Each model with each backend is measured several times, each time in a process
of its own, since the spread of the repeats tells which differences mean something.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import lift3d_ros
from lift3d_ros.bench.jetson_facts import PowerMode, read_power_mode
from lift3d_ros.bench.machine import describe_machine
from lift3d_ros.bench.model_run import RunAnswer
from lift3d_ros.bench.report import write_document
from lift3d_ros.config import from_mapping
from lift3d_ros.errors import ConfigError

FORMAT = "lift3d bench all 1"
REFERENCE_BACKEND = "onnxruntime"
"""What the other backends of a model are set against."""
_LARGEST_FILE = 16 << 20


@dataclass(frozen=True)
class Gpu:
    """The GPU that torch ran on."""

    name: str
    memory_gb: float
    compute_capability: str
    cuda: str | None


@dataclass(frozen=True)
class Machine:
    """As :func:`lift3d_ros.bench.machine.describe_machine` gives it."""

    processor: str
    architecture: str
    cores: int
    memory_gb: float
    system: str
    has_c_compiler: bool
    versions: Mapping[str, str]
    gpu: Gpu | None = None


@dataclass(frozen=True)
class BenchSettings:
    """What was asked for; `seconds` of each run, 0: the start only; `threads` 0: the runtime chose."""

    seconds: float
    rates_hz: tuple[float, ...]
    repeats: int
    threads: int
    device: str
    precision: Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True)
class ModelResult:
    """One model with one backend."""

    model: str
    backend: str
    workload: str
    repeats: tuple[RunAnswer, ...]


@dataclass(frozen=True)
class NotRun:
    """One model with one backend that gave nothing."""

    model: str
    backend: str
    reason: str


@dataclass(frozen=True)
class BenchResults:
    """The whole file."""

    format: str
    command: str
    package_version: str
    machine: Machine
    power: PowerMode
    settings: BenchSettings
    results: tuple[ModelResult, ...] = ()
    not_run: tuple[NotRun, ...] = field(default=())


def reference_of(results: Sequence[ModelResult], result: ModelResult) -> ModelResult | None:
    """Return the same model with the reference backend; None for that backend itself."""
    return next(
        (r for r in results if r.model == result.model and r.backend == REFERENCE_BACKEND and r is not result), None
    )


def new_results(
    command: Sequence[str], settings: BenchSettings, results: Sequence[ModelResult], not_run: Sequence[NotRun]
) -> BenchResults:
    """Return the results with a description of this machine."""
    machine = from_mapping(Machine, describe_machine(settings.device), "this machine")
    version = lift3d_ros.__version__
    power = read_power_mode(Path("/"))
    return BenchResults(
        FORMAT, shlex.join(command), version, machine, power, settings, tuple(results), tuple(not_run)
    )  # fmt: skip


def write_results(path: Path, results: BenchResults) -> None:
    """Write the file, atomically.

    Raises:
        OSError: it cannot be written.
    """
    write_document(path, dataclasses.asdict(results))


def read_results(path: Path) -> BenchResults:
    """Read a file of `lift3d bench all`.

    Raises:
        ConfigError: it cannot be read, is no JSON, or is another file.
    """
    remedy = "give a file that 'lift3d bench all' wrote"
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ConfigError(f"{path}: larger than {_LARGEST_FILE >> 20} MB; {remedy}")
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error}); {remedy}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid JSON ({str(error)[:200]}); {remedy}") from None
    found = document.get("format") if isinstance(document, Mapping) else type(document).__name__
    if found != FORMAT:
        raise ConfigError(f"{path}: its format is {found!r}; expected '{FORMAT}'; {remedy}")
    return from_mapping(BenchResults, document, str(path))
