"""Follows the transforms and the odometry of a recording while its messages go by."""

from __future__ import annotations

from collections.abc import Callable

from lift3d_ros.bags.discover import BagStreams
from lift3d_ros.bags.messages import add_transforms, ego_motion_from_msg
from lift3d_ros.bags.reader import BagMessage
from lift3d_ros.errors import CalibrationError, Lift3dError, TransformError
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.types import EgoMotion


class BagMotion:
    """The transform tree of a recording at the message that was taken last."""

    def __init__(
        self,
        streams: BagStreams,
        on_problem: Callable[[str], None] = lambda _: None,
        on_bad_pose: Callable[[str, Lift3dError], None] = lambda *_: None,
    ) -> None:
        """Start with an empty tree.

        Args:
            on_problem: called with a sentence for the first unusable transform of each pair of frames.
            on_bad_pose: called with topic and error for each pose of an Odometry topic that cannot be used.
        """
        self.tree = TransformTree()
        self._streams = streams
        self._on_problem, self._on_bad_pose = on_problem, on_bad_pose
        self._reported: set[tuple[str, str]] = set()

    @property
    def newest_ns(self) -> int | None:
        """The newest time at which the ego pose is known; None before it is known at all."""
        return self.tree.newest_common_stamp_ns(self._streams.world_frame or "", self._streams.base_frame)

    def ego_at(self, stamp_ns: int) -> EgoMotion | None:
        """Return the ego pose at a time, None where it is not known."""
        world_frame = self._streams.world_frame
        if world_frame is None:
            return None
        try:
            return EgoMotion(stamp_ns, self.tree.lookup(world_frame, self._streams.base_frame, stamp_ns), world_frame)
        except TransformError:
            return None

    def take(self, message: BagMessage) -> bool:
        """Add transforms or odometry to the tree; False for other messages."""
        if message.topic in (*self._streams.tf_topics, *self._streams.tf_static_topics):
            self._add_transforms(message, is_static=message.topic in self._streams.tf_static_topics)
            return True
        if message.topic == self._streams.odometry_topic:
            try:
                motion, _ = ego_motion_from_msg(message.message, message.topic)
                self.tree.add(motion.world_frame, self._streams.base_frame, motion.stamp_ns, motion.T_world_base)
            except (TransformError, CalibrationError) as error:
                self._on_bad_pose(message.topic, error)
            return True
        return False

    def _add_transforms(self, message: BagMessage, *, is_static: bool) -> None:
        add_transforms(
            self.tree,
            message.message,
            message.topic,
            is_static=is_static,
            on_problem=self._on_problem,
            reported=self._reported,
            # Odometry decides where the base is; a second parent would take it away again with each message.
            except_child=None if self._streams.odometry_topic is None else self._streams.base_frame,
        )
