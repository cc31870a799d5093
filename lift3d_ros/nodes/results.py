"""What every task node says about a result: how long its stages took, and how it went."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile

from lift3d_ros.msg import StageTiming
from lift3d_ros.nodes.diagnostics import Level, Status
from lift3d_ros.nodes.messages import timing_msg
from lift3d_ros.types import ModelIdentity


@dataclass(frozen=True)
class ResultTiming:
    """Seconds of each stage, from the release of the item to its result, and from the newest input to its result."""

    stages_s: Mapping[str, float]
    total_s: float
    latency_s: float


class TimingOutput:
    """Publishes `~/timing`."""

    def __init__(self, node: LifecycleNode) -> None:
        """Create the publisher."""
        self._node = node
        self._publisher = node.create_lifecycle_publisher(StageTiming, "~/timing", QoSProfile(depth=5))

    def publish(
        self, stamp_ns: int, stages_s: Mapping[str, float], *, released_s: float, newest_ns: int, dropped: int
    ) -> ResultTiming:
        """Publish the timing of a result that is finished now, and return it.

        Args:
            released_s: steady time at which its item was handed to the worker.
            newest_ns: stamp of its newest input.
            dropped: items that gave way so far.
        """
        total_s = time.monotonic() - released_s
        latency_s = (self._node.get_clock().now().nanoseconds - newest_ns) * 1e-9
        self._publisher.publish(timing_msg(stamp_ns, stages_s, total_s, latency_s, dropped))
        return ResultTiming(stages_s, total_s, latency_s)


def running_status(
    model: ModelIdentity, timing: ResultTiming, remarks: Sequence[str], values: Mapping[str, str], *, things: str
) -> Status:
    """Return the status of a pipeline that gave a result.

    Args:
        remarks: what is not as it should be; any of them makes the status a warning.
        values: what this method reports.
        things: what the results are called, in the plural.
    """
    untrained = [] if model.is_trained else [f"untrained weights: the {things} mean nothing"]
    sentences = [*remarks, *untrained]
    everything = {
        "model": model.description,
        "weights": model.weights_sha256,
        "backend": model.backend,
        **values,
        "total": f"{timing.total_s * 1e3:.1f} ms",
        "latency": f"{timing.latency_s * 1e3:.1f} ms",
        **{f"stage {name}": f"{seconds * 1e3:.1f} ms" for name, seconds in timing.stages_s.items()},
    }
    return Status(Level.WARN if sentences else Level.OK, "; ".join(sentences) or "running", everything)
