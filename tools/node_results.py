"""Counts what the task nodes publish, with the times that they tell, and turns it into figures."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from node_processes import Running
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2

from lift3d_ros.bench.process_cost import ProcessCost
from lift3d_ros.msg import BevDetectionArray, PointFeaturesArray, Skeleton3DArray, StageTiming

# node: (topic of its results, their type)
RESULTS: dict[str, tuple[str, Any]] = {
    "bev_detection": ("detections", BevDetectionArray),
    "skeleton_lifting": ("skeletons", Skeleton3DArray),
    "point_features": ("features", PointFeaturesArray),
    "object_reconstruction": ("points", PointCloud2),
}


@dataclass
class Heard:
    """What `node` heard of each task node: results, latencies, inputs that gave way; `last_s` is steady time.

    Diagnostics come once a second, from the thread of the callbacks: a gap between them tells that it had to wait.
    """

    node: Node
    messages: Counter[str] = field(default_factory=Counter)
    latencies_ms: dict[str, list[float]] = field(default_factory=dict)
    stages_ms: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    replaced: Counter[str] = field(default_factory=Counter)
    gaps_s: dict[str, list[float]] = field(default_factory=dict)
    last_s: float = field(default_factory=time.monotonic)
    _reported_s: dict[str, float] = field(default_factory=dict)

    def take_diagnostics(self, message: DiagnosticArray) -> None:
        """Keep how long a node was silent; one message is of one node."""
        name, now_s = message.status[0].hardware_id if message.status else "", time.monotonic()
        if name in self._reported_s:
            self.gaps_s.setdefault(name, []).append(now_s - self._reported_s[name])
        self._reported_s[name] = now_s

    def count(self, name: str) -> None:
        """Count a result."""
        self.messages[name] += 1
        self.last_s = time.monotonic()

    def take_timing(self, name: str, message: StageTiming) -> None:
        """Keep what a node tells of a result."""
        self.latencies_ms.setdefault(name, []).append(message.total_ms)
        stages = self.stages_ms.setdefault(name, {})
        for stage, duration_ms in zip(message.stages, message.durations_ms, strict=True):
            stages.setdefault(stage, []).append(duration_ms)
        self.replaced[name] = message.dropped_sets
        self.last_s = time.monotonic()


@contextlib.contextmanager
def listening(names: list[str]) -> Iterator[Heard]:
    """Count the results of nodes while the block runs."""
    rclpy.init(args=[])
    node = rclpy.create_node("listener")
    heard = Heard(node)
    node.create_subscription(DiagnosticArray, "/diagnostics", heard.take_diagnostics, 100)
    for name in names:
        topic, kind = RESULTS[name]
        node.create_subscription(kind, f"/{name}/{topic}", lambda _, name=name: heard.count(name), 100, raw=True)
        node.create_subscription(
            StageTiming, f"/{name}/timing", lambda message, name=name: heard.take_timing(name, message), 100
        )

    def spin() -> None:
        with contextlib.suppress(ExternalShutdownException):
            executor = SingleThreadedExecutor()
            executor.add_node(node)
            executor.spin()

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        rclpy.try_shutdown()
        thread.join(5.0)


def node_figures(
    name: str, heard: Heard, process: Running | None, cost: ProcessCost | None, wall_s: float
) -> dict[str, Any]:
    """Return the figures of one node; what its process cost where it has one of its own."""
    latencies = heard.latencies_ms.get(name)
    count = heard.messages[name]
    figures = {
        "topic": f"/{name}/{RESULTS[name][0]}",
        "messages": count,
        "inputs_replaced_by_newer_ones": heard.replaced[name],
        "median_ms_from_input_to_result": round(statistics.median(latencies), 1) if latencies else None,
        "longest_s_between_diagnostics": round(max(heard.gaps_s.get(name, [0.0])), 2),
        "median_ms_of_stages": {
            stage: round(statistics.median(durations), 1) for stage, durations in heard.stages_ms.get(name, {}).items()
        },
    }
    if process is None or cost is None:
        return figures
    return {
        **figures,
        **cost_figures(cost, wall_s),
        "cpu_s_per_message": round(cost.cpu_s / count, 3) if count else None,
        "exit_status": process.process.returncode,
    }


def cost_figures(cost: ProcessCost, wall_s: float) -> dict[str, float]:
    """Return memory and processor time of a process; `cpu_share` is 1 for a whole core."""
    return {
        "peak_pss_mb": round(cost.peak_pss_bytes / 1e6, 1),
        "peak_uss_mb": round(cost.peak_uss_bytes / 1e6, 1),
        "cpu_s": round(cost.cpu_s, 2),
        "cpu_share": round(cost.cpu_s / wall_s, 3),
    }
