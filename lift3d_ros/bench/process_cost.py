"""What another process costs, and what all of them take of the machine; read from /proc of Linux."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from pathlib import Path


class ProcessCost:
    """Samples one process; what was seen of it stays when it has ended."""

    def __init__(self, pid: int) -> None:
        """Begin to count processor time."""
        self._folder = Path(f"/proc/{pid}")
        self._start_s = self._now_s = self._read_cpu_s()
        self.pss_bytes = 0
        self.uss_bytes = 0
        self.peak_pss_bytes = 0
        self.peak_uss_bytes = 0

    @property
    def cpu_s(self) -> float:
        """Processor time of all threads since this object was made."""
        return self._now_s - self._start_s

    def sample(self) -> None:
        """Read memory and processor time: all that is its own (USS), and its share of what it shares, too (PSS)."""
        with contextlib.suppress(OSError):  # it has ended
            kilobytes = Counter[str]()
            for line in (self._folder / "smaps_rollup").read_text().splitlines()[1:]:
                name, amount = line.split()[:2]
                kilobytes[name.rstrip(":")] = int(amount)
            self._now_s = self._read_cpu_s()
            self.pss_bytes = 1024 * kilobytes["Pss"]
            self.uss_bytes = 1024 * (kilobytes["Private_Clean"] + kilobytes["Private_Dirty"])
            self.peak_pss_bytes = max(self.peak_pss_bytes, self.pss_bytes)
            self.peak_uss_bytes = max(self.peak_uss_bytes, self.uss_bytes)

    def _read_cpu_s(self) -> float:
        # The name of the program comes first, in brackets, and may hold spaces.
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine_cpu_s() -> float:
    """Return the processor time of all processes since the machine started."""
    user, nice, system, _idle, _waiting, interrupts, soft = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")
