"""Sends what the core logs to the ROS logger of a node."""

from __future__ import annotations

import logging
from collections.abc import Callable

from rclpy.node import Node

import lift3d_ros


def bridge_logging(node: Node, on_record: Callable[[str], None]) -> None:
    """Send records of the package's loggers to `node`.

    Args:
        on_record: called with the text of each of them, in the thread that logs.
    """
    logger = logging.getLogger(lift3d_ros.__name__)
    logger.handlers[:] = [_RosLogHandler(node, on_record)]
    logger.setLevel(logging.INFO)
    logger.propagate = False


class _RosLogHandler(logging.Handler):
    def __init__(self, node: Node, on_record: Callable[[str], None]) -> None:
        super().__init__()
        self._logger, self._on_record = node.get_logger(), on_record

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        # rclpy ties a severity to each calling line, so each severity needs a line of its own.
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)
        self._on_record(text)
