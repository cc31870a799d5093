"""Runs the detector over a sequence of frame sets and keeps the results in a folder that can be resumed.

Files of the folder: `detections.jsonl`, `sets.jsonl` (the input of each result), `timing.jsonl`,
`run.json` (what was run) and `memory.npz` (the BEV memory after the last finished frame).
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.array_files import read_archive
from lift3d_ros.atomic_file import write_atomically
from lift3d_ros.errors import ConfigError, ImageError, Lift3dError
from lift3d_ros.pipelines.bev_detection import BevDetector
from lift3d_ros.replay.results import (
    DETECTIONS_FILE,
    SETS_FILE,
    TIMING_FILE,
    detections_to_json,
    timings_to_json,
)
from lift3d_ros.replay.sets import frame_set_to_json
from lift3d_ros.types import BevDetections, FrameSet

RUN_FILE = "run.json"
MEMORY_FILE = "memory.npz"
_CHECKPOINT_EVERY = 20
_RESULT_FILES = (DETECTIONS_FILE, SETS_FILE, TIMING_FILE)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FrameRange:
    """A half-open range of frame sets; `stop` None means to the end."""

    start: int = 0
    stop: int | None = None

    @classmethod
    def parse(cls, text: str) -> FrameRange:
        """Read ``START:STOP``, ``START:`` or ``:STOP``.

        Raises:
            ConfigError: not a range of whole numbers.
        """
        first, separator, last = text.partition(":")
        try:
            start, stop = int(first or 0), int(last) if last else None
        except ValueError:
            start, stop, separator = 0, None, ""
        if not separator or start < 0 or (stop is not None and stop <= start):
            raise ConfigError(f"--frames '{text}': expected START:STOP in whole numbers, for example 10:20 or 10:")
        return cls(start, stop)


class ResultFolder:
    """The output folder of one run."""

    def __init__(self, path: Path, facts: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
        """Create or continue the folder at `path`.

        Args:
            facts: what decides the result (input, model, settings); must be unchanged to resume.

        Raises:
            Lift3dError: the folder holds results and neither resuming nor overwriting was asked for, or the
                results in it belong to another run, or it cannot be written.
        """
        self.path = path
        self.finished = 0  # results
        self.consumed = 0  # frame sets, with those that could not be used
        self._memory: dict[str, NDArray[Any]] = {}
        self._checkpoint: dict[str, NDArray[Any]] | None = None
        run_path = path / RUN_FILE
        check_unused(path, resume=resume, overwrite=overwrite)
        with self._writing():
            if (path / DETECTIONS_FILE).exists() and not overwrite:
                self._check_same_run(run_path, facts)
                self._truncate_to_checkpoint()
            else:
                path.mkdir(parents=True, exist_ok=True)
                for name in (*_RESULT_FILES, MEMORY_FILE):
                    (path / name).unlink(missing_ok=True)
                write_atomically(run_path, (json.dumps(dict(facts), indent=2) + "\n").encode())

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Lift3dError(
                f"{self.path}: the results cannot be written ({error}); check permissions and free space, or give "
                "another folder"
            ) from None

    def _check_same_run(self, run_path: Path, facts: Mapping[str, Any]) -> None:
        try:
            earlier = json.loads(run_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise Lift3dError(f"{run_path}: missing or damaged, cannot resume; use --overwrite") from None
        different = [key for key in facts if earlier.get(key) != json.loads(json.dumps(facts[key]))]
        if different:
            raise Lift3dError(
                f"{run_path}: the results there were made with different {', '.join(different)}; "
                "resume with the same settings, or start again with --overwrite"
            )

    def _truncate_to_checkpoint(self) -> None:
        """Cut the result files back to the last saved memory, and continue counting from there."""
        memory = self._read_memory()
        finished, consumed = int(memory.pop("finished", 0)), int(memory.pop("consumed", 0))
        contents = {name: _whole_lines(self.path / name) for name in _RESULT_FILES}
        if min(map(len, contents.values())) < finished:
            logger.warning("%s: results are missing or cut off; starting again from the first frame set", self.path)
            finished, consumed = 0, 0
        self.finished, self.consumed, self._memory = finished, consumed, memory
        for name, lines in contents.items():
            write_atomically(self.path / name, b"".join(lines[:finished]))

    def _read_memory(self) -> dict[str, Any]:
        path = self.path / MEMORY_FILE
        if not path.exists():
            return {}
        try:
            return dict(read_archive(path).arrays)
        except (OSError, ValueError) as error:
            raise Lift3dError(f"{path}: damaged ({error}), cannot resume; use --overwrite") from None

    def restore_memory(self, detector: BevDetector) -> None:
        """Set the detector's BEV memory to where the finished frames left it."""
        if self.finished:
            detector.restore(self._memory)

    def append(self, frame_set: FrameSet, detections: BevDetections, detector: BevDetector) -> None:
        """Add one result, and note the memory with which `detector` goes on."""
        with self._writing():
            for name, line in (
                (DETECTIONS_FILE, detections_to_json(detections)),
                (SETS_FILE, frame_set_to_json(frame_set)),
                (TIMING_FILE, timings_to_json(detections.stamp_ns, detections.timings_s)),
            ):
                with (self.path / name).open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
        counters = {"finished": np.array(self.finished + 1), "consumed": np.array(self.consumed + 1)}
        self._checkpoint = {**counters, **detector.snapshot()}
        self.finished += 1
        self.consumed += 1

    def leave_out(self) -> None:
        """Count a frame set that could not be used."""
        self.consumed += 1

    def save_memory(self) -> None:
        """Save the BEV memory after the last result, so that a later run can go on there.

        Frame sets left out since then are looked at again by that run.
        """
        if self._checkpoint is None:
            return
        draft = self.path / f".{MEMORY_FILE}"
        with self._writing():
            with draft.open("wb") as file:
                np.savez(file, **self._checkpoint)
            draft.replace(self.path / MEMORY_FILE)
        self._checkpoint = None


