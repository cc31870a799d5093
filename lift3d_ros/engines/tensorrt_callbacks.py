"""Objects that TensorRT calls: for its messages, the progress of a build, and the times of layers.

Their base classes are those of the module, which is imported only when asked for, so the classes are made then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from lift3d_ros.engines.build_progress import BuildProgress, PhaseTree

logger = logging.getLogger(__name__)


def make_logger(module: Any) -> Any:
    """Return a logger that keeps errors, in `errors`, and the last one in `last`."""
    kinds = module.ILogger.Severity
    of_errors = (kinds.INTERNAL_ERROR, kinds.ERROR)

    class Messages(module.ILogger):  # type: ignore[misc]
        """Passes messages on to Python's logging, and keeps errors for the exception that follows."""

        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.errors: list[str] = []

        @property
        def last(self) -> str:
            return self.errors[-1] if self.errors else ""

        def log(self, severity: Any, text: str) -> None:
            if severity in of_errors:
                self.errors.append(" ".join(text.split())[:400])
            # Warnings are about types that it narrows and the like; nothing that a user can act on.
            if severity in (*of_errors, kinds.WARNING):
                logger.debug("%s", text)

    return Messages()


def make_monitor(module: Any, on_progress: Callable[[BuildProgress], object], is_cancelled: Callable[[], bool]) -> Any:
    """Return a monitor of one build, which says how far it is and may end it."""

    class Monitor(module.IProgressMonitor):  # type: ignore[misc]
        """Adds up nested phases to one share of the work."""

        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)
            self.tree = PhaseTree(time.monotonic())

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            self.tree.start(name, parent, steps)

        def step_complete(self, name: str, step: int) -> bool:
            on_progress(self.tree.advance(name, step, time.monotonic()))
            return not is_cancelled()

        def phase_finish(self, name: str) -> None:
            self.tree.finish(name)

    return Monitor()


def make_profiler(module: Any) -> Any:
    """Return a profiler; `samples_ms` of it is layer -> milliseconds of each run."""

    class Profiler(module.IProfiler):  # type: ignore[misc]
        """Keeps what is reported."""

        def __init__(self) -> None:
            module.IProfiler.__init__(self)
            self.samples_ms: dict[str, list[float]] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.samples_ms.setdefault(layer_name, []).append(ms)

    return Profiler()
