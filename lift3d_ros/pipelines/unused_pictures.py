"""Says which cameras deliver in vain: what is wrong with the stamps of their pictures, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping

from lift3d_ros.sync.collector import StreamCollector
from lift3d_ros.sync.streams import SILENT_AFTER, DropReason

_CAUSES: Mapping[DropReason, tuple[str, str]] = {
    "duplicate": (
        "each has the stamp of the one before",
        "let one driver only publish there, and stamp every picture with its capture time",
    ),
    "stamp is 0": ("their stamps are 0", "let the driver stamp every picture with its capture time"),
    "out of order": ("their stamps go back", "let one driver only publish there, with the stamps of one clock"),
    "late": (
        "their stamps are behind the other cameras, or they arrive after their set",
        "synchronise the clocks, give its offset_s in the rig file, or raise sync.deadline_s",
    ),
    "ahead of the others": (
        "their stamps are ahead of the other cameras",
        "synchronise the clocks, or give its offset_s in the rig file",
    ),
    "too few others": (
        "fewer than sync.min_cameras cameras deliver with them",
        "see to the other cameras, or lower sync.min_cameras",
    ),
    "too many open sets": (
        "more of them wait for the other cameras than can be kept",
        "synchronise the clocks, or lower sync.deadline_s",
    ),
    "clock jump": ("their stamps, or the clock, jump back", "let one driver only publish there"),
}


def cameras_not_used(collector: StreamCollector, topics: Mapping[str, str]) -> dict[str, str]:
    """Return a sentence for each camera whose last pictures were all dropped.

    Args:
        topics: camera name -> topic of its pictures.
    """
    return {
        name: _sentence(name, topic, f"its last {status.unused} pictures", status.unused_reason)
        for name, topic in topics.items()
        if (status := collector.status[name]).unused >= SILENT_AFTER
    }


def dropped_pictures(collector: StreamCollector, topics: Mapping[str, str]) -> list[str]:
    """Return a sentence for each camera and reason for which pictures were dropped since the start."""
    return [
        _sentence(name, topic, f"{count} of its {collector.status[name].count} pictures", reason)
        for name, topic in topics.items()
        for reason, count in sorted(collector.status[name].drops.items())
    ]


def _sentence(name: str, topic: str, pictures: str, reason: DropReason) -> str:
    cause, remedy = _CAUSES[reason]
    return f"camera '{name}': {pictures} on {topic} are not used: {cause}; {remedy}"
