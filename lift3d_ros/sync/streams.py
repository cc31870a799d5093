"""The streams of a collector: what is asked of each of them, and what it did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, Protocol

SILENT_AFTER = 3

Role = Literal["required", "optional", "latest", "covering"]
DropReason = Literal[
    "duplicate",
    "stamp is 0",
    "out of order",
    "late",
    "ahead of the others",
    "too few others",
    "too many open sets",
    "clock jump",
]


class Stamped(Protocol):
    """Anything with a stamp."""

    @property
    def stamp_ns(self) -> int:
        """Time of the data, nanoseconds."""


@dataclass(frozen=True)
class StreamSpec:
    """One stream of the collector.

    Args:
        role: ``required`` streams make the sets: they are waited for and count towards the quorum. Of ``optional``
            ones the item nearest to the stamp of the set is attached, of ``latest`` ones the newest item not after it.
            ``covering`` ones hold a set back until they reach its stamp.
        offset_s: the stream's stamps are late by this much.
        window_s: its items lie within this time of the others; None takes that of the collector.
        max_age_s: for ``latest``: older items are not attached.
        is_shared: for ``optional``: an item is attached to every set that it is near enough to, not to one alone.
    """

    name: str
    role: Role = "required"
    offset_s: float = 0.0
    window_s: float | None = None
    max_age_s: float = 1.0
    is_shared: bool = False


@dataclass
class StreamStatus:
    """What is known of one stream; `unused` items in a row were dropped up to now, the last for `unused_reason`."""

    count: int = 0
    last_stamp_ns: int | None = None
    last_arrival_ns: int = 0
    absent_sets: int = 0
    drops: Counter[DropReason] = field(default_factory=Counter)
    unused: int = 0
    unused_reason: DropReason = "late"
    next_ns: int | None = None  # when the next item is due, if it comes as soon as the last one
    _absences: tuple[int, int] = (0, 0)  # before the last two items

    def note_stamp(self, stamp_ns: int) -> None:
        """Note the stamp of an item."""
        self.next_ns = None if self.last_stamp_ns is None else 2 * stamp_ns - self.last_stamp_ns
        self.last_stamp_ns = stamp_ns

    def note_drop(self, reason: DropReason) -> None:
        """Note an item that is not used."""
        self.drops[reason] += 1
        self.unused += 1
        self.unused_reason = reason

    def note_delivery(self, *, missed_by_a_little: bool = False) -> None:
        """Note an item in a set, or one that missed the last set because that had not waited for it."""
        self._absences = self._absences[1], max(0, self.absent_sets - missed_by_a_little)
        self.absent_sets = 0

    def forget(self) -> None:
        """Start afresh after a clock jump; counters stay."""
        self.last_stamp_ns = self.next_ns = None
        self.absent_sets, self._absences = 0, (0, 0)

    @property
    def usual_absence(self) -> int:
        """How many sets the stream leaves out, if it is slower than others; one longer absence is no habit."""
        return min(self._absences)

    @property
    def is_expected(self) -> bool:
        """Whether the next set waits for this stream."""
        return self.absent_sets >= self.usual_absence and not self.is_silent

    @property
    def is_silent(self) -> bool:
        """Whether sets no longer wait for this stream: it is absent for longer than usual."""
        return self.absent_sets >= self.usual_absence + SILENT_AFTER
