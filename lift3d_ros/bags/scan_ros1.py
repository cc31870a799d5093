"""Goes through a ROS 1 bag from its beginning, without its index (specification: wiki.ros.org/Bags/Format/2.0)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from rosbags.interfaces import Connection, ConnectionExtRosbag1, MessageDefinition, MessageDefinitionFormat

from lift3d_ros.bags.decompress import decompress_beginning
from lift3d_ros.bags.scanned import Record

ROS1_MAGIC = b"#ROSBAG V2.0\n"

_MESSAGE, _CHUNK, _CONNECTION = 2, 5, 7


def scan_ros1(path: Path) -> Iterator[Record]:
    """Yield topics and messages up to where the file breaks off or is damaged."""
    remaining = path.stat().st_size - len(ROS1_MAGIC)
    with path.open("rb") as file:
        file.seek(len(ROS1_MAGIC))
        while remaining >= 4:
            (header_length,) = struct.unpack("<I", file.read(4))
            if header_length + 8 > remaining:
                return
            header = file.read(header_length)
            (length,) = struct.unpack("<I", file.read(4))
            remaining -= header_length + 8
            content = file.read(min(length, remaining))
            try:
                fields = _fields(header)
                if fields["op"][0] == _CHUNK:
                    (size,) = struct.unpack("<I", fields["size"])
                    yield from _scan_chunk(decompress_beginning(content, fields["compression"].decode(), size))
                elif length <= remaining:
                    yield from _parse(fields, content)
            except (struct.error, KeyError, IndexError, ValueError):
                return
            remaining -= length


def _scan_chunk(data: bytes) -> Iterator[Record]:
    position = 0
    while position + 8 <= len(data):
        (header_length,) = struct.unpack_from("<I", data, position)
        start = position + 4 + header_length
        if start + 4 > len(data):
            return
        (length,) = struct.unpack_from("<I", data, start)
        if start + 4 + length > len(data):
            return
        yield from _parse(_fields(data[position + 4 : start]), data[start + 4 : start + 4 + length])
        position = start + 4 + length


def _parse(fields: dict[str, bytes], content: bytes) -> Iterator[Record]:
    kind = fields["op"][0]
    if kind == _MESSAGE:
        seconds, nanoseconds = struct.unpack("<II", fields["time"])
        yield struct.unpack("<I", fields["conn"])[0], seconds * 1_000_000_000 + nanoseconds, content
    elif kind == _CONNECTION:
        number = struct.unpack("<I", fields["conn"])[0]
        about = _fields(content)
        package, name = about["type"].decode().split("/")[0], about["type"].decode().split("/")[-1]
        definition = MessageDefinition(MessageDefinitionFormat.MSG, about["message_definition"].decode())
        extra = ConnectionExtRosbag1(None, None)
        yield Connection(number, fields["topic"].decode(), f"{package}/msg/{name}", definition, "", 0, extra, None)


def _fields(header: bytes) -> dict[str, bytes]:
    """Return the fields of a record header: each has its length before it and is written ``name=value``."""
    fields, position = {}, 0
    while position < len(header):
        (length,) = struct.unpack_from("<I", header, position)
        name, _, value = header[position + 4 : position + 4 + length].partition(b"=")
        fields[name.decode()] = value
        position += 4 + length
    return fields
