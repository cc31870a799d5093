"""Goes through the rows of a rosbag2 sqlite3 file that is cut short, without its index over time."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw
from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinition, MessageDefinitionFormat

from lift3d_ros.bags.scanned import Record

SQLITE_MAGIC = b"SQLite format 3\x00"

_FORMATS = {"ros2msg": MessageDefinitionFormat.MSG, "ros2idl": MessageDefinitionFormat.IDL}
# SQLite knows file systems by name; two files may be open at the same time.
_NUMBERS = itertools.count()


class _WholePages(apsw.VFS):
    """The file system without the page that breaks off: SQLite would fill it up with zeros and take them for data."""

    def __init__(self) -> None:
        self.registered_name = f"lift3d_whole_pages_{next(_NUMBERS)}"
        super().__init__(self.registered_name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return _WholePagesFile("", name, flags)


class _WholePagesFile(apsw.VFSFile):
    def xFileSize(self) -> int:
        size = super().xFileSize()
        return size - _excess(size, self.xRead(2, 16))


def breaks_off(path: Path) -> bool:
    """Whether the last page of the file is not whole; SQLite itself does not notice that."""
    with path.open("rb") as file:
        head = file.read(18)
    return _excess(path.stat().st_size, head[16:18]) > 0


def _excess(size: int, page_size_field: bytes) -> int:
    """Return the bytes behind the last whole page."""
    page_size = int.from_bytes(page_size_field, "big")
    return size % (1 << 16 if page_size == 1 else max(page_size, 512))


def scan_sqlite3(path: Path) -> Iterator[Record]:
    """Yield topics and messages up to the first row that is damaged or lost."""
    file_system = _WholePages()
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    uri = f"file:{quote(str(path))}?immutable=1"
    with (
        contextlib.suppress(apsw.Error),
        contextlib.closing(apsw.Connection(uri, flags=flags, vfs=file_system.registered_name)) as database,
    ):
        # SQLite refuses a file that is shorter than its header says, unless it is told that damage is expected.
        database.execute("PRAGMA writable_schema=ON")
        definitions = _definitions(database)
        unknown = MessageDefinition(MessageDefinitionFormat.NONE, "")
        for number, topic, kind, encoding in database.execute(
            "SELECT id, name, type, serialization_format FROM topics ORDER BY id"
        ):
            extra = ConnectionExtRosbag2(encoding, [])
            yield Connection(number, topic, kind, definitions.get(kind, unknown), "", 0, extra, None)
        for number, log_ns, data in database.execute("SELECT topic_id, timestamp, data FROM messages ORDER BY id"):
            if not (isinstance(number, int) and isinstance(log_ns, int) and isinstance(data, bytes)):
                return
            yield number, log_ns, data


def _definitions(database: apsw.Connection) -> dict[str, MessageDefinition]:
    """Return the recorded type definitions; older files have none."""
    try:
        rows = database.execute("SELECT topic_type, encoding, encoded_message_definition FROM message_definitions")
        return {str(kind): MessageDefinition(_FORMATS[str(how)], str(text)) for kind, how, text in rows if text}
    except (apsw.Error, KeyError):
        return {}
