"""Runs a node in a process of its own: middleware, executor, interrupts, exit status."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from lift3d_ros.errors import ConfigError, Lift3dError
from lift3d_ros.launching import BUILD_ONLY
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


def build_engines(node: PipelineNode[Any, Any, Any]) -> int:
    """Open the pipeline of a node, which makes what it needs and keeps it in the cache folder, and nothing else.

    Returns:
        The exit status: 0, or 1 where the configuration is refused or an engine cannot be made.
    """
    node.trigger_configure()
    problem = node.refusal
    if problem is None:
        node.config = _waiting_for_engines(node.config)
        print(f"{node.get_name()}: building what '{node.config.model}' needs", flush=True)
        try:
            notice = node.open_pipeline().notice
        except Exception as error:  # of whatever kind the runtime raises
            problem = error
        else:
            problem = Lift3dError(notice) if notice else None
    if problem is not None:
        kind = "" if isinstance(problem, Lift3dError) else f"{type(problem).__name__}: "
        print(f"{node.get_name()}: error: {kind}{problem}", file=sys.stderr)
        return 1
    print(f"{node.get_name()}: everything is built", flush=True)
    return 0


def _waiting_for_engines(config: Any) -> Any:
    """Return the configuration of a node without serving from another backend meanwhile."""
    if not getattr(config.engine, "builds_beside", False):
        return config
    return dataclasses.replace(config, engine=dataclasses.replace(config.engine, builds_beside=False))


def run_node(make_node: Callable[[], PipelineNode[Any, Any, Any]]) -> int:
    """Run a node until it is interrupted and return the exit status: 2 where it refuses its configuration.

    With ``--build-only`` among the arguments of the process, see :func:`build_engines` instead.
    """
    try:
        start_ros()
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        node = make_node()
    except KeyboardInterrupt:
        rclpy.try_shutdown()
        return 0
    except Exception:
        if rclpy.ok():
            raise
        return 0  # it was interrupted, which takes the middleware away from under what is being made
    try:
        if BUILD_ONLY in sys.argv:
            return build_engines(node)
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
