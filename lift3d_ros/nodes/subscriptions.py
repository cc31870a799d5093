"""Subscriptions whose silence has a reason: publishers of another quality of service, and latched ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from lift3d_ros.nodes.qos_events import QoSRequestedIncompatibleQoSInfo, SubscriptionEventCallbacks


class Subscriptions:
    """The subscriptions of one node; `mismatches` has a sentence for each topic with an incompatible publisher."""

    def __init__(self, node: Node, reliability: str, depth: int, on_problem: Callable[[str], None]) -> None:
        """Subscribe for `node`; call :meth:`close` to stop."""
        self._node, self._reliability, self._depth, self._on_problem = node, reliability, depth, on_problem
        self._subscriptions: list[Subscription] = []
        self._latched: set[str] = set()
        self.mismatches: dict[str, str] = {}

    def add(
        self, kind: type[Any], topic: str, callback: Callable[[Any], None], depth: int | None = None
    ) -> Subscription:
        """Subscribe to a topic.

        Args:
            depth: messages kept of it, where that is another number than of the others.
        """
        profile = QoSProfile(depth=depth or self._depth, reliability=ReliabilityPolicy[self._reliability.upper()])
        events = SubscriptionEventCallbacks(
            incompatible_qos=partial(self._on_mismatch, topic), use_default_callbacks=False
        )

        def take(message: Any) -> None:
            self.mismatches.pop(topic, None)
            callback(message)

        subscription = self._node.create_subscription(kind, topic, take, profile, event_callbacks=events)
        self._subscriptions.append(subscription)
        return subscription

    def remove(self, subscription: Subscription) -> None:
        """Stop listening to one topic, for example to subscribe to it with another type."""
        self._subscriptions.remove(subscription)
        self._node.destroy_subscription(subscription)

    def add_latched(self, kind: type[Any], topic: str, callback: Callable[[Any], None]) -> None:
        """Subscribe once more where a publisher keeps its last message: a volatile subscription misses that."""
        if topic in self._latched:
            return
        offers = self._node.get_publishers_info_by_topic(topic)
        if any(offer.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for offer in offers):
            self._latched.add(topic)
            profile = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            self._subscriptions.append(self._node.create_subscription(kind, topic, callback, profile))

    def close(self) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def _on_mismatch(self, topic: str, event: QoSRequestedIncompatibleQoSInfo) -> None:
        policy = QoSPolicyKind(event.last_policy_kind).name.lower()
        self.mismatches[topic] = (
            f"topic '{topic}': a publisher offers another {policy} than this node requests (qos.reliability is "
            f"'{self._reliability}'), so nothing arrives from it; set qos.reliability to best_effort, or change the "
            "publisher"
        )
        self._on_problem(self.mismatches[topic])
