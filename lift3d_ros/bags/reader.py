"""Reads recordings of every kind through one interface: rosbag2 (sqlite3, mcap) and ROS 1."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from lift3d_ros.errors import BagError, nearest_name_hint
from lift3d_ros.resources import find_resource

ACCEPTED = "a rosbag2 folder (with metadata.yaml), a .mcap or .db3 file, or a ROS 1 .bag file"
_REMEDY = {
    ".bag": "repair it with 'rosbag reindex'",
    ".mcap": "repair it with 'mcap recover'",
    ".db3": "repair it with 'ros2 bag reindex'",
}


@dataclass(frozen=True)
class BagTopic:
    """One topic of a recording; `type` is written as ``package/msg/Name``."""

    name: str
    type: str
    count: int


@dataclass(frozen=True, eq=False)
class BagMessage:
    """One message; `raw` are its serialised bytes, `log_ns` is when it was recorded."""

    topic: str
    type: str
    log_ns: int
    raw: bytes
    reader: BagReader

    @property
    def message(self) -> Any:
        """The message, deserialised now.

        Raises:
            BagError: the bytes do not fit the type; names the topic.
        """
        return self.reader.deserialise(self)


class BagReader:
    """An open recording; use it as a context manager."""

    def __init__(self, path: Path) -> None:
        """Prepare to read `path`; see :func:`open_bag`."""
        self.path = path
        self._stack = contextlib.ExitStack()
        self._reader = self._open()
        counts: dict[tuple[str, str], int] = {}
        for connection in self._reader.connections:
            key = (connection.topic, connection.msgtype)
            counts[key] = counts.get(key, 0) + connection.msgcount
        self.topics = tuple(BagTopic(name, kind, count) for (name, kind), count in sorted(counts.items()))

    def _open(self) -> AnyReader:
        with _library_errors(self.path):
            reader = AnyReader([self.path], default_typestore=package_typestore())
            self._stack.enter_context(reader)
        return reader

    def __enter__(self) -> BagReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def is_ros1(self) -> bool:
        """Whether messages have their ROS 1 form."""
        return not self._reader.is2

    @property
    def start_ns(self) -> int:
        """Log time of the first message."""
        return int(self._reader.start_time) if self.message_count else 0

    @property
    def end_ns(self) -> int:
        """Log time after the last message."""
        return int(self._reader.end_time) if self.message_count else 0

    @property
    def message_count(self) -> int:
        """Number of messages of all topics."""
        return sum(topic.count for topic in self.topics)

    def topics_of(self, *types: str) -> tuple[BagTopic, ...]:
        """Return the topics that carry one of `types` and hold messages."""
        return tuple(topic for topic in self.topics if topic.type in types and topic.count)

    def messages(self, topics: Iterable[str] | None = None) -> Iterator[BagMessage]:
        """Yield the messages of `topics` (default: all) in the order in which they were recorded.

        Raises:
            BagError: a topic is not in the recording, or the file is damaged on the way.
        """
        wanted = None if topics is None else set(topics)
        names = {topic.name for topic in self.topics}
        for name in sorted(wanted - names) if wanted is not None else ():
            raise BagError(f"{self.path}: topic '{name}' is not in the recording{nearest_name_hint(name, names)}")
        connections = [c for c in self._reader.connections if wanted is None or c.topic in wanted]
        if not connections:
            return
        with _library_errors(self.path):
            for connection, log_ns, raw in self._reader.messages(connections=connections):
                yield BagMessage(connection.topic, connection.msgtype, int(log_ns), bytes(raw), self)

    def deserialise(self, message: BagMessage) -> Any:
        """Return the message object; see :attr:`BagMessage.message`."""
        try:
            return self._reader.deserialize(message.raw, message.type)
        except Exception as error:  # damaged bytes raise whatever the generated decoder stumbles over
            raise BagError(
                f"{self.path}: a message of topic '{message.topic}' does not decode as {message.type} "
                f"({type(error).__name__}: {error}); the recording is damaged or its type definition is wrong"
            ) from None


def open_bag(path: Path) -> BagReader:
    """Open a recording for reading.

    Raises:
        BagError: there is no recording at `path`, or it cannot be read; says what was found and what to do.
    """
    if not path.exists():
        raise BagError(f"{path}: not found; expected {ACCEPTED}")
    if path.is_dir() and not (path / "metadata.yaml").exists():
        inside = sorted(item for item in path.iterdir() if item.suffix in (".mcap", ".db3", ".bag"))
        if len(inside) == 1 and inside[0].suffix != ".bag":
            return BagReader(inside[0])
        found = ", ".join(item.name for item in inside) or "no recording"
        raise BagError(f"{path}: a folder without metadata.yaml ({found}); expected {ACCEPTED}")
    if path.is_file() and path.suffix not in _REMEDY:
        raise BagError(f"{path}: a file of kind '{path.suffix or 'none'}'; expected {ACCEPTED}")
    return BagReader(path)


def package_typestore() -> Typestore:
    """Return the message types of ROS 2 together with those of this package."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for name in ("BevDetection", "CameraUse", "BevDetectionArray"):
        text = find_resource(f"msg/{name}.msg").read_text(encoding="utf-8")
        store.register(get_types_from_msg(text, f"lift3d_ros/msg/{name}"))
    return store


@contextlib.contextmanager
def _library_errors(path: Path) -> Iterator[None]:
    """Turn whatever the reading library raises on a damaged file into one sentence."""
    try:
        yield
    except BagError:
        raise
    except Exception as error:  # readers raise anything from sqlite3.Error to struct.error on damaged files
        kinds = [path, *path.iterdir()] if path.is_dir() else [path]
        remedy = next((_REMEDY[item.suffix] for item in kinds if item.suffix in _REMEDY), "record it again")
        reason = " ".join(str(error).split())[:200] or "no reason given"
        raise BagError(
            f"{path}: cannot be read as a recording ({type(error).__name__}: {reason}); "
            f"it is truncated or damaged: {remedy}"
        ) from None
