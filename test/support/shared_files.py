"""The files of Fast DDS in /dev/shm: which ones a process holds, and those that nobody holds any more."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

_FOLDER = Path("/dev/shm")
_FILES = "*fastdds_*"
_MAPPED = re.compile(rf"{_FOLDER}/\S*fastdds_\S+")


def held_by(process: Path) -> set[Path]:
    """Return the files that a process, a folder of /proc, has mapped."""
    try:
        return {Path(name) for name in _MAPPED.findall((process / "maps").read_text())}
    except OSError:  # it ended just now, or is another user's
        return set()


def remove_left_files(newer_than_s: float) -> None:
    """Remove what killed processes left behind: files that no process has mapped, made after that time."""
    found = [path for path in _FOLDER.glob(_FILES) if _made_s(path) > newer_than_s]
    held = set().union(*(held_by(process) for process in Path("/proc").glob("[0-9]*")))
    for path in found:
        # Beside each file lies an empty one, for its lock, that nobody maps.
        if path.with_name(path.name.removesuffix("_el")) not in held:
            with contextlib.suppress(OSError):  # another process was faster, or it is another user's
                path.unlink()


def _made_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
