"""Publishes the health of a node on /diagnostics, once a second."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node


class Level(IntEnum):
    """Severity, with the numbers of diagnostic_msgs."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True)
class Status:
    """One line of a diagnostics viewer: level, sentence and details."""

    level: Level
    message: str
    values: Mapping[str, str] = field(default_factory=dict)


class Diagnostics:
    """Holds the newest status of each part of a node; may be set from any thread."""

    def __init__(self, node: Node) -> None:
        """Publish for `node`; call :meth:`publish` from its timer."""
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._statuses: dict[str, Status] = {}
        self._lock = threading.Lock()

    def set(self, part: str, status: Status) -> None:
        """Set the status of one part, for example ``cameras``."""
        with self._lock:
            self._statuses[part] = status

    def forget(self, part: str) -> None:
        """Stop publishing the status of a part."""
        with self._lock:
            self._statuses.pop(part, None)

    def publish(self) -> None:
        """Publish the newest status of every part."""
        with self._lock:
            statuses = dict(self._statuses)
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        name = self._node.get_fully_qualified_name().lstrip("/")
        for part, status in statuses.items():
            message.status.append(
                DiagnosticStatus(
                    level=bytes([status.level]),
                    name=f"{name}: {part}",
                    message=status.message,
                    hardware_id=name,
                    values=[KeyValue(key=key, value=value) for key, value in status.values.items()],
                )
            )
        self._publisher.publish(message)


def steady_clock() -> Clock:
    """Return a clock for watchdogs: it goes on while simulated time stands still."""
    return Clock(clock_type=ClockType.STEADY_TIME)
