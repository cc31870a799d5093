"""How much memory there is, and what to say where it is too little."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch

_CGROUP = Path("/sys/fs/cgroup")


def available_bytes(meminfo: Path = Path("/proc/meminfo"), cgroup: Path = _CGROUP) -> int | None:
    """Return how many bytes of main memory may still be taken, None where the system does not tell.

    Args:
        cgroup: folder of the control group, which may allow less than the machine has.
    """
    found = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        line = next((line for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable:")), "")
        found.append(1024 * int(line.split()[1]))
    with contextlib.suppress(OSError, ValueError):
        found.append(int((cgroup / "memory.max").read_text()) - int((cgroup / "memory.current").read_text()))
    return max(0, min(found)) if found else None


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether torch could not get memory."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
