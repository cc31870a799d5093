"""Turns a recording into requests for objects, through the same code as the node."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from lift3d_ros.bags.discover import CAMERA_INFO, COMPRESSED_IMAGE, DETECTIONS, IMAGE
from lift3d_ros.bags.keypoint_messages import stamped_boxes_from_msg
from lift3d_ros.bags.messages import image_from_msg
from lift3d_ros.bags.object_messages import VISION_DETECTIONS_2D, regions_from_msg
from lift3d_ros.bags.reader import BagMessage, BagReader
from lift3d_ros.config import setting
from lift3d_ros.errors import ImageError, TransformError
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.images.decode import image_size
from lift3d_ros.models.lrm.object_image import PixelBox
from lift3d_ros.pipelines.keypoint_sets import TRANSFORM_HISTORY_S
from lift3d_ros.pipelines.object_sets import (
    TRANSFORM_TOLERANCE_S,
    ObjectInputConfig,
    ObjectRequest,
    ObjectSets,
    ObjectSyncConfig,
    StampedRegions,
)
from lift3d_ros.pipelines.object_triggers import DetectedObject, TriggerConfig
from lift3d_ros.replay.bag_topics import calibration_in_the_frame_of, named_topic, only_topic, recorded_camera
from lift3d_ros.replay.bag_transforms import RecordedTransforms

_BOXES = (DETECTIONS, VISION_DETECTIONS_2D)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordedTopics:
    """Which topics of a recording are used."""

    image: str = setting("", "pictures; empty: the only topic of colour pictures")
    camera_info: str = setting("", "calibration; empty: the one in the frame of the pictures, else none")
    boxes: str = setting("", "detected objects; empty: the only topic of them that is not ground truth, else masks")
    mask: str = setting("", "masks of the pictures, mono8, above 0 where an object is; empty: none")
    depth: str = setting("", "depth pictures registered to the pictures, for size and place; empty: none")


class BagObjects:
    """The objects in the pictures of one camera in a recording.

    Args:
        box: of the object in every picture, in place of recorded boxes. Without either, a topic of masks says what the
            object is.
        has_options: the command has options for the topics, as ``--image``; otherwise they are settings.
    """

    def __init__(
        self,
        reader: BagReader,
        topics: RecordedTopics,
        config: ObjectInputConfig,
        sync: ObjectSyncConfig,
        trigger: TriggerConfig,
        box: PixelBox | None = None,
        *,
        has_options: bool = False,
    ) -> None:
        """Find the topics of an open recording.

        Raises:
            BagError: no pictures or no boxes, several topics of them and none named, or a topic that is not there.
        """
        self._reader, self._config, self._sync, self._trigger, self._box = reader, config, sync, trigger, box
        self._has_options = has_options
        self._mask = named_topic(reader, self._field("mask"), topics.mask, IMAGE, COMPRESSED_IMAGE)
        self._depth = named_topic(reader, self._field("depth"), topics.depth, IMAGE)
        self._image = self._image_topic(topics.image)
        self._info = named_topic(
            reader, self._field("camera_info"), topics.camera_info, CAMERA_INFO
        ) or calibration_in_the_frame_of(reader, self._image)
        recorded = reader.topics_of(*_BOXES)
        # A mask comes after its picture, so it is the mask that says when an object without a box can be cut out.
        self._masks_are_objects = bool(self._mask) and (box is not None or not (topics.boxes or recorded))
        has_boxes = box is None and not self._masks_are_objects
        self._boxes = self._boxes_topic(topics.boxes) if has_boxes else ""

    @property
    def topics(self) -> dict[str, str]:
        """What is used: input -> topic, empty where there is none."""
        return {
            "image": self._image,
            "camera_info": self._info,
            "boxes": self._boxes,
            "mask": self._mask,
            "depth": self._depth,
        }

    def requests(self) -> Iterator[ObjectRequest]:
        """Yield the requests in order."""
        told = set[str]()

        def warn_once(problem: str) -> None:
            if problem not in told:
                told.add(problem)
                logger.warning("%s", problem)

        tree = TransformTree(TRANSFORM_HISTORY_S, TRANSFORM_TOLERANCE_S)
        sets = ObjectSets(tree, self._sync, self._trigger, warn_once)
        transforms = RecordedTransforms(self._reader, tree, warn_once)
        # The first calibration may be recorded after the first pictures.
        if self._info:
            first = self._reader.first_messages([self._info])[self._info]
            sets.camera = recorded_camera(first, is_rectified=self._config.is_rectified)
        else:
            logger.warning("no calibration in the frame of the pictures: meshes have no size")
        wanted = [*filter(None, self.topics.values()), *transforms.topics]
        for message in self._reader.messages(wanted):
            if message.topic == self._info:
                sets.camera = recorded_camera(message, is_rectified=self._config.is_rectified)
            elif message.topic in transforms.topics:
                transforms.add(message)
            else:
                try:
                    yield from self._take(sets, message)
                except (ImageError, TransformError) as error:
                    warn_once(f"topic '{message.topic}': left out: {error}")
        for reason, count in sorted(sets.skipped.items()):
            if count:
                logger.info("left out: %d objects (%s)", count, reason)

    def _take(self, sets: ObjectSets, message: BagMessage) -> Iterator[ObjectRequest]:
        topic, content = message.topic, message.message
        if topic == self._mask:
            mask = image_from_msg(content, "mask", topic)
            sets.add_mask(mask)
            if self._masks_are_objects:
                width, height = image_size(mask)
                yield from self._given(sets, mask.stamp_ns, self._box or PixelBox(0, 0, height, width))
        elif topic == self._depth:
            sets.add_depth(image_from_msg(content, "depth", topic))
        elif topic == self._boxes:
            is_ours = self._type_of(topic) == DETECTIONS
            yield from sets.add_boxes(stamped_boxes_from_msg(content) if is_ours else regions_from_msg(content))
        else:
            image = image_from_msg(content, "picture", topic)
            yield from sets.add_image(image)
            if self._box is not None and not self._masks_are_objects:
                yield from self._given(sets, image.stamp_ns, self._box)

    def _given(self, sets: ObjectSets, stamp_ns: int, box: PixelBox) -> Iterator[ObjectRequest]:
        found = DetectedObject(float(box.left), float(box.top), float(box.right), float(box.bottom), "object")
        yield from sets.add_boxes(StampedRegions(stamp_ns, (found,)))

    def _image_topic(self, wanted: str) -> str:
        if wanted:
            return named_topic(self._reader, self._field("image"), wanted, IMAGE, COMPRESSED_IMAGE)
        used = {self._mask, self._depth}
        topics = self._reader.topics_of(IMAGE, COMPRESSED_IMAGE)
        names = [topic.name for topic in topics if topic.name not in used]
        return only_topic(self._reader, self._field("image"), "pictures", names)

    def _boxes_topic(self, wanted: str) -> str:
        if wanted:
            return named_topic(self._reader, self._field("boxes"), wanted, *_BOXES)
        topics = [topic.name for topic in self._reader.topics_of(*_BOXES)]
        names = [name for name in topics if "ground_truth" not in name] or topics
        remedy = ", or say where the object is with --box"
        return only_topic(self._reader, self._field("boxes"), "detected objects", names, remedy=remedy)

    def _field(self, name: str) -> str:
        """Return what the user calls the topic of an input."""
        return f"--{name.replace('_', '-')}" if self._has_options else name

    def _type_of(self, name: str) -> str:
        return next(topic.type for topic in self._reader.topics_of(*_BOXES) if topic.name == name)
