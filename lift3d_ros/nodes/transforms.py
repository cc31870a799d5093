"""Listens to /tf and /tf_static and keeps them in a transform tree; nothing here ever waits for a transform."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from tf2_msgs.msg import TFMessage

from lift3d_ros.bags.messages import add_transforms
from lift3d_ros.geometry.transform_tree import TransformTree

# Of motion every sample counts, not the newest one: poses are interpolated.
MOTION_DEPTH = 100


class TransformListener:
    """Feeds a transform tree from the two topics."""

    def __init__(
        self,
        node: Node,
        tree: TransformTree,
        on_moving: Callable[[], None],
        on_problem: Callable[[str], None],
        except_child: str | None = None,
    ) -> None:
        """Subscribe; call :meth:`close` to stop.

        Args:
            on_moving: called after each message of /tf.
            on_problem: called with a sentence for each transform that cannot be used.
            except_child: a frame whose place comes from elsewhere; its transforms are left out.
        """
        self._node, self._tree = node, tree
        self._on_moving, self._on_problem, self._except_child = on_moving, on_problem, except_child
        moving = QoSProfile(depth=MOTION_DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT)
        static = QoSProfile(depth=MOTION_DEPTH, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._subscriptions: list[Subscription] = [
            node.create_subscription(TFMessage, "/tf", self._take_moving, moving),
            node.create_subscription(TFMessage, "/tf_static", self._take_static, static),
        ]

    def close(self) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def _take_moving(self, message: TFMessage) -> None:
        self._add(message, "/tf", is_static=False)
        self._on_moving()

    def _take_static(self, message: TFMessage) -> None:
        self._add(message, "/tf_static", is_static=True)

    def _add(self, message: TFMessage, topic: str, *, is_static: bool) -> None:
        add_transforms(
            self._tree,
            message,
            topic,
            is_static=is_static,
            on_problem=self._on_problem,
            except_child=self._except_child,
        )
