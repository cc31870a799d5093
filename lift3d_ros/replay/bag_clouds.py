"""Turns a recording into sets of clouds, through the same code as the node; arrival times are log times."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from lift3d_ros.bags.cloud_messages import (
    POINT_CLOUD,
    VISION_DETECTIONS,
    cloud_boxes_from_msg,
    packed_cloud_from_msg,
)
from lift3d_ros.bags.discover import DETECTIONS
from lift3d_ros.bags.reader import BagReader
from lift3d_ros.config import setting
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.pipelines.cloud_sets import (
    TRANSFORM_HISTORY_S,
    TRANSFORM_TOLERANCE_S,
    CloudSet,
    CloudSets,
    CloudSyncConfig,
)
from lift3d_ros.replay.bag_topics import named_topic, only_topic
from lift3d_ros.replay.bag_transforms import RecordedTransforms

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordedClouds:
    """Which topics of a recording are used."""

    cloud: str = setting("", "point clouds; empty: the only topic of them")
    boxes: str = setting(
        "", "boxes of the objects to encode (lift3d_ros/BevDetectionArray or vision_msgs/Detection3DArray); empty: none"
    )


class BagClouds:
    """The clouds of one topic of a recording, with what belongs to them."""

    def __init__(
        self, reader: BagReader, topics: RecordedClouds, sync: CloudSyncConfig, output_frame: str = ""
    ) -> None:
        """Find the topics of an open recording.

        Raises:
            BagError: no clouds, several topics of them and none named, or a topic that is named is not there.
        """
        self._reader, self._sync, self._output_frame = reader, sync, output_frame
        clouds = [topic.name for topic in reader.topics_of(POINT_CLOUD)]
        self._cloud_topic = named_topic(reader, "cloud", topics.cloud, POINT_CLOUD) or only_topic(
            reader, "cloud", "point clouds", clouds, (POINT_CLOUD,)
        )
        self._boxes_topic = named_topic(reader, "boxes", topics.boxes, DETECTIONS, VISION_DETECTIONS)

    @property
    def topics(self) -> dict[str, str]:
        """What is used: input -> topic, empty where there is none."""
        return {"cloud": self._cloud_topic, "boxes": self._boxes_topic}

    @property
    def expected_sets(self) -> int:
        """About how many sets there will be."""
        driving = self._boxes_topic or self._cloud_topic
        return sum(topic.count for topic in self._reader.topics if topic.name == driving)

    def sets(self) -> Iterator[CloudSet]:
        """Yield the sets in order."""
        tree = TransformTree(TRANSFORM_HISTORY_S, TRANSFORM_TOLERANCE_S)
        sets = CloudSets(tree, self._sync, has_boxes=bool(self._boxes_topic), output_frame=self._output_frame)
        transforms = RecordedTransforms(self._reader, tree, _warn)
        wanted = [*filter(None, self.topics.values()), *transforms.topics]
        for message in self._reader.messages(wanted):
            yield from sets.expire(message.log_ns)
            if message.topic == self._cloud_topic:
                yield from sets.add_cloud(packed_cloud_from_msg(message.message, message.topic), message.log_ns)
            elif message.topic == self._boxes_topic:
                yield from sets.add_boxes(cloud_boxes_from_msg(message.message, message.topic), message.log_ns)
            else:
                transforms.add(message)
                yield from sets.transforms_added(message.log_ns)
        yield from sets.flush()
        for reason, count in sorted(sets.drops.items()):
            logger.warning("left out: %d messages (%s)", count, reason)


def _warn(problem: str) -> None:
    logger.warning("transform left out: %s", problem)
