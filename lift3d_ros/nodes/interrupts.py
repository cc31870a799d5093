"""Ends an executor between two callbacks when the process is interrupted.

rclpy by itself shuts the middleware down under whatever is running, and Python raises KeyboardInterrupt wherever it
is: in the middle of a message that is being converted too, where it is taken for a fault of that message or crashes.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType

from rclpy.executors import Executor
from rclpy.signals import SignalHandlerOptions

# What rclpy.init() takes where this module handles the signals.
NOT_BY_RCLPY = SignalHandlerOptions.NO
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Takes SIGINT and SIGTERM while it is entered; for the main thread.

    The first one sets `is_asked` and wakes the executor that is spinning. Later ones raise KeyboardInterrupt, so that
    no callback that hangs can keep the process.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._count = 0
        self._executor: Executor | None = None
        self._is_raised = False

    @property
    def is_asked(self) -> bool:
        """Whether the process was interrupted."""
        return self._asked.is_set()

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
        self._end.close()
        self._watcher.join()
        self._signalled.close()

    def spin(self, executor: Executor) -> None:
        """Execute callbacks until an interrupt."""
        self._executor = executor
        while not self._asked.is_set():
            executor.spin_once()

    @contextlib.contextmanager
    def raised(self) -> Iterator[None]:
        """Raise KeyboardInterrupt at an interrupt, for long work outside of rclpy."""
        self._is_raised = True
        try:
            yield
        finally:
            self._is_raised = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._is_raised or self._count > 1:
            raise KeyboardInterrupt

    def _watch(self) -> None:
        while received := self._signalled.recv(1):
            if received[0] in _SIGNALS:
                self._asked.set()
                if self._executor is not None:
                    self._executor.wake()
