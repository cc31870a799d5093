"""Finds the topics of a recording that belong to one camera."""

from __future__ import annotations

from lift3d_ros.bags.discover import CAMERA_INFO
from lift3d_ros.bags.reader import BagReader
from lift3d_ros.errors import BagError, nearest_name_hint


def named_topic(reader: BagReader, field: str, wanted: str, *kinds: str) -> str:
    """Return the name of a topic that the user chose, or nothing where none is wanted.

    Args:
        field: its name among the settings `topics`.
        kinds: message types, one of which it must have.

    Raises:
        BagError: the recording has no such topic.
    """
    known = [topic.name for topic in reader.topics_of(*kinds)]
    if wanted and wanted not in known:
        raise BagError(
            f"{reader.path}: topics.{field} is '{wanted}', which is no topic of type {' or '.join(kinds)} here"
            f"{nearest_name_hint(wanted, known)} (of this type: {', '.join(known) or 'none'})"
        )
    return wanted


def calibration_in_the_frame_of(reader: BagReader, topic: str) -> str:
    """Return the topic of CameraInfo whose frame is that of a topic's messages; nothing where not just one is."""
    first = reader.first_messages([topic])[topic].message
    frame_id = str(first.header.frame_id).lstrip("/")
    names = [info.name for info in reader.topics_of(CAMERA_INFO)]
    infos = reader.first_messages(names) if names else {}
    frames = {name: str(info.message.header.frame_id).lstrip("/") for name, info in infos.items()}
    fitting = [name for name, frame in frames.items() if frame_id in ("", frame)]
    return fitting[0] if len(fitting) == 1 else ""
