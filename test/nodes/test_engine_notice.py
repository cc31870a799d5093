"""Diagnostics say when a network is served from a fallback, and when no longer."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from ros_system import Observer

from lift3d_ros.config import group, setting
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.nodes.base import PipelineNode
from lift3d_ros.nodes.diagnostics import Level, Status
from lift3d_ros.nodes.jobs import Job

pytestmark = pytest.mark.ros


@dataclass(frozen=True)
class Sync:
    drop: bool = setting(True, "newest item wins")


@dataclass(frozen=True)
class Config:
    autostart: bool = setting(True, "as all nodes have it")
    sync: Sync = group(Sync)


class Inputs:
    """Nothing ever arrives."""

    def __init__(self) -> None:
        self.tree = TransformTree(1.0)

    def close(self) -> None: ...

    def reset(self) -> None: ...

    def adapt_to_publishers(self) -> None: ...

    def waiting_for(self) -> list[str]:
        return []

    def status(self) -> Status:
        return Status(Level.OK, "all well")


class Doubling:
    """A pipeline whose engine says what the test lets it say."""

    notice = "serving with onnxruntime while the engine is built"

    def prepare(self, item: int, /) -> int:
        return item

    def infer(self, prepared: int, /) -> int:
        return 2 * prepared

    def reset(self) -> None: ...


class DoublingNode(PipelineNode[int, int, int]):
    def __init__(self) -> None:
        super().__init__("doubling", Config)

    def check(self) -> None: ...

    def open_pipeline(self) -> Doubling:
        return Doubling()

    def open_inputs(self) -> Inputs:
        return Inputs()

    def open_outputs(self) -> None: ...

    def publish_result(self, job: Job[int], prepared: int, result: int) -> None: ...


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
    logger = logging.getLogger("lift3d_ros")
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    observer.listen("/diagnostics", DiagnosticArray)
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
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)
