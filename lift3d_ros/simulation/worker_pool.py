"""Processes that render or prepare scenes side by side, and end when the person in front does not want to wait."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from typing import Any


@contextmanager
def worker_pool(workers: int, begin: Callable[..., None], *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """Give a ``with`` block a pool; where Ctrl-C ends the block, its processes end in the middle of their scenes.

    Args:
        begin: called with `arguments` in each process before its first task.
    """
    before = set(active_children())
    # Spawned, because graphics contexts and threads do not survive a fork.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin, (begin, arguments))
    try:
        yield pool
    except (KeyboardInterrupt, GeneratorExit):
        # A pool by itself would finish what it has begun, and as many tasks again that wait in its queue.
        for process in set(active_children()) - before:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(begin: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # without a traceback of each process
    begin(*arguments)
