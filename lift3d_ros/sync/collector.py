"""Decides which items of several streams belong together; never falls silent because one stream does.

An item is anything with a ``stamp_ns``. Sets are made of required streams; what is held of the others is attached when
a set is released. Times of arrival (`now_ns`) are passed in: steady time on a robot, log
time in replay; the collector reads no clock, so the same calls always give the same sets.

Grouping. A set opens with the first item that fits no open set. An item joins the open set whose first
stamp is nearest to its own (minus the stream's known offset) if that is within `window_s` and the set has
no item of that stream yet. Two cameras that fire 90 ms apart so share a set, and the next round opens another. Where
rounds are as short as the window, an item that is much nearer to the next round opens that.

Release. A set is complete when every stream that is waited for has delivered. It is then released as soon
as each covering stream (the ego pose) reaches its stamp. A stream is no longer waited for once it has
delivered something newer, nor for as many sets as it usually leaves out (a camera of half the rate: one), nor
while it is silent: absent from `SILENT_AFTER` more; nor is a covering stream that reported nothing during as many.
It is waited for again after an item that joins a set, or that comes so little too late that waiting would have
helped. A set that waits longer than `deadline_s` after its first item is released as it is if it has at least
`quorum` members, else dropped. Sets are released in order of their stamps and never go back in time.

One camera whose clock runs ahead must not mute the others: an incomplete set that is ahead of more streams than it
has, while these still deliver, is dropped. One whose clock is behind costs the others at most the deadline.

Stamps that jump back by more than `jump_s` on a required or covering stream, or arrival times that do, mean another
recording or a restarted clock: everything is forgotten and `resets` counts it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lift3d_ros.errors import ConfigError, nearest_name_hint
from lift3d_ros.sync.streams import DropReason, Stamped, StreamSpec, StreamStatus

_NS = 1_000_000_000
# Cameras that share out the period evenly have no first one; jitter must not part them.
_MUCH_NEARER = 3


@dataclass(frozen=True)
class StreamSet:
    """One assembly; `stamp_ns` is the newest stamp of its members, offsets removed.

    `missing` names required and latest streams without an item here.
    """

    stamp_ns: int
    items: Mapping[str, Stamped]
    missing: tuple[str, ...]
    is_complete: bool


@dataclass
class _OpenSet:
    """A set that waits; `next_ns` is when its first stream fires again, None where that is not known."""

    first_ns: int
    opened_ns: int
    next_ns: int | None
    items: dict[str, Stamped] = field(default_factory=dict)
    stamp_ns: int = 0


class StreamCollector:
    """Assembles items of several streams into sets; see the module docstring for the rules."""

    def __init__(
        self,
        specs: Iterable[StreamSpec],
        *,
        window_s: float,
        deadline_s: float,
        quorum: int = 1,
        jump_s: float = 1.0,
        max_open_sets: int = 16,
        max_held: int = 32,
    ) -> None:
        """Collect the streams of `specs`.

        Args:
            max_held: items that are kept of each optional and latest stream, the newest ones.

        Raises:
            ConfigError: no required stream, a name twice, or a quorum that can never be met.
        """
        specs = tuple(specs)
        self._specs = {spec.name: spec for spec in specs}
        self._required = [spec.name for spec in specs if spec.role == "required"]
        if len(self._specs) != len(specs):
            raise ConfigError("streams of the collector: a name is used twice; give every stream its own name")
        if not 1 <= quorum <= len(self._required):
            raise ConfigError(
                f"quorum is {quorum}, the rig has {len(self._required)} streams; expected 1 to the number of streams"
            )
        self._offsets_ns = {spec.name: round(spec.offset_s * _NS) for spec in specs}
        self._windows_ns = {
            spec.name: round((window_s if spec.window_s is None else spec.window_s) * _NS) for spec in specs
        }
        self._deadline_ns = round(deadline_s * _NS)
        self._jump_ns, self._max_open_sets, self._quorum = round(jump_s * _NS), max_open_sets, quorum
        self._max_held = max_held
        self.resets = 0
        self.status = {spec.name: StreamStatus() for spec in specs}
        self.reset()

    def reset(self) -> None:
        """Forget every waiting item and the time released last; counters stay."""
        self._open: list[_OpenSet] = []
        self._held: dict[str, deque[Stamped]] = {
            spec.name: deque(maxlen=self._max_held)
            for spec in self._specs.values()
            if spec.role in ("optional", "latest")
        }
        self._covered_ns: dict[str, int] = {
            spec.name: -(2**62) for spec in self._specs.values() if spec.role == "covering"
        }
        self._last_released: _OpenSet | None = None
        self._now_ns: int | None = None
        for status in self.status.values():
            status.forget()

    @property
    def drops(self) -> Counter[DropReason]:
        """How many items were not used, by reason."""
        return sum((status.drops for status in self.status.values()), Counter[DropReason]())

    @property
    def silent_streams(self) -> tuple[str, ...]:
        """Required streams that sets no longer wait for."""
        return tuple(name for name in self._required if self.status[name].is_silent)

    @property
    def waiting_for(self) -> tuple[str, ...]:
        """Streams that have not delivered anything yet, in order."""
        return tuple(name for name, status in self.status.items() if status.last_stamp_ns is None)

    def add(self, name: str, item: Stamped, now_ns: int) -> list[StreamSet]:
        """Take one item of the stream `name` and return the sets that it releases, oldest first."""
        self._check_name(name)
        stamp_ns = item.stamp_ns - self._offsets_ns[name]
        self._watch_clock(now_ns, name, stamp_ns)
        status = self.status[name]
        status.count += 1
        status.last_arrival_ns = now_ns
        if name in self._held:
            self._held[name].append(item)
            status.last_stamp_ns = stamp_ns
        elif status.last_stamp_ns is not None and stamp_ns <= status.last_stamp_ns:
            repeated: DropReason = "duplicate" if item.stamp_ns else "stamp is 0"
            status.note_drop(repeated if stamp_ns == status.last_stamp_ns else "out of order")
        else:
            status.note_stamp(stamp_ns)
            self._join(name, item, stamp_ns, now_ns)
        return self._release(now_ns)

    def cover(self, name: str, stamp_ns: int, now_ns: int) -> list[StreamSet]:
        """Report that the covering stream `name` now reaches `stamp_ns`; return the sets that this releases."""
        self._check_name(name)
        self._watch_clock(now_ns, name, stamp_ns)
        status = self.status[name]
        status.count += 1
        status.last_stamp_ns = stamp_ns
        status.absent_sets = 0
        self._covered_ns[name] = max(self._covered_ns[name], stamp_ns)
        return self._release(now_ns)

    def expire(self, now_ns: int) -> list[StreamSet]:
        """Return the sets whose deadline has passed at `now_ns`."""
        self._watch_clock(now_ns, None, None)
        return self._release(now_ns)

    def flush(self) -> list[StreamSet]:
        """Release everything that waits, at the end of a recording; the quorum still holds."""
        released = [self._finish(candidate) for candidate in self._sorted_open()]
        self._open.clear()
        return [item for item in released if item is not None]

    def _check_name(self, name: str) -> None:
        if name not in self._specs:
            raise ConfigError(f"stream '{name}' is not one of the collector's{nearest_name_hint(name, self._specs)}")

    def _watch_clock(self, now_ns: int, name: str | None, stamp_ns: int | None) -> None:
        """Reset when arrival time, or the stamps of a stream that sets wait for, jump back."""
        last_ns = None if name is None or name in self._held else self.status[name].last_stamp_ns
        has_stamp_jump = last_ns is not None and stamp_ns is not None and stamp_ns < last_ns - self._jump_ns
        if has_stamp_jump or (self._now_ns is not None and now_ns < self._now_ns - self._jump_ns):
            for candidate in self._open:
                self._drop(candidate, "clock jump")
            self.resets += 1
            self.reset()
        self._now_ns = max(now_ns, self._now_ns or now_ns)

    def _join(self, name: str, item: Stamped, stamp_ns: int, now_ns: int) -> None:
        chosen, released = self._find_set(name, stamp_ns), self._last_released
        if released is not None and (chosen is released or (chosen is None and stamp_ns <= released.stamp_ns)):
            self.status[name].note_drop("late")
            if (now_ns - stamp_ns) - (released.opened_ns - released.first_ns) < self._deadline_ns:
                self.status[name].note_delivery(missed_by_a_little=True)
            return
        if chosen is None:
            chosen = _OpenSet(first_ns=stamp_ns, opened_ns=now_ns, next_ns=self.status[name].next_ns, stamp_ns=stamp_ns)
            self._open.append(chosen)
            if len(self._open) > self._max_open_sets:
                oldest = self._sorted_open()[0]
                self._open.remove(oldest)
                self._drop(oldest, "too many open sets")
        chosen.items[name] = item
        chosen.stamp_ns = max(chosen.stamp_ns, stamp_ns)

    def _find_set(self, name: str, stamp_ns: int) -> _OpenSet | None:
        """Return the set, open or released last, that an item belongs to; None where it opens another."""
        known = self._open if self._last_released is None else [*self._open, self._last_released]
        near = [candidate for candidate in known if abs(candidate.first_ns - stamp_ns) <= self._windows_ns[name]]
        free = [candidate for candidate in near if name not in candidate.items]
        nearest = min(free, key=lambda candidate: abs(candidate.first_ns - stamp_ns), default=None)
        if nearest is None or nearest.next_ns is None:
            return nearest
        is_of_next_round = _MUCH_NEARER * abs(nearest.next_ns - stamp_ns) < stamp_ns - nearest.stamp_ns
        return None if is_of_next_round else nearest

    def _drop(self, candidate: _OpenSet, reason: DropReason) -> None:
        for name in candidate.items:
            self.status[name].note_drop(reason)

    def _sorted_open(self) -> list[_OpenSet]:
        return sorted(self._open, key=lambda candidate: candidate.stamp_ns)

    def _release(self, now_ns: int) -> list[StreamSet]:
        """Release from the oldest set on, as far as they are ready; an older unready set holds back newer ones."""
        released: list[StreamSet] = []
        for candidate in self._sorted_open():
            if not self._is_ready(candidate) and now_ns - candidate.opened_ns < self._deadline_ns:
                break
            self._open.remove(candidate)
            if self._is_ahead(candidate):
                self._drop(candidate, "ahead of the others")
                continue
            finished = self._finish(candidate)
            if finished is not None:
                released.append(finished)
        return released

    def _is_ready(self, candidate: _OpenSet) -> bool:
        is_covered = all(
            covered_ns >= candidate.stamp_ns or self.status[name].is_silent
            for name, covered_ns in self._covered_ns.items()
        )
        return is_covered and not any(self._is_awaited(name, candidate) for name in self._required)

    def _is_awaited(self, name: str, candidate: _OpenSet) -> bool:
        status = self.status[name]
        if name in candidate.items or not status.is_expected:
            return False
        if any(name in other.items and other.first_ns > candidate.first_ns for other in self._open):
            return False
        return status.last_stamp_ns is None or status.last_stamp_ns <= candidate.first_ns + self._windows_ns[name]

    def _is_ahead(self, candidate: _OpenSet) -> bool:
        """Whether more streams than the set has deliver older stamps at the same time."""
        behind = 0
        for name in self._required:
            status, window_ns = self.status[name], self._windows_ns[name]
            is_alive = status.last_arrival_ns > candidate.opened_ns - window_ns
            if name not in candidate.items and status.last_stamp_ns is not None and is_alive:
                behind += status.last_stamp_ns < candidate.first_ns - window_ns
        return behind > len(candidate.items)

    def _finish(self, candidate: _OpenSet) -> StreamSet | None:
        for name in self._required:
            status = self.status[name]
            if name in candidate.items:
                status.note_delivery()
            else:
                status.absent_sets += 1
        for name, covered_ns in self._covered_ns.items():
            self.status[name].absent_sets += covered_ns < candidate.stamp_ns
        if len(candidate.items) < self._quorum:
            self._drop(candidate, "too few others")
            return None
        if self._last_released is not None and candidate.stamp_ns <= self._last_released.stamp_ns:
            self._drop(candidate, "late")
            return None
        self._last_released = candidate
        for name in candidate.items:
            self.status[name].unused = 0
        items = dict(candidate.items)
        for name in self._held:
            attached = self._take_held(name, candidate)
            if attached is not None:
                items[name] = attached
            self._drop_outdated(name, candidate.stamp_ns)
        missing = tuple(
            name for name, spec in self._specs.items() if spec.role in ("required", "latest") and name not in items
        )
        return StreamSet(candidate.stamp_ns, items, missing, is_complete=not missing)

    def _take_held(self, name: str, candidate: _OpenSet) -> Stamped | None:
        """Return the newest item of a latest stream, or the nearest one of an optional stream."""
        spec, held = self._specs[name], self._held[name]

        def age_ns(item: Stamped) -> int:
            return candidate.stamp_ns - (item.stamp_ns - self._offsets_ns[name])

        if spec.role == "latest":
            fitting = [item for item in held if 0 <= age_ns(item) <= round(spec.max_age_s * _NS)]
            return min(fitting, key=age_ns, default=None)
        fitting = [item for item in held if abs(age_ns(item)) <= self._windows_ns[name]]
        nearest = min(fitting, key=lambda item: abs(age_ns(item)), default=None)
        if nearest is not None and not spec.is_shared:
            held.remove(nearest)
        return nearest

    def _drop_outdated(self, name: str, released_ns: int) -> None:
        """Drop what is held but too old for every set after one of `released_ns`: pictures of depth are large."""
        spec = self._specs[name]
        reach_ns = round(spec.max_age_s * _NS) if spec.role == "latest" else self._windows_ns[name]
        oldest_ns = released_ns - reach_ns + self._offsets_ns[name]
        kept = (item for item in self._held[name] if item.stamp_ns >= oldest_ns)
        self._held[name] = deque(kept, maxlen=self._max_held)
