"""Hands items from the thread that receives to the thread that works."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_KEPT = 32


class Mailbox(Generic[T]):
    """A queue between two threads in which the newest item wins.

    With ``drop=False`` items are kept in order, for runs whose source is paced by the results. Memory is bounded all
    the same: of a source that is not paced the newest `MAX_KEPT` are kept.
    """

    def __init__(self, *, drop: bool = True) -> None:
        """Keep only the newest item, or up to `MAX_KEPT` of them with ``drop=False``."""
        self._items: deque[T] = deque(maxlen=1 if drop else MAX_KEPT)
        self._is_closed = False
        self._changed = threading.Condition()
        self.dropped = 0

    def put(self, item: T) -> int:
        """Leave an item; return how many older ones it replaced, 0 or 1. Never blocks."""
        with self._changed:
            if self._is_closed:
                return 0
            replaced = int(len(self._items) == self._items.maxlen)
            self._items.append(item)
            self.dropped += replaced
            self._changed.notify()
            return replaced

    def take(self, timeout_s: float | None = None) -> T | None:
        """Take the oldest item; None after `timeout_s` without one, or once closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._is_closed, timeout_s)
            return self._items.popleft() if self._items else None

    def clear(self) -> None:
        """Throw away what waits, after a clock jump."""
        with self._changed:
            self._items.clear()

    def close(self) -> None:
        """Wake every waiting thread; later items are refused."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def keeps_newest_only(self) -> bool:
        """Whether an item that was not taken yet gives way to the next one."""
        return self._items.maxlen == 1

    @property
    def is_closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._is_closed
