"""An interrupt ends a process at once, also where nothing else would wake it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from lift3d_ros.nodes.interrupts import NOT_BY_RCLPY, Interrupts

pytestmark = pytest.mark.ros


@pytest.fixture
def executor() -> Iterator[SingleThreadedExecutor]:
    """An executor with a node that has nothing to do."""
    rclpy.init(args=[], signal_handler_options=NOT_BY_RCLPY)
    node, executor = Node("idle", enable_rosout=False, start_parameter_services=False), SingleThreadedExecutor()
    executor.add_node(node)
    yield executor
    node.destroy_node()
    rclpy.try_shutdown()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_wait_of_a_node_without_timers(
    number: signal.Signals, executor: SingleThreadedExecutor
) -> None:
    with Interrupts(60.0) as interrupts:
        killer = threading.Timer(0.3, os.kill, (os.getpid(), number))
        safety = threading.Timer(10.0, executor.shutdown)
        start_s = time.monotonic()
        killer.start()
        safety.start()
        interrupts.spin(executor)
        took_s = time.monotonic() - start_s
        safety.cancel()
    assert interrupts.is_asked
    assert took_s < 5.0


def test_an_interrupt_before_long_work_keeps_it_from_beginning() -> None:
    begun = []
    with Interrupts(60.0) as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt), interrupts.raised():
            begun.append(True)
    assert begun == []


def test_an_interrupt_that_is_passed_on_by_several_is_one() -> None:
    with Interrupts(60.0) as interrupts:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        assert interrupts.is_asked


def test_an_interrupt_that_comes_when_the_end_takes_too_long_is_raised() -> None:
    with Interrupts(0.1):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_long_work_is_stopped_once_however_often_it_is_interrupted() -> None:
    with Interrupts(60.0) as interrupts:
        with pytest.raises(KeyboardInterrupt), interrupts.raised():
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_a_process_that_a_library_forked_does_not_keep_the_node_from_ending() -> None:
    reading, writing = os.pipe()
    start_s = time.monotonic()
    with Interrupts(60.0):
        if (child := os.fork()) == 0:
            os.close(writing)
            os.read(reading, 1)  # until the parent closes its end
            os._exit(0)
        safety = threading.Timer(10.0, os.kill, (child, signal.SIGKILL))
        safety.start()
    took_s = time.monotonic() - start_s
    safety.cancel()
    os.close(writing)
    os.close(reading)
    os.waitpid(child, 0)
    assert took_s < 5.0
