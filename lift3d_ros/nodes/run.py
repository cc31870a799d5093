"""Runs a node in a process of its own: middleware, executor, interrupts, exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from lift3d_ros.errors import ConfigError
from lift3d_ros.nodes.base import LAST_RESULT_S, PipelineNode


def start_ros() -> None:
    """Start the middleware with the arguments of this process.

    Raises:
        ConfigError: it does not understand them.
    """
    try:
        rclpy.init(args=sys.argv)
    except RuntimeError as error:
        raise ConfigError(
            f"the ROS arguments cannot be used: {' '.join(str(error).split())}. A text that starts with {{ or [ needs "
            "quotes that reach the program: -p 'topics.image:=\"{camera}/image_raw\"'"
        ) from None


def run_node(make_node: Callable[[], PipelineNode[Any, Any, Any]]) -> int:
    """Run a node until it is interrupted and return the exit status: 2 where it refuses its configuration."""
    try:
        start_ros()
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    node = make_node()
    try:
        if node.is_autostarted:
            node.trigger_configure()
            if node.refusal is None:
                node.trigger_activate()
            if node.refusal is not None:
                print(f"{node.get_name()}: error: {node.refusal}", file=sys.stderr)
                return 2
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.stop(LAST_RESULT_S)
        node.destroy_node()
        rclpy.try_shutdown()
    if node.has_abandoned_worker:
        # It is in native code, and a Python that ends would be torn down under it: that aborts the process.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0
