"""Memory and processor time of another process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lift3d_ros.bench.process_cost import ProcessCost, machine_cpu_s

if not Path("/proc/self/smaps_rollup").exists():
    pytest.skip("no /proc/self/smaps_rollup: not Linux", allow_module_level=True)

# Holds memory and works when it is told to; each line of output is an answer.
PROGRAM = """
import time
print("ready", flush=True)
input()
held = bytearray(b"1" * 50_000_000)
end = time.process_time() + 0.3
while time.process_time() < end:
    pass
print("done", flush=True)
input()
"""


def test_memory_and_time_of_a_process_are_its_own_and_stay_when_it_has_ended() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdin
    assert process.stdout
    with process:
        process.stdout.readline()
        cost, machine_s = ProcessCost(process.pid), machine_cpu_s()
        cost.sample()
        before = cost.uss_bytes
        assert cost.cpu_s < 0.1
        print(file=process.stdin, flush=True)
        process.stdout.readline()
        cost.sample()
        print(file=process.stdin, flush=True)
    assert 45e6 < cost.uss_bytes - before < 110e6
    assert cost.peak_pss_bytes >= cost.peak_uss_bytes >= cost.uss_bytes
    cost.sample()
    assert 0.2 < cost.cpu_s < 1.0
    # The clock of the kernel has ticks of 10 ms.
    assert machine_cpu_s() - machine_s > cost.cpu_s - 0.1
    assert cost.uss_bytes > before
