"""Subscriptions of point clouds, with boxes of objects and transforms, assembled into sets.

Everything here runs in the executor's thread; clouds are handed on as they came and read in the worker.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import PointCloud2

from lift3d_ros.bags.cloud_messages import cloud_boxes_from_msg, packed_cloud_from_msg
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.nodes.boxes_topic import boxes_message
from lift3d_ros.nodes.diagnostics import Level, Status, steady_clock
from lift3d_ros.nodes.inputs import SILENT_S, silence_text
from lift3d_ros.nodes.point_features_config import PointFeaturesNodeConfig
from lift3d_ros.nodes.subscriptions import Subscriptions
from lift3d_ros.nodes.transforms import TransformListener
from lift3d_ros.pipelines.cloud_sets import TRANSFORM_HISTORY_S, TRANSFORM_TOLERANCE_S, CloudSet, CloudSets

_EXPIRE_PERIOD_S = 0.02
VISION_BOXES = "Detection3DArray"
_CLOUD, _BOXES = "cloud", "boxes"


class CloudInputs:
    """The inputs of the point_features node; calls `on_set` with each assembled set."""

    def __init__(
        self,
        node: Node,
        config: PointFeaturesNodeConfig,
        on_set: Callable[[CloudSet], None],
        on_problem: Callable[[str], None],
    ) -> None:
        """Subscribe; call :meth:`close` to stop."""
        self._node, self._on_set, self._on_problem = node, on_set, on_problem
        topics = config.topics
        self._kinds: dict[str, type[Any]] = {_CLOUD: PointCloud2}
        if topics.boxes:
            self._kinds[_BOXES] = boxes_message(topics.boxes_type, VISION_BOXES)
        self._given: dict[str, str] = {name: getattr(topics, name) for name in self._kinds}
        self._topics = {name: str(node.resolve_topic_name(given)) for name, given in self._given.items()}
        self.tree = TransformTree(TRANSFORM_HISTORY_S, TRANSFORM_TOLERANCE_S)
        self._sets = CloudSets(self.tree, config.sync, has_boxes=bool(topics.boxes), output_frame=config.output_frame)
        self._last_arrival_s: dict[str, float] = {}
        self._counts: Counter[str] = Counter()
        self._reported = (time.monotonic(), Counter[str](), Counter[str]())
        self._seen_resets, self._last_size = 0, "no cloud yet"
        self._listener = TransformListener(node, self.tree, self._on_transforms, on_problem)
        self._subscriptions = Subscriptions(node, config.qos.reliability, config.qos.depth, on_problem)
        takes = {_CLOUD: self._take_cloud, _BOXES: self._take_boxes}
        for name, kind in self._kinds.items():
            self._subscriptions.add(kind, self._given[name], takes[name])
        self._timer = node.create_timer(_EXPIRE_PERIOD_S, self._expire, clock=steady_clock())

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()
        self._node.destroy_timer(self._timer)
        self._subscriptions.close()

    def reset(self) -> None:
        """Forget what waits; transforms start afresh by themselves when their stamps jump back."""
        self._sets.reset()

    def waiting_for(self) -> list[str]:
        """Return what has not arrived yet, one phrase each."""
        silent = [f"{name} on {self._topics[name]}" for name in self._kinds if self._silence_s(name) > SILENT_S]
        return [*silent, *self._subscriptions.mismatches.values(), *self._other_types()]

    def adapt_to_publishers(self) -> None:
        """Subscribe again to a cloud that was published once, latched, such as a map."""
        if not self._counts[_CLOUD]:
            self._subscriptions.add_latched(PointCloud2, self._given[_CLOUD], self._take_cloud)

    def status(self) -> Status:
        """Return the health of the inputs since the last call."""
        since_s, before, dropped_before = self._reported
        now_s, drops = time.monotonic(), self._sets.drops
        self._reported = now_s, Counter(self._counts), drops
        problems = [*self._subscriptions.mismatches.values(), *self._other_types()]
        silent = [name for name in self._kinds if self._silence_s(name) > SILENT_S]
        for name in silent:
            topic = self._topics[name]
            problems.append(f"no {name} on {topic}: {silence_text(self._node, topic, self._silence_s(name))}")
        is_error, newly_dropped = bool(problems), drops - dropped_before
        if newly_dropped["stamp is 0"]:
            problems.append("messages with stamp 0 are dropped; set header.stamp in their publisher")
        if newly_dropped["boxes without a cloud"]:
            problems.append(
                "boxes were dropped: no cloud within sync.window_s of them, or it was no longer kept (sync.max_clouds)"
            )
        elapsed_s = max(now_s - since_s, 1e-6)
        values = {f"{name} rate": f"{(self._counts[name] - before[name]) / elapsed_s:.1f} Hz" for name in self._kinds}
        values["last cloud"] = self._last_size
        values["clock resets"] = str(self._sets.collector.resets)
        values |= {f"dropped: {reason}": str(count) for reason, count in sorted(drops.items())}
        level = Level.ERROR if is_error else Level.WARN if problems else Level.OK
        return Status(level, "; ".join(problems) or "clouds arrive", values)

    def _silence_s(self, name: str) -> float:
        """Return how long an input has been silent; infinite before its first message."""
        return time.monotonic() - self._last_arrival_s.get(name, -math.inf)

    def _other_types(self) -> list[str]:
        """Return a sentence for each topic on which only messages of another type are published."""
        sentences = []
        for name, kind in self._kinds.items():
            wanted = f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
            offered = {offer.topic_type for offer in self._node.get_publishers_info_by_topic(self._given[name])}
            if offered and wanted not in offered:
                remedy = " or set topics.boxes_type" if name == _BOXES else ""
                sentences.append(
                    f"topic '{self._topics[name]}' carries {', '.join(sorted(offered))}; expected {wanted}. Name "
                    f"another one in topics.{name}{remedy}"
                )
        return sentences

    def _note_arrival(self, name: str) -> None:
        self._counts[name] += 1
        self._last_arrival_s[name] = time.monotonic()

    def _take_cloud(self, message: Any) -> None:
        self._note_arrival(_CLOUD)
        cloud = packed_cloud_from_msg(message, self._topics[_CLOUD])
        self._last_size = f"{cloud.height * cloud.width} points in '{cloud.frame_id}'"
        self._hand_on(self._sets.add_cloud(cloud, time.monotonic_ns()))

    def _take_boxes(self, message: Any) -> None:
        self._note_arrival(_BOXES)
        boxes = cloud_boxes_from_msg(message, self._topics[_BOXES])
        self._hand_on(self._sets.add_boxes(boxes, time.monotonic_ns()))

    def _on_transforms(self) -> None:
        self._hand_on(self._sets.transforms_added(time.monotonic_ns()))

    def _expire(self) -> None:
        self._hand_on(self._sets.expire(time.monotonic_ns()))

    def _hand_on(self, sets: list[CloudSet]) -> None:
        resets = self._sets.collector.resets
        if resets > self._seen_resets:
            self._seen_resets = resets
            self._on_problem("stamps jump back: clouds and boxes that wait are dropped, starting afresh")
        for item in sets:
            self._on_set(item)
