"""A storage file without a usable index, read from its beginning as far as it is whole."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TypeAlias

from rosbags.interfaces import Connection

# A topic that the file declares, or a message: number of its topic, log time (ns), bytes.
Record: TypeAlias = Connection | tuple[int, int, bytes]
Scan: TypeAlias = Callable[[Path], Iterator[Record]]


class ScannedFile:
    """The readable beginning of a file; the file is gone through once to count, and again to read.

    Messages come in the order of the file, which is that of recording.
    """

    def __init__(self, path: Path, scan: Scan, *, is_ros1: bool) -> None:
        self.is_ros1 = is_ros1
        self.message_count, self.start_time, self.end_time = 0, 0, 0
        self._path, self._scan = path, scan
        declared: dict[int, Connection] = {}
        counts: dict[int, int] = {}
        for record in scan(path):
            if isinstance(record, Connection):
                declared.setdefault(record.id, record)
                continue
            number, log_ns, _ = record
            counts[number] = counts.get(number, 0) + 1
            self.start_time = min(self.start_time, log_ns) if self.message_count else log_ns
            self.end_time = max(self.end_time, log_ns + 1)
            self.message_count += 1
        self.connections: Collection[Connection] = [
            connection._replace(msgcount=counts.get(number, 0)) for number, connection in declared.items()
        ]

    def messages(self, connections: Collection[Connection]) -> Iterator[tuple[Connection, int, bytes]]:
        """Yield (connection, log time in ns, bytes) of `connections`."""
        wanted = {connection.id: connection for connection in connections}
        for record in self._scan(self._path):
            if not isinstance(record, Connection) and record[0] in wanted:
                yield wanted[record[0]], record[1], record[2]
