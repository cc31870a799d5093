"""Turns a recording into sets of keypoints, through the same code as the node; arrival times are log times."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from lift3d_ros.bags.discover import CAMERA_INFO, DETECTIONS, IMAGE
from lift3d_ros.bags.keypoint_messages import (
    KEYPOINTS,
    YOLO_DETECTIONS,
    keypoints_from_msg,
    keypoints_from_yolo_msg,
    stamped_boxes_from_msg,
)
from lift3d_ros.bags.messages import image_from_msg
from lift3d_ros.bags.reader import BagMessage, BagReader, BagTopic
from lift3d_ros.config import setting
from lift3d_ros.errors import BagError, ImageError, TransformError, nearest_name_hint
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.pipelines.keypoint_sets import (
    TRANSFORM_HISTORY_S,
    TRANSFORM_TOLERANCE_S,
    KeypointInputConfig,
    KeypointSet,
    KeypointSets,
    KeypointSyncConfig,
    StampedKeypoints,
)
from lift3d_ros.replay.bag_topics import calibration_in_the_frame_of, named_topic, only_topic, recorded_camera
from lift3d_ros.replay.bag_transforms import RecordedTransforms

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordedTopics:
    """Which topics of a recording are used."""

    keypoints: str = setting("", "2D keypoints; empty: the only topic of them")
    camera_info: str = setting("", "calibration; empty: the one in the frame of the keypoints, else none")
    depth: str = setting("", "depth pictures registered to the pictures of the keypoints, for scale; empty: none")
    boxes: str = setting("", "detected 3D boxes (lift3d_ros/BevDetectionArray), for scale; empty: none")


class BagKeypoints:
    """The keypoints of one camera in a recording, with what belongs to them."""

    def __init__(
        self,
        reader: BagReader,
        topics: RecordedTopics,
        config: KeypointInputConfig,
        sync: KeypointSyncConfig,
        max_joints: int,
    ) -> None:
        """Find the topics of an open recording.

        Raises:
            BagError: no keypoints, several topics of them and none named, or a topic that is named is not there.
            ConfigError: a skeleton file or a known length is wrong.
        """
        self._reader, self._config, self._sync = reader, config, sync
        self._topic = self._keypoints_topic(topics.keypoints)
        self._read = self._message_reader(max_joints)
        self._info_topic = named_topic(
            reader, "camera_info", topics.camera_info, CAMERA_INFO
        ) or calibration_in_the_frame_of(reader, self._topic.name)
        self._depth_topic = named_topic(reader, "depth", topics.depth, IMAGE)
        self._boxes_topic = named_topic(reader, "boxes", topics.boxes, DETECTIONS)
        config.lengths()

    @property
    def name(self) -> str:
        """Short name for titles: that of the recording."""
        return self._reader.path.stem

    @property
    def topics(self) -> dict[str, str]:
        """What is used: input -> topic, empty where there is none."""
        return {
            "keypoints": self._topic.name,
            "camera_info": self._info_topic,
            "depth": self._depth_topic,
            "boxes": self._boxes_topic,
        }

    @property
    def expected_sets(self) -> int:
        """About how many sets there will be."""
        return self._topic.count

    def sets(self) -> Iterator[KeypointSet]:
        """Yield the sets in order."""
        tree = TransformTree(TRANSFORM_HISTORY_S, TRANSFORM_TOLERANCE_S)
        sets = KeypointSets(
            tree, self._config, self._sync, has_depth=bool(self._depth_topic), has_boxes=bool(self._boxes_topic)
        )
        transforms = RecordedTransforms(self._reader, tree, _warn)
        # The first calibration may be recorded after the first keypoints.
        if self._info_topic:
            first = self._reader.first_messages([self._info_topic])[self._info_topic]
            sets.camera = recorded_camera(first, is_rectified=self._config.is_rectified)
        else:
            logger.warning("no calibration in the frame of the keypoints: skeletons are normalised, not in metres")
        wanted = [*filter(None, self.topics.values()), *transforms.topics]
        told_gravity = ""
        for message in self._reader.messages(wanted):
            if message.topic == self._topic.name:
                yield from sets.add_keypoints(self._read(message.message), message.log_ns)
                if transforms.is_recorded and sets.gravity_note.startswith("not known") and not told_gravity:
                    told_gravity = sets.gravity_note
                    logger.warning("gravity is %s", told_gravity)
            elif message.topic == self._info_topic:
                sets.camera = recorded_camera(message, is_rectified=self._config.is_rectified)
            elif message.topic in transforms.topics:
                transforms.add(message)
            else:
                self._take_scale(sets, message)
        for reason, count in sorted(sets.collector.drops.items()):
            logger.warning("left out: %d messages (%s)", count, reason)

    def _take_scale(self, sets: KeypointSets, message: BagMessage) -> None:
        try:
            if message.topic == self._depth_topic:
                sets.add_depth(image_from_msg(message.message, "depth", message.topic), message.log_ns)
            else:
                sets.add_boxes(stamped_boxes_from_msg(message.message), message.log_ns)
        except (ImageError, TransformError) as error:
            logger.warning("topic '%s': left out: %s", message.topic, error)

    def _keypoints_topic(self, wanted: str) -> BagTopic:
        found = self._reader.topics_of(KEYPOINTS, YOLO_DETECTIONS)
        if wanted:
            named = [topic for topic in found if topic.name == wanted]
            if not named:
                names = [topic.name for topic in found]
                raise BagError(
                    f"{self._reader.path}: topics.keypoints is '{wanted}', which holds no keypoints"
                    f"{nearest_name_hint(wanted, names)} (topics of keypoints: {', '.join(names) or 'none'})"
                )
            return named[0]
        # Detections of yolo_ros are there without keypoints, too.
        own = [topic for topic in found if topic.type == KEYPOINTS] or list(found)
        only = only_topic(
            self._reader, "keypoints", "keypoints", [topic.name for topic in own], (KEYPOINTS, YOLO_DETECTIONS)
        )
        return next(topic for topic in own if topic.name == only)

    def _message_reader(self, max_joints: int) -> Callable[[Any], StampedKeypoints]:
        source = self._topic.name
        if self._topic.type == YOLO_DETECTIONS:
            return partial(keypoints_from_yolo_msg, facts=self._config.yolo_facts(), source=source)
        return partial(keypoints_from_msg, book=self._config.book(max_joints), source=source)


def _warn(problem: str) -> None:
    logger.warning("transform left out: %s", problem)
