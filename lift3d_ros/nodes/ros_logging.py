"""Sends what the core logs to the ROS logger of the node that it works for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from rclpy.logging import get_logger
from rclpy.node import Node

import lift3d_ros

_OF_THREAD = threading.local()


class NodeLog:
    """Receives the records of the package's loggers that belong to one node.

    A process may hold several nodes. Records of a thread that says for whom it works go to that node; all others go to
    the only node, or, where there are several, to the logger of the package.
    """

    def __init__(self, node: Node, on_record: Callable[[str], None]) -> None:
        """Begin to receive.

        Args:
            on_record: called with the text of each record, in the thread that logs.
        """
        self.on_record = on_record
        self.ros_logger = node.get_logger()
        logger = logging.getLogger(lift3d_ros.__name__)
        present = [handler for handler in logger.handlers if isinstance(handler, _RosLogHandler)]
        self._handler = present[0] if present else _RosLogHandler()
        self._handler.logs.append(self)
        logger.handlers[:] = [self._handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False

    def receive_this_thread(self) -> None:
        """Receive what the calling thread logs from now on."""
        _OF_THREAD.log = self

    def close(self) -> None:
        """Stop receiving; safe to call twice."""
        if self in self._handler.logs:
            self._handler.logs.remove(self)


class _RosLogHandler(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.logs: list[NodeLog] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        log, logs = getattr(_OF_THREAD, "log", None), tuple(self.logs)  # a node may close meanwhile
        if log not in logs:
            log = logs[0] if len(logs) == 1 else None
        logger = log.ros_logger if log is not None else get_logger(lift3d_ros.__name__)
        # rclpy ties a severity to each calling line, so each severity needs a line of its own.
        if record.levelno >= logging.ERROR:
            logger.error(text)
        elif record.levelno >= logging.WARNING:
            logger.warning(text)
        elif record.levelno >= logging.INFO:
            logger.info(text)
        else:
            logger.debug(text)
        if log is not None:
            log.on_record(text)
