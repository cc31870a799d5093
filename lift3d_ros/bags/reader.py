"""Reads recordings of every kind through one interface: rosbag2 (sqlite3, mcap) and ROS 1.

A recording that was cut short (power loss leaves no index and no metadata.yaml) is read from its beginning as far
as it is whole, with a warning. A message type is looked at only when a message of it is deserialised, so topics of
unknown types do no harm.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from lift3d_ros.bags.storage import Storage, open_storages, reading_errors
from lift3d_ros.errors import BagError, nearest_name_hint
from lift3d_ros.resources import find_resource

_OWN_TYPES = ("BevDetection", "CameraUse", "BevDetectionArray", "Keypoints2D", "Keypoints2DArray")
_IDL_SEPARATOR = "=" * 80 + "\n"

logger = logging.getLogger(__name__)


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
    """An open recording; use it as a context manager.

    `problems` has one sentence for each part of the recording that is damaged but readable.
    """

    def __init__(self, path: Path) -> None:
        """Prepare to read `path`; see :func:`open_bag`."""
        self.path = path
        self._stack = contextlib.ExitStack()
        self._storages: list[Storage] = []
        self.problems: tuple[str, ...] = ()
        with contextlib.ExitStack() as stack:
            self._storages, self.problems = open_storages(path, stack)
            self._stack = stack.pop_all()
        counts: dict[tuple[str, str], int] = {}
        self._definitions: dict[str, MessageDefinition] = {}
        self._stores: dict[str, Typestore] = {}
        for storage in self._storages:
            for connection in storage.connections:
                key = (connection.topic, connection.msgtype)
                counts[key] = counts.get(key, 0) + connection.msgcount
                if connection.msgdef.format != MessageDefinitionFormat.NONE:
                    self._definitions.setdefault(connection.msgtype, connection.msgdef)
        self.topics = tuple(BagTopic(name, kind, count) for (name, kind), count in sorted(counts.items()))

    def __enter__(self) -> BagReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def is_ros1(self) -> bool:
        """Whether messages have their ROS 1 form."""
        return self._storages[0].is_ros1

    @property
    def start_ns(self) -> int:
        """Log time of the first message, 0 where there is none."""
        return min((int(storage.start_time) for storage in self._storages if storage.message_count), default=0)

    @property
    def end_ns(self) -> int:
        """Log time after the last message, 0 where there is none."""
        return max((int(storage.end_time) for storage in self._storages if storage.message_count), default=0)

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
        for storage in self._storages:
            connections = [c for c in storage.connections if wanted is None or c.topic in wanted]
            if not connections:
                continue
            with reading_errors(self.path):
                for connection, log_ns, raw in storage.messages(connections):
                    yield BagMessage(connection.topic, connection.msgtype, int(log_ns), bytes(raw), self)

    def first_messages(self, topics: Iterable[str]) -> dict[str, BagMessage]:
        """Return topic -> first message of each of `topics` that holds any.

        Raises:
            BagError: a topic is not in the recording, the file is damaged on the way, or a message that the index
                promises is not there.
        """
        counts = {topic.name: topic.count for topic in self.topics}
        pending = {topic for topic in topics if counts.get(topic, 1)}
        first: dict[str, BagMessage] = {}
        for message in self.messages(pending) if pending else ():
            first.setdefault(message.topic, message)
            if len(first) == len(pending):
                break
        if lost := sorted(pending - set(first)):
            raise BagError(
                f"{self.path}: no message of topic '{lost[0]}' can be read, though the index promises "
                f"{counts[lost[0]]}; the recording is damaged: repair it, or copy it again"
            )
        return first

    def deserialise(self, message: BagMessage) -> Any:
        """Return the message object; see :attr:`BagMessage.message`."""
        store = self._store(message)
        try:
            if self.is_ros1:
                return store.deserialize_ros1(message.raw, message.type)
            return store.deserialize_cdr(message.raw, message.type)
        except Exception as error:  # damaged bytes raise whatever the generated decoder stumbles over
            raise BagError(
                f"{self.path}: a message of topic '{message.topic}' does not decode as {message.type} "
                f"({type(error).__name__}: {error}); the recording is damaged or its type definition is wrong: "
                "record it again, or leave the topic out"
            ) from None

    def _store(self, message: BagMessage) -> Typestore:
        """Return a type store that knows the type of `message`: as recorded, else as ROS 2 and this package define."""
        kind = message.type
        if kind in self._stores:
            return self._stores[kind]
        definition = self._definitions.get(kind)
        if definition is None:
            store = package_typestore()
            if kind not in store.fielddefs:
                raise BagError(
                    f"{self.path}: topic '{message.topic}' has type {kind}, which is recorded without its definition "
                    "and not known here; record it as mcap, which keeps definitions, or leave the topic out"
                )
        else:
            store = get_typestore(Stores.EMPTY)
            try:
                types = _parse_definition(definition, kind)
                store.register(types)
            except Exception as error:  # the parser raises anything on damaged text
                raise BagError(
                    f"{self.path}: topic '{message.topic}': the recorded definition of {kind} cannot be understood "
                    f"({type(error).__name__}); record it again, or leave the topic out"
                ) from None
            if lacking := _lacking_field(types):
                raise BagError(
                    f"{self.path}: topic '{message.topic}': the recorded definition of {kind} lacks '{lacking}'; "
                    "the recording is damaged or comes from another version: record it again, or leave the topic out"
                )
        self._stores[kind] = store
        return store


def open_bag(path: Path) -> BagReader:
    """Open a recording for reading; what is damaged but readable is logged as a warning.

    Raises:
        BagError: there is no recording at `path`, or it cannot be read; says what was found and what to do.
    """
    reader = BagReader(path)
    for problem in reader.problems:
        logger.warning("%s", problem)
    return reader


@functools.cache
def package_typestore() -> Typestore:
    """Return the message types of ROS 2 together with those of this package; shared, so register nothing in it."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for name in _OWN_TYPES:
        text = find_resource(f"msg/{name}.msg").read_text(encoding="utf-8")
        store.register(get_types_from_msg(text, f"lift3d_ros/msg/{name}"))
    return store


def _parse_definition(definition: MessageDefinition, kind: str) -> Any:
    if definition.format == MessageDefinitionFormat.MSG:
        return get_types_from_msg(definition.data, kind)
    if not definition.data.startswith(f"{_IDL_SEPARATOR}IDL: "):
        return get_types_from_idl(definition.data)
    types: dict[str, Any] = {}
    for part in definition.data.split(_IDL_SEPARATOR)[1:]:
        types.update(get_types_from_idl(part.split("\n", 1)[1]))
    return types


def _lacking_field(types: Mapping[str, Any]) -> str | None:
    """Return a field (``type.field``) that a known type has and its recorded definition lacks.

    Names are compared without case, as ROS 1 writes D, K, R and P of CameraInfo.
    """
    known = package_typestore().fielddefs
    for kind in types.keys() & known.keys():
        recorded = {name.lower() for name, _ in types[kind][1]}
        for name, _ in known[kind][1]:
            if name.lower() not in recorded:
                return f"{kind}.{name}"
    return None
