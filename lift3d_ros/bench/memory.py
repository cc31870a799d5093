"""Measures the memory that a call takes at its peak, beyond what was there before.

On a CPU that needs a fresh process: what the allocator of an old one keeps for later hides the peaks that follow. On a
GPU the allocator of torch keeps the account.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lift3d_ros.errors import Lift3dError

_TIMEOUT_S = 1800.0


def peak_of_call(call: Callable[[], object], device: str) -> int | None:
    """Return the extra bytes of a call at its peak, its result included; None where the system does not tell."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device)) - before
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts from here
    except (OSError, AttributeError):
        return None
    resident = _status_bytes("VmRSS")
    call()
    return _status_bytes("VmHWM") - resident


def process_bytes() -> tuple[int, int] | None:
    """Return the memory of this process, resident now and at its peak; None where the system does not tell."""
    try:
        return _status_bytes("VmRSS"), _status_bytes("VmHWM")
    except OSError:
        return None


def ask_fresh_process(module: str, question: Mapping[str, Any]) -> Any:
    """Run ``python -m module QUESTION`` and return the JSON of its last line.

    Raises:
        Lift3dError: the process failed, with the end of what it said.
    """
    command = [sys.executable, "-m", module, json.dumps(question)]
    # With the heap settings of nodes, freed memory stays with the process and counts as used.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S, env=environment
        )
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.split())[-300:]
        raise Lift3dError(
            f"measuring {dict(question)} in a process of its own failed with status {error.returncode}: {said}; "
            "a process that was killed ran out of memory: measure something smaller"
        ) from None
    except subprocess.TimeoutExpired:
        raise Lift3dError(f"measuring {dict(question)} took longer than {_TIMEOUT_S:g} s; measure less") from None
    return json.loads(result.stdout.splitlines()[-1])


def _status_bytes(entry: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{entry}:"))
