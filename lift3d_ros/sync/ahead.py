"""Prepares the next item while the present one is worked on; of several that come meanwhile, the newest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lift3d_ros.sync.mailbox import Mailbox

ItemT = TypeVar("ItemT")
PreparedT = TypeVar("PreparedT")

# Preparing is slower beside the work than the time before it was.
_MARGIN = 1.5


def prepared_ahead(
    mailbox: Mailbox[ItemT], prepare: Callable[[ItemT], PreparedT | None]
) -> Iterator[tuple[ItemT, PreparedT]]:
    """Yield items of `mailbox` with what `prepare` makes of them, until it is closed.

    `prepare` runs in a thread of its own while the caller works on what was yielded last. Where the newest item wins,
    it starts so late that it ends with the work, as the last times tell: an item taken as soon as the work begins
    would be old by the time it is worked on, and newer ones would have come.

    Args:
        prepare: returns None for an item that cannot be used.
    """
    is_wanted = threading.Event()

    def take(wait_s: float) -> tuple[ItemT, PreparedT, float] | None:
        is_wanted.wait(wait_s)
        while (item := mailbox.take()) is not None:
            start_s = time.monotonic()
            prepared = prepare(item)
            if prepared is not None:
                return item, prepared, time.monotonic() - start_s
        return None

    work_s = 0.0
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as thread:
        following = thread.submit(take, 0.0)
        try:
            while (ready := following.result()) is not None:
                item, prepared, prepare_s = ready
                is_wanted.clear()
                following = thread.submit(take, work_s - _MARGIN * prepare_s if mailbox.keeps_newest_only else 0.0)
                start_s = time.monotonic()
                yield item, prepared
                work_s = time.monotonic() - start_s
                is_wanted.set()
        finally:
            is_wanted.set()
