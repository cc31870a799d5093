"""Reads the transforms of a recording into a tree, in step with its other messages."""

from __future__ import annotations

from collections.abc import Callable

from lift3d_ros.bags.discover import TF_MESSAGE, TF_MESSAGE_ROS1
from lift3d_ros.bags.messages import add_transforms
from lift3d_ros.bags.reader import BagMessage, BagReader
from lift3d_ros.geometry.transform_tree import TransformTree


class RecordedTransforms:
    """The transforms of a recording; those of mountings are known at once, since they may be recorded late.

    Args:
        topics: of the other transforms, whose messages belong to :meth:`add`.
        is_recorded: whether there are any.
    """

    def __init__(self, reader: BagReader, tree: TransformTree, on_problem: Callable[[str], None]) -> None:
        """Add the static transforms of an open recording to `tree`."""
        self._tree, self._on_problem = tree, on_problem
        self._reported: set[tuple[str, str]] = set()
        names = [topic.name for topic in reader.topics_of(TF_MESSAGE, TF_MESSAGE_ROS1)]
        static = [name for name in names if name.endswith("tf_static")]
        self.is_recorded = bool(names)
        self.topics = [name for name in names if name not in static]
        for message in reader.messages(static) if static else ():
            self._add(message, is_static=True)

    def add(self, message: BagMessage) -> None:
        """Add the transforms of a message of `topics`."""
        self._add(message, is_static=False)

    def _add(self, message: BagMessage, *, is_static: bool) -> None:
        add_transforms(
            self._tree,
            message.message,
            message.topic,
            is_static=is_static,
            on_problem=self._on_problem,
            reported=self._reported,
        )