def check_unused(path: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that holds results unless they shall be continued or replaced.

    Raises:
        Lift3dError: it does.
    """
    if (path / DETECTIONS_FILE).exists() and not (resume or overwrite):
        raise Lift3dError(
            f"{path}: already holds results; continue them with --resume, replace them with --overwrite, "
            "or choose another folder"
        )


def run_detector(
    frame_sets: Iterable[FrameSet],
    detector: BevDetector,
    folder: ResultFolder,
    frames: FrameRange,
    on_result: Callable[[FrameSet, BevDetections], None],
) -> int:
    """Detect on every frame set of the range that is not finished yet, in order.

    The BEV memory starts empty at ``frames.start``. Interrupting keeps what is finished. A set of which not one
    picture can be used is left out with a warning.

    Returns:
        The number of results now in the folder.
    """
    folder.restore_memory(detector)
    since_checkpoint = 0
    told: tuple[str, ...] = ()
    try:
        for frame_set in _select(frame_sets, frames, folder.consumed):
            start = time.perf_counter()
            try:
                prepared = detector.prepare(frame_set)
            except ImageError as error:
                logger.warning("frame set at %d ns left out: %s", frame_set.stamp_ns, error)
                folder.leave_out()
                continue
            detections = detector.infer(prepared)
            for problem in detections.problems:
                if problem not in told:  # what lasts is told when it begins
                    logger.warning("frame set at %d ns: %s", detections.stamp_ns, problem)
            told = detections.problems
            folder.append(frame_set, detections, detector)
            on_result(frame_set, detections)
            since_checkpoint += 1
            if since_checkpoint == _CHECKPOINT_EVERY:
                folder.save_memory()
                since_checkpoint = 0
            logger.debug("frame set at %d ns took %.3f s", detections.stamp_ns, time.perf_counter() - start)
    finally:
        folder.save_memory()
    if folder.consumed > folder.finished:
        logger.warning(
            "frame sets left out for lack of a usable picture: %d of %d",
            folder.consumed - folder.finished,
            folder.consumed,
        )
    return folder.finished


def _select(frame_sets: Iterable[FrameSet], frames: FrameRange, consumed: int) -> Iterator[FrameSet]:
    for index, frame_set in enumerate(frame_sets):
        if frames.stop is not None and index >= frames.stop:
            return
        if index >= frames.start + consumed:
            yield frame_set


def _whole_lines(path: Path) -> list[bytes]:
    """Return the lines of a file that may be missing, without a last one that was cut off."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [line for line in lines if line.endswith(b"\n")]
