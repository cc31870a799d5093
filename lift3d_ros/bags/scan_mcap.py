"""Goes through an MCAP file from its beginning, without its summary (specification: mcap.dev/spec)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinition, MessageDefinitionFormat

from lift3d_ros.bags.decompress import decompress_beginning
from lift3d_ros.bags.scanned import Record

MCAP_MAGIC = b"\x89MCAP0\r\n"

# A file system may leave zeros where the end was not written.
_NOTHING, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x00, 0x03, 0x04, 0x05, 0x06, 0x0F
_MESSAGE_HEADER = struct.Struct("<HIQQ")
_FORMATS = {"ros2msg": MessageDefinitionFormat.MSG, "ros2idl": MessageDefinitionFormat.IDL}


def scan_mcap(path: Path) -> Iterator[Record]:
    """Yield topics and messages up to where the file breaks off or is damaged."""
    schemas: dict[int, tuple[str, MessageDefinition]] = {}
    remaining = path.stat().st_size - len(MCAP_MAGIC)
    with path.open("rb") as file:
        file.seek(len(MCAP_MAGIC))
        while remaining >= 9:
            kind, length = struct.unpack("<BQ", file.read(9))
            remaining -= 9
            if kind in (_NOTHING, _DATA_END) or (length > remaining and kind != _CHUNK):
                return
            content = file.read(min(length, remaining))
            try:
                if kind == _CHUNK:
                    yield from _scan_chunk(content, schemas)
                else:
                    yield from _parse(kind, content, schemas)
            except (struct.error, UnicodeDecodeError):
                return
            remaining -= length


def _scan_chunk(content: bytes, schemas: dict[int, tuple[str, MessageDefinition]]) -> Iterator[Record]:
    """Yield the records of a chunk, its messages by log time as indexed readers do."""
    size = struct.unpack_from("<Q", content, 16)[0]
    compression, position = _string(content, 28)
    data = decompress_beginning(content[position + 8 :], compression, size)
    messages: list[tuple[int, int, bytes]] = []
    position = 0
    while position + 9 <= len(data):
        kind, length = struct.unpack_from("<BQ", data, position)
        position += 9
        if position + length > len(data):
            break
        for record in _parse(kind, data[position : position + length], schemas):
            if isinstance(record, Connection):
                yield record
            else:
                messages.append(record)
        position += length
    yield from sorted(messages, key=lambda message: message[1])


def _parse(kind: int, content: bytes, schemas: dict[int, tuple[str, MessageDefinition]]) -> Iterator[Record]:
    if kind == _MESSAGE:
        channel, _, log_ns, _ = _MESSAGE_HEADER.unpack_from(content)
        yield channel, log_ns, content[_MESSAGE_HEADER.size :]
    elif kind == _SCHEMA:
        (number,) = struct.unpack_from("<H", content)
        name, position = _string(content, 2)
        encoding, position = _string(content, position)
        definition, _ = _string(content, position) if encoding in _FORMATS else ("", 0)
        schemas[number] = name, MessageDefinition(_FORMATS.get(encoding, MessageDefinitionFormat.NONE), definition)
    elif kind == _CHANNEL:
        number, schema = struct.unpack_from("<HH", content)
        topic, position = _string(content, 4)
        encoding, _ = _string(content, position)
        name, definition = schemas.get(schema, ("unknown", MessageDefinition(MessageDefinitionFormat.NONE, "")))
        yield Connection(number, topic, name, definition, "", 0, ConnectionExtRosbag2(encoding, []), None)


def _string(content: bytes, position: int) -> tuple[str, int]:
    """Return a string with its length before it, and the position behind it."""
    (length,) = struct.unpack_from("<I", content, position)
    end = position + 4 + length
    return content[position + 4 : end].decode(), end
