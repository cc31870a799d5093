"""Opens the storage files of a recording: through their index where it is whole, else from the beginning."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Protocol

import yaml
from rosbags.interfaces import Connection
from rosbags.rosbag1 import Reader as Ros1Reader
from rosbags.rosbag2 import Reader as Ros2Reader

from lift3d_ros.bags.scan_mcap import MCAP_MAGIC, scan_mcap
from lift3d_ros.bags.scan_ros1 import ROS1_MAGIC, scan_ros1
from lift3d_ros.bags.scan_sqlite3 import SQLITE_MAGIC, breaks_off, scan_sqlite3
from lift3d_ros.bags.scanned import ScannedFile
from lift3d_ros.errors import BagError, nearest_name_hint
from lift3d_ros.natural_order import natural_order

ACCEPTED = "a rosbag2 folder (with metadata.yaml), a .mcap or .db3 file, or a ROS 1 .bag file"
METADATA = "metadata.yaml"

_MAGIC = {".mcap": MCAP_MAGIC, ".db3": SQLITE_MAGIC, ".bag": ROS1_MAGIC}
_SCAN = {".mcap": scan_mcap, ".db3": scan_sqlite3, ".bag": scan_ros1}
_REMEDY = {
    ".mcap": "repair it with 'mcap recover'",
    ".db3": "repair it with 'sqlite3 FILE .recover' and 'ros2 bag reindex'",
    ".bag": "repair it with 'rosbag reindex'",
}


class Storage(Protocol):
    """An open storage: one file, or all files that a metadata.yaml names."""

    @property
    def connections(self) -> Collection[Connection]:
        """Topics with their types and counts."""

    @property
    def message_count(self) -> int:
        """Number of messages."""

    @property
    def start_time(self) -> int:
        """Log time of the first message, ns."""

    @property
    def end_time(self) -> int:
        """Log time after the last message, ns."""

    @property
    def is_ros1(self) -> bool:
        """Whether messages have their ROS 1 form."""

    def messages(self, connections: Collection[Connection]) -> Iterable[tuple[Connection, int, bytes]]:
        """Yield (connection, log time in ns, bytes) of `connections` in the order of recording."""


class _IndexedStorage:
    """A whole recording or file, read by the library through its index."""

    def __init__(self, path: Path, stack: contextlib.ExitStack) -> None:
        databases = path.glob("*.db3") if path.is_dir() else [path] if path.suffix == ".db3" else []
        if any(breaks_off(file) for file in databases):
            raise ValueError("the last page of the sqlite3 file is not whole")
        self.is_ros1 = path.is_file() and _kind(path) == ".bag"
        self._reader = stack.enter_context(Ros1Reader(path) if self.is_ros1 else Ros2Reader(path))
        self.connections: Collection[Connection] = self._reader.connections
        self.message_count = sum(connection.msgcount for connection in self.connections)
        self.start_time, self.end_time = int(self._reader.start_time), int(self._reader.end_time)

    def messages(self, connections: Collection[Connection]) -> Iterable[tuple[Connection, int, bytes]]:
        messages: Iterable[tuple[Connection, int, bytes]] = self._reader.messages(connections=connections)
        return messages


def open_storages(path: Path, stack: contextlib.ExitStack) -> tuple[list[Storage], tuple[str, ...]]:
    """Open what is at `path`, and return it with one sentence for each part that is damaged but readable.

    Args:
        stack: closes what is opened here.

    Raises:
        BagError: there is no recording at `path`, or nothing of it can be read; says what was found and what to do.
    """
    if not path.exists():
        siblings = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
        raise BagError(f"{path}: not found{nearest_name_hint(path.name, siblings)} (expected {ACCEPTED})")
    problems = _unmerged_logs(path)
    if path.is_file():
        return [_open_file(path, stack, problems)], tuple(problems)
    files = sorted(
        (item for item in path.iterdir() if item.suffix in (".mcap", ".db3")), key=lambda item: natural_order(item.name)
    )
    listed = _files_of_metadata(path)
    if listed is None:
        if not files:
            raise BagError(f"{path}: a folder without {METADATA} ({_contents(path)}); expected {ACCEPTED}")
        state = "is damaged" if (path / METADATA).exists() else "is missing"
        problems.append(
            f"{path}: {METADATA} {state}, as after a power loss; reading {', '.join(file.name for file in files)}. "
            "'ros2 bag reindex' writes it again"
        )
    else:
        if missing := [name for name in listed if not (path / name).exists()]:
            raise BagError(
                f"{path / METADATA}: names {', '.join(missing)}, which the folder does not have ({_contents(path)}); "
                f"copy the rest of the recording, or rename the files to what {METADATA} says"
            )
        try:
            return [_IndexedStorage(path, stack)], tuple(problems)
        except Exception as error:  # as in reading_errors; the files themselves may still be readable
            if not files:
                raise _unreadable(path, error) from None
            files = [file for file in files if file.name in listed] or files
    return [_open_file(file, stack, problems) for file in files], tuple(problems)


@contextlib.contextmanager
def reading_errors(path: Path) -> Iterator[None]:
    """Turn whatever the reading library raises on a damaged file into one sentence."""
    try:
        yield
    except BagError:
        raise
    except Exception as error:  # readers raise anything from sqlite3.Error to struct.error on damaged files
        raise _unreadable(path, error) from None


def _open_file(path: Path, stack: contextlib.ExitStack, problems: list[str]) -> Storage:
    kind = _kind(path)
    _check_magic(path, kind)
    try:
        return _IndexedStorage(path, stack)
    except Exception as error:  # as in reading_errors
        with reading_errors(path):
            scanned = ScannedFile(path, _SCAN[kind], is_ros1=kind == ".bag")
        if not scanned.message_count:
            raise _unreadable(path, error) from None
        seconds = (scanned.end_time - scanned.start_time) * 1e-9
        problems.append(
            f"{path}: cut short or damaged ({_reason(error)}); its first {scanned.message_count} messages "
            f"({seconds:.1f} s) are read, the rest is left out; {_REMEDY[kind]} to be free of this warning"
        )
        return scanned


def _kind(path: Path) -> str:
    """Return ``.mcap``, ``.db3`` or ``.bag``; the latter also for what a killed `rosbag record` leaves.

    Raises:
        BagError: another kind of file.
    """
    suffix = ".bag" if path.name.endswith(".bag.active") else path.suffix
    if suffix not in _MAGIC:
        raise BagError(f"{path}: a file of kind '{suffix or 'none'}'; expected {ACCEPTED}")
    return suffix


def _check_magic(path: Path, kind: str) -> None:
    magic = _MAGIC[kind]
    try:
        with path.open("rb") as file:
            head = file.read(len(magic))
    except OSError as error:
        raise BagError(f"{path}: cannot be opened ({error.strerror}); check the permissions of the file") from None
    if not head:
        raise BagError(f"{path}: the file is empty; the recorder stopped before it wrote anything: record it again")
    if head != magic:
        raise BagError(
            f"{path}: not a {kind} recording: it starts with {head!r}, expected {magic!r}. "
            "Check what the file is, and how it was copied"
        )


def _files_of_metadata(folder: Path) -> list[str] | None:
    """Return the storage files that metadata.yaml names, None where it is missing or damaged."""
    try:
        document = yaml.safe_load((folder / METADATA).read_text(encoding="utf-8"))
        return [Path(name).name for name in document["rosbag2_bagfile_information"]["relative_file_paths"]]
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        return None


def _contents(folder: Path) -> str:
    names = sorted(item.name for item in folder.iterdir())
    bags = [name for name in names if Path(name).suffix in (".mcap", ".db3", ".bag")]
    if bags:
        return f"recordings in it: {', '.join(bags)}"
    return f"no recording in it, but {', '.join(names[:5])}" if names else "it is empty"


def _unmerged_logs(path: Path) -> list[str]:
    """Return a sentence for each sqlite3 file whose last messages still lie in a log beside it."""
    logs = path.glob("*.db3-wal") if path.is_dir() else [path.with_name(f"{path.name}-wal")]
    return [
        f"{log.with_name(log.name.removesuffix('-wal'))}: its last messages lie in {log.name} and are not read, as the "
        "recorder was killed; merge them with 'sqlite3 FILE \"PRAGMA wal_checkpoint(TRUNCATE)\"'"
        for log in logs
        if log.is_file() and log.stat().st_size
    ]


def _unreadable(path: Path, error: Exception) -> BagError:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    remedy = next((_REMEDY[file.suffix] for file in files if file.suffix in _REMEDY), "record it again")
    return BagError(
        f"{path}: cannot be read as a recording ({_reason(error)}); it is truncated or damaged: {remedy}, "
        "or copy it again"
    )


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200] or 'no reason given'}"
