"""The files that every run over a recording writes: results, timings, and what was run."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from lift3d_ros.errors import Lift3dError
from lift3d_ros.replay.results import TIMING_FILE, timings_to_json
from lift3d_ros.replay.run import RUN_FILE


@dataclass(frozen=True)
class ResultFiles:
    """Open files of one run."""

    results: TextIO
    timings: TextIO

    def add(self, document: Mapping[str, Any]) -> None:
        """Write one result as a line of JSON."""
        self.results.write(json.dumps(document) + "\n")

    def add_timing(self, stamp_ns: int, timings_s: Mapping[str, float]) -> None:
        """Write how long the stages of a result took."""
        self.timings.write(timings_to_json(stamp_ns, timings_s) + "\n")


@contextlib.contextmanager
def writing_results(path: Path, results_file: str, facts: Mapping[str, Any]) -> Iterator[ResultFiles]:
    """Open the files of a run in the folder `path`, in place of those that are there.

    Args:
        results_file: name of the file of results.
        facts: what was run.

    Raises:
        Lift3dError: the folder cannot be written, now or until the files are closed.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / RUN_FILE).write_text(json.dumps(dict(facts), indent=2) + "\n", encoding="utf-8")
        with (
            (path / results_file).open("w", encoding="utf-8") as results,
            (path / TIMING_FILE).open("w", encoding="utf-8") as timings,
        ):
            yield ResultFiles(results, timings)
    except OSError as error:
        raise Lift3dError(
            f"{path}: the results cannot be written ({error}); check permissions and free space, or give another folder"
        ) from None


class LastingProblems:
    """Warns of a problem when it begins, and not again at each result that has it."""

    def __init__(self, logger: logging.Logger, what: str) -> None:
        """Warn through `logger`; `what` has the problems, for example ``keypoints``."""
        self._logger, self._what = logger, what
        self._last: set[str] = set()

    def tell(self, stamp_ns: int, problems: Iterable[str]) -> None:
        """Warn of those problems of one result that the result before did not have."""
        present = dict.fromkeys(problems)
        for problem in present:
            if problem not in self._last:
                self._logger.warning("%s at %d ns: %s", self._what, stamp_ns, problem)
        self._last = set(present)
