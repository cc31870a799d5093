"""Runs nodes in a process of their own: middleware, executor, interrupts, exit status."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.utilities import remove_ros_args

from lift3d_ros.errors import ConfigError, Lift3dError
from lift3d_ros.launching import BUILD_ONLY
from lift3d_ros.nodes.base import LAST_RESULT_S, PipelineNode
from lift3d_ros.nodes.interrupts import NOT_BY_RCLPY, Interrupts

AnyNode = PipelineNode[Any, Any, Any]
INTERRUPTED = 130
# Nodes end within it by themselves. launch terminates what runs five seconds after it was interrupted, and kills later.
_PATIENCE_S = LAST_RESULT_S + 1.0


def start_ros() -> None:
    """Start the middleware with the arguments of this process.

    Raises:
        ConfigError: it does not understand them.
    """
    try:
        rclpy.init(args=sys.argv, signal_handler_options=NOT_BY_RCLPY)
    except RuntimeError as error:
        raise _unusable_arguments(error) from None


def own_arguments() -> list[str]:
    """Return the arguments of this process without those of ROS.

    Raises:
        ConfigError: ROS does not understand its own.
    """
    try:
        return list(remove_ros_args(sys.argv)[1:])
    except RuntimeError as error:
        raise _unusable_arguments(error) from None


def _unusable_arguments(error: RuntimeError) -> ConfigError:
    return ConfigError(
        f"the ROS arguments cannot be used: {' '.join(str(error).split())}. A text that starts with {{ or [ needs "
        "quotes that reach the program: -p 'topics.image:=\"{camera}/image_raw\"'"
    )


def build_engines(node: AnyNode) -> int:
    """Open the pipeline of a node, which makes what it needs and keeps it in the cache folder, and nothing else.

    Returns:
        The exit status: 0, or 1 where the configuration is refused or an engine cannot be made.
    """
    node.log.receive_this_thread()
    node.trigger_configure()
    problem: Exception | None = node.refusal
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


def run_process(makers: Sequence[Callable[[], AnyNode]]) -> NoReturn:
    """Run nodes until they are interrupted, and end the process; see :func:`run_nodes`.

    Python itself is not wound up: a worker that is still in native code, or a thread of a library, would have it torn
    down under it, which crashes the process.
    """
    try:
        status = run_nodes(makers)
    except KeyboardInterrupt:  # while the nodes were being stopped
        status = INTERRUPTED
    except Exception:  # Python would print it, too, and then be wound up
        traceback.print_exc()
        status = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # who reads may be gone
            stream.flush()
    os._exit(status)


def run_nodes(makers: Sequence[Callable[[], AnyNode]]) -> int:
    """Run nodes until they are interrupted and return the exit status: 2 where one refuses its configuration.

    With ``--build-only`` among the arguments of the process, see :func:`build_engines` instead.
    """
    nodes: list[AnyNode] = []
    with Interrupts(_PATIENCE_S) as interrupts:
        try:
            start_ros()
            return _run(makers, nodes, interrupts)
        except ConfigError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return INTERRUPTED
        finally:
            _end(nodes)


def _run(makers: Sequence[Callable[[], AnyNode]], nodes: list[AnyNode], interrupts: Interrupts) -> int:
    """Make the nodes, adding each to `nodes` at once, run them, and return the exit status."""
    try:
        for make in makers:
            nodes.append(make())  # noqa: PERF401 - those that are made must be ended where the next one fails
    except RuntimeError as error:
        if "parse ROS arguments" in str(error):  # those of one node alone
            raise _unusable_arguments(error) from None
        raise
    if BUILD_ONLY in sys.argv:
        with interrupts.raised():
            return max([build_engines(node) for node in nodes])
    if interrupts.is_asked:  # the workers would begin to open engines
        return 0
    if (refusal := _start(nodes)) is not None:
        print(refusal, file=sys.stderr)
        return 2
    # Callbacks only hand items on, so one thread does for all nodes; more threads would wait for each other.
    executor = SingleThreadedExecutor()
    for node in nodes:
        executor.add_node(node)
    interrupts.spin(executor)
    return 0


def _start(nodes: Sequence[AnyNode]) -> str | None:
    """Start the nodes that start by themselves, none of them before all are configured; return what is refused."""
    name, count = Counter(node.get_fully_qualified_name() for node in nodes).most_common(1)[0]
    if count > 1:
        return f"error: {count} nodes of one process are called {name}; rename one alone: -r OLD:__node:=NEW"
    starting = [node for node in nodes if node.is_autostarted]
    for transition in ("trigger_configure", "trigger_activate"):
        for node in starting:
            getattr(node, transition)()
            if node.refusal is not None:
                return f"{node.get_name()}: error: {node.refusal}"
    return None


def _end(nodes: Sequence[AnyNode]) -> None:
    """Stop all nodes at the same time, and free what they hold."""
    for node in nodes:
        node.ask_to_stop()
    end_s = time.monotonic() + LAST_RESULT_S
    for node in nodes:
        node.stop(max(0.0, end_s - time.monotonic()))
    for node in nodes:
        node.destroy_node()
    rclpy.try_shutdown()
