"""Ends an executor between two callbacks when the process is interrupted.

rclpy by itself shuts the middleware down under whatever is running, and Python raises KeyboardInterrupt wherever it
is: in the middle of a message that is being converted too, where it is taken for a fault of that message or crashes.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Iterator
from types import FrameType, TracebackType

from rclpy.executors import Executor
from rclpy.signals import SignalHandlerOptions

# What rclpy.init() takes where this module handles the signals.
NOT_BY_RCLPY = SignalHandlerOptions.NO
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Takes SIGINT and SIGTERM while it is entered; for the main thread.

    The first one sets `is_asked` and ends the spinning after the callback that runs. Those that come `patience_s` later
    raise KeyboardInterrupt, so that no callback that hangs can keep the process. Those between change nothing: a
    terminal, a launcher and a supervisor pass on the same interrupt, and the process is ending already.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._asked = threading.Event()
        self._first_s: float | None = None
        self._executor: Executor | None = None
        self._is_raised = False

    @property
    def is_asked(self) -> bool:
        """Whether the process was interrupted."""
        return self._first_s is not None or self._asked.is_set()

    def __enter__(self) -> Interrupts:
        self._signalled, self._end = socket.socketpair()
        self._end.setblocking(False)
        # While the middleware waits no Python runs in the main thread, and so no handler: a thread has to wake it.
        self._previous_fd = signal.set_wakeup_fd(self._end.fileno(), warn_on_full_buffer=False)
        self._previous = [signal.signal(number, self._handle) for number in _SIGNALS]
        self._watcher = threading.Thread(target=self._watch, name="interrupts", daemon=True)
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, previous in zip(_SIGNALS, self._previous, strict=True):
            signal.signal(number, previous)
        signal.set_wakeup_fd(self._previous_fd)
        # Closing alone does not reach the watcher where a process that a library forked has the socket, too.
        self._end.shutdown(socket.SHUT_WR)
        self._watcher.join()
        self._end.close()
        self._signalled.close()

    def spin(self, executor: Executor) -> None:
        """Execute callbacks until an interrupt."""
        self._executor = executor
        while not self.is_asked:
            executor.spin_once()

    @contextlib.contextmanager
    def raised(self) -> Iterator[None]:
        """Raise KeyboardInterrupt at an interrupt, at once where there was one, for long work outside of rclpy."""
        self._is_raised = True
        try:
            if self.is_asked:
                raise KeyboardInterrupt
            yield
        finally:
            self._is_raised = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now_s, first_s = time.monotonic(), self._first_s
        if first_s is None:
            self._first_s = now_s
        if self._is_raised or (first_s is not None and now_s - first_s >= self._patience_s):
            self._is_raised = False
            raise KeyboardInterrupt

    def _watch(self) -> None:
        while received := self._signalled.recv(1):
            if received[0] in _SIGNALS:
                self._asked.set()
                if self._executor is not None:
                    end_spin_once(self._executor)


def end_spin_once(executor: Executor) -> None:
    """Let a `spin_once` that waits in another thread return; after `wake` alone, rclpy looks for work and waits on."""
    executor.create_task(_do_nothing)


def _do_nothing() -> None:
    pass
