"""Diagnostics say when a network is served from a fallback, and when no longer."""

from __future__ import annotations

import time
from typing import Any

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from doubling_node import Doubling, DoublingNode, log_of_the_package_kept
from ros_system import Observer

pytestmark = pytest.mark.ros


def spin_until_told(node: DoublingNode, observer: Observer, message: str) -> Any:
    """Return the status of the engine that says `message`."""
    end_s = time.monotonic() + 60.0
    while time.monotonic() < end_s:
        rclpy.spin_once(node, timeout_sec=0.05)
        for array in list(observer.received["/diagnostics"]):
            for status in array.status:
                if status.name == "doubling: engine" and status.message == message:
                    return status
    raise AssertionError(f"no status '{message}'")


def test_diagnostics_tell_of_the_fallback_until_the_engine_serves(observer: Observer) -> None:
    observer.listen("/diagnostics", DiagnosticArray)
    with log_of_the_package_kept():
        node = DoublingNode()
        try:
            node.trigger_configure()
            node.trigger_activate()
            assert spin_until_told(node, observer, Doubling.notice).level == b"\x01"
            assert node.pipeline is not None
            node.pipeline.notice = ""  # type: ignore[misc]
            assert spin_until_told(node, observer, "serving").level == b"\x00"
            node.trigger_deactivate()
            assert node.pipeline is None
        finally:
            node.stop(1.0)
            node.destroy_node()
