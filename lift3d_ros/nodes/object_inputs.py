"""Subscriptions of one camera's pictures, calibration, masks, depth and detected objects, and the transforms.

Everything here runs in the executor's thread; only the transform tree, which locks itself, is read elsewhere too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from lift3d_ros.bags.keypoint_messages import stamped_boxes_from_msg
from lift3d_ros.bags.messages import camera_model_from_msg, image_from_msg
from lift3d_ros.bags.object_messages import regions_from_msg
from lift3d_ros.errors import CalibrationError, ImageError, TransformError
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.nodes.boxes_topic import boxes_message
from lift3d_ros.nodes.diagnostics import Level, Status
from lift3d_ros.nodes.inputs import SILENT_S, silence_text
from lift3d_ros.nodes.object_reconstruction_config import ObjectReconstructionNodeConfig
from lift3d_ros.nodes.subscriptions import Subscriptions
from lift3d_ros.nodes.transforms import TransformListener
from lift3d_ros.pipelines.keypoint_sets import TRANSFORM_HISTORY_S
from lift3d_ros.pipelines.object_sets import TRANSFORM_TOLERANCE_S, ObjectRequest, ObjectSets

VISION_BOXES = "Detection2DArray"


class ObjectInputs:
    """The inputs of the object_reconstruction node; calls `on_request` for each object that is due."""

    def __init__(
        self,
        node: Node,
        config: ObjectReconstructionNodeConfig,
        on_request: Callable[[ObjectRequest], None],
        on_problem: Callable[[str], None],
    ) -> None:
        """Subscribe; call :meth:`close` to stop."""
        self._node, self._config, self._on_request, self._on_problem = node, config, on_request, on_problem
        self.tree = TransformTree(TRANSFORM_HISTORY_S, TRANSFORM_TOLERANCE_S)
        self.sets = ObjectSets(self.tree, config.sync, config.trigger, on_problem)
        self._last_arrival_s, self._reported = -math.inf, (time.monotonic(), 0)
        self._subscriptions = Subscriptions(node, config.qos.reliability, config.qos.depth, on_problem)
        self._listener = TransformListener(node, self.tree, lambda: None, on_problem)
        topics = config.topics
        # The executor serves subscriptions in the order in which they were made: what came with a picture counts.
        wanted: tuple[tuple[type[Any], str, Callable[[Any], None]], ...] = (
            (CameraInfo, topics.camera_info, self._take_info),
            (Image, topics.mask, self._take_mask),
            (Image, topics.depth, self._take_depth),
            (CompressedImage if topics.is_compressed else Image, self._image_topic(), self._take_image),
            (boxes_message(topics.boxes_type, VISION_BOXES), topics.boxes, self._take_boxes),
        )
        for kind, topic, take in wanted:
            if topic:
                self._subscriptions.add(kind, topic, take)

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()
        self._subscriptions.close()

    def reset(self) -> None:
        """Forget pictures and boxes."""
        self.sets.reset()

    def waiting_for(self) -> list[str]:
        """Return what has not arrived yet, one phrase each."""
        waits = list(self._subscriptions.mismatches.values())
        if self._image_topic() and time.monotonic() - self._last_arrival_s > SILENT_S:
            waits.insert(0, f"pictures on {self._topic(self._image_topic())}")
        return waits

    def adapt_to_publishers(self) -> None:
        """Subscribe again to calibration that a driver published once, latched."""
        if self.sets.camera is None and self._config.topics.camera_info:
            self._subscriptions.add_latched(CameraInfo, self._config.topics.camera_info, self._take_info)

    def status(self) -> Status:
        """Return the health of the inputs since the last call."""
        counts = self.sets.counts
        (since_s, before), now_s = self._reported, time.monotonic()
        self._reported = now_s, counts["pictures"]
        problems = list(self._subscriptions.mismatches.values())
        silence_s = now_s - self._last_arrival_s
        is_silent = bool(self._image_topic()) and silence_s > SILENT_S
        if is_silent:
            topic = self._topic(self._image_topic())
            problems.append(f"no pictures on {topic}: {silence_text(self._node, topic, silence_s)}")
        camera = self.sets.camera
        if camera is None and self._config.topics.camera_info and not is_silent:
            problems.append(f"no calibration on {self._topic(self._config.topics.camera_info)}: meshes have no size")
        values = {
            "rate": f"{(counts['pictures'] - before) / max(now_s - since_s, 1e-6):.1f} Hz",
            "calibration": "none" if camera is None else f"of '{camera.frame_id}'",
            **{name: str(counts[name]) for name in ("masks", "depth pictures", "messages of boxes")},
            "clock resets": str(self.sets.resets),
        }
        values |= {f"objects left out: {reason}": str(n) for reason, n in sorted(self.sets.skipped.items())}
        level = Level.ERROR if self._subscriptions.mismatches else Level.WARN if problems else Level.OK
        return Status(level, "; ".join(problems) or "pictures arrive", values)

    def _image_topic(self) -> str:
        topics = self._config.topics
        return f"{topics.image}/compressed" if topics.image and topics.is_compressed else topics.image

    def _topic(self, name: str) -> str:
        return str(self._node.resolve_topic_name(name))

    def _take_image(self, message: Any) -> None:
        self._last_arrival_s = time.monotonic()
        try:
            image = image_from_msg(message, "picture", self._topic(self._image_topic()))
        except ImageError as error:
            self._on_problem(str(error))
            return
        resets = self.sets.resets
        for request in self.sets.add_image(image):
            self._on_request(request)
        if self.sets.resets > resets:
            self._on_problem("stamps of the pictures jump back: starting afresh")

    def _take_boxes(self, message: Any) -> None:
        self.sets.counts["messages of boxes"] += 1
        read = stamped_boxes_from_msg if self._config.topics.boxes_type == "lift3d_ros" else regions_from_msg
        try:
            boxes = read(message)
        except TransformError as error:
            self._on_problem(f"topic '{self._topic(self._config.topics.boxes)}': {error}; its boxes are not used")
            return
        for request in self.sets.add_boxes(boxes):
            self._on_request(request)

    def _take_mask(self, message: Image) -> None:
        self.sets.add_mask(image_from_msg(message, "mask", self._topic(self._config.topics.mask)))

    def _take_depth(self, message: Image) -> None:
        self.sets.add_depth(image_from_msg(message, "depth", self._topic(self._config.topics.depth)))

    def _take_info(self, message: CameraInfo) -> None:
        try:
            self.sets.camera = camera_model_from_msg(
                message,
                "camera",
                self._topic(self._config.topics.camera_info),
                is_rectified=self._config.input.is_rectified,
            )
        except CalibrationError as error:
            self.sets.camera = None
            self._on_problem(str(error))
