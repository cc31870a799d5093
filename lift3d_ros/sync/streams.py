"""The streams of a collector: what is asked of each of them, and what it did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

SILENT_AFTER = 3

Role = Literal["required", "optional", "latest", "covering"]


class Stamped(Protocol):
    """Anything with a stamp."""

    @property
    def stamp_ns(self) -> int:
        """Time of the data, nanoseconds."""


@dataclass(frozen=True)
class StreamSpec:
    """One stream of the collector.

    Args:
        role: ``required`` streams are waited for and count towards the quorum; ``optional`` ones are
            taken if they are there; of ``latest`` ones the newest item not after the set is attached;
            ``covering`` ones hold a set back until they reach its stamp.
        offset_s: the stream's stamps are late by this much.
        max_age_s: for ``latest``: older items are not attached.
    """

    name: str
    role: Role = "required"
    offset_s: float = 0.0
    max_age_s: float = 1.0


@dataclass
class StreamStatus:
    """What is known of one stream, for diagnostics."""

    count: int = 0
    last_stamp_ns: int | None = None
    last_arrival_ns: int = 0
    absent_sets: int = 0
    ahead_sets: int = 0

    @property
    def is_silent(self) -> bool:
        """Whether sets no longer wait for this stream."""
        return self.absent_sets >= SILENT_AFTER
