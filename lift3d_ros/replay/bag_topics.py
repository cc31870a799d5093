"""Finds the topics of a recording that a task uses, and reads the calibration in them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from lift3d_ros.bags.discover import CAMERA_INFO
from lift3d_ros.bags.messages import camera_model_from_msg
from lift3d_ros.bags.reader import BagMessage, BagReader
from lift3d_ros.errors import BagError, CalibrationError, nearest_name_hint
from lift3d_ros.types import CameraModel

logger = logging.getLogger(__name__)


def named_topic(reader: BagReader, field: str, wanted: str, *kinds: str) -> str:
    """Return the name of a topic that the user chose, or nothing where none is wanted.

    Args:
        field: its name among the settings `topics`, or the option that names it, as ``--image``.
        kinds: message types, one of which it must have.

    Raises:
        BagError: the recording has no such topic.
    """
    known = [topic.name for topic in reader.topics_of(*kinds)]
    if wanted and wanted not in known:
        raise BagError(
            f"{reader.path}: {_setting(field)} is '{wanted}', which is no topic of type {' or '.join(kinds)} here"
            f"{nearest_name_hint(wanted, known)} (of this type: {', '.join(known) or 'none'})"
        )
    return wanted


def only_topic(
    reader: BagReader, field: str, what: str, names: Sequence[str], kinds: Sequence[str] = (), remedy: str = ""
) -> str:
    """Return the only topic of those that would do.

    Args:
        field: as of :func:`named_topic`.
        what: is on the topics, for the user.
        kinds: message types that the user could record.
        remedy: what else the user could do.

    Raises:
        BagError: there is none, or more than one.
    """
    if len(names) == 1:
        return names[0]
    of_type = f" of type {' or '.join(kinds)}" if kinds else ""
    is_option = field.startswith("--")
    do = (
        (f"Name it with {field}" if is_option else f"Name it as {_setting(field)} in --params")
        if names
        else "Record one"
    )
    raise BagError(
        f"{reader.path}: topics of {what}: {', '.join(names) or 'none'}; expected one{of_type}. {do}{remedy}"
    )


def _setting(field: str) -> str:
    return field if field.startswith("--") else f"topics.{field}"


def recorded_camera(message: BagMessage, *, is_rectified: bool) -> CameraModel | None:
    """Return the camera of a message of CameraInfo; None, with a warning, where it is not usable."""
    try:
        return camera_model_from_msg(message.message, "camera", message.topic, is_rectified=is_rectified)
    except CalibrationError as error:
        logger.warning("%s", error)
        return None


def calibration_in_the_frame_of(reader: BagReader, topic: str) -> str:
    """Return the topic of CameraInfo whose frame is that of a topic's messages; nothing where not just one is."""
    first = reader.first_messages([topic])[topic].message
    frame_id = str(first.header.frame_id).lstrip("/")
    names = [info.name for info in reader.topics_of(CAMERA_INFO)]
    infos = reader.first_messages(names) if names else {}
    frames = {name: str(info.message.header.frame_id).lstrip("/") for name, info in infos.items()}
    fitting = [name for name, frame in frames.items() if frame_id in ("", frame)]
    return fitting[0] if len(fitting) == 1 else ""
