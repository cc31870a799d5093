"""Finds the cameras among the topics of a running system, by the same rules as in a recording."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from lift3d_ros.bags.discover import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, CameraTopics, discover
from lift3d_ros.bags.reader import BagMessage, BagReader, BagTopic
from lift3d_ros.errors import BagError

_USED_TYPES = (IMAGE, COMPRESSED_IMAGE, CAMERA_INFO)


@dataclass(frozen=True)
class _TopicList:
    """What the search of a recording asks a reader for, with topics and no messages."""

    topics: tuple[BagTopic, ...]
    path: Path = Path("running system")

    def topics_of(self, *types: str) -> tuple[BagTopic, ...]:
        return tuple(topic for topic in self.topics if topic.type in types)

    def first_messages(self, topics: object) -> dict[str, BagMessage]:
        return {}

    def messages(self, topics: object = None) -> Iterator[BagMessage]:
        return iter(())


def find_cameras(topics: Mapping[str, str]) -> Mapping[str, CameraTopics]:
    """Return the cameras among `topics` (name -> type), one colour stream each; empty where there is none."""
    listed = tuple(BagTopic(name, kind, 1) for name, kind in sorted(topics.items()) if kind in _USED_TYPES)
    try:
        return discover(cast(BagReader, _TopicList(listed))).cameras
    except BagError:
        return {}
