"""Subscriptions of one camera's keypoints, with calibration, transforms, depth and boxes, assembled into sets.

Everything here runs in the executor's thread; only the transform tree, which locks itself, is read elsewhere too.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from lift3d_ros.bags.keypoint_messages import keypoints_from_msg, keypoints_from_yolo_msg, stamped_boxes_from_msg
from lift3d_ros.bags.messages import camera_model_from_msg, image_from_msg
from lift3d_ros.errors import CalibrationError, ConfigError, ImageError, TransformError
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.msg import BevDetectionArray, Keypoints2DArray
from lift3d_ros.nodes.diagnostics import Level, Status
from lift3d_ros.nodes.inputs import SILENT_S, silence_text
from lift3d_ros.nodes.skeleton_lifting_config import SkeletonLiftingNodeConfig
from lift3d_ros.nodes.subscriptions import Subscriptions
from lift3d_ros.nodes.transforms import TransformListener
from lift3d_ros.pipelines.keypoint_sets import (
    TRANSFORM_HISTORY_S,
    TRANSFORM_TOLERANCE_S,
    KeypointSet,
    KeypointSets,
    StampedKeypoints,
)


def keypoint_message(keypoints_type: str) -> type[Any]:
    """Return the message class of `topics.keypoints_type`.

    Raises:
        ConfigError: its package is not installed.
    """
    if keypoints_type == "lift3d_ros":
        return Keypoints2DArray
    try:
        kind: type[Any] = importlib.import_module("yolo_msgs.msg").DetectionArray
    except (ImportError, AttributeError):
        raise ConfigError(
            "parameter 'topics.keypoints_type' is 'yolo_ros', and the package yolo_msgs with DetectionArray is not "
            "there; source the workspace of yolo_ros, or publish lift3d_ros/Keypoints2DArray"
        ) from None
    return kind


class KeypointInputs:
    """The inputs of the skeleton_lifting node; calls `on_set` with each assembled set."""

    def __init__(
        self,
        node: Node,
        config: SkeletonLiftingNodeConfig,
        on_set: Callable[[KeypointSet], None],
        on_problem: Callable[[str], None],
    ) -> None:
        """Subscribe; call :meth:`close` to stop."""
        self._node, self._config, self._on_set, self._on_problem = node, config, on_set, on_problem
        topics = config.topics
        kind_of_keypoints, read = keypoint_message(topics.keypoints_type), self._reader()
        self.tree = TransformTree(TRANSFORM_HISTORY_S, TRANSFORM_TOLERANCE_S)
        self._sets = KeypointSets(
            self.tree, config.input, config.sync, has_depth=bool(topics.depth), has_boxes=bool(topics.boxes)
        )
        self._last_arrival_s, self._count, self._instances = -math.inf, 0, 0
        self._reported = (time.monotonic(), 0)
        self._subscriptions = Subscriptions(node, config.qos.reliability, config.qos.depth, on_problem)
        # The executor serves subscriptions in the order in which they were made: what came with keypoints counts.
        self._listener = TransformListener(node, self.tree, lambda: None, on_problem)
        optional: tuple[tuple[type[Any], str, Callable[[Any], None]], ...] = (
            (CameraInfo, topics.camera_info, self._take_info),
            (Image, topics.depth, self._take_depth),
            (BevDetectionArray, topics.boxes, self._take_boxes),
        )
        for kind, topic, take in optional:
            if topic:
                self._subscriptions.add(kind, topic, take)
        self._subscriptions.add(kind_of_keypoints, topics.keypoints, partial(self._take_keypoints, read))

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()
        self._subscriptions.close()

    def reset(self) -> None:
        """Forget what is held; transforms start afresh by themselves when their stamps jump back."""
        self._sets.collector.reset()

    def waiting_for(self) -> list[str]:
        """Return what has not arrived yet, one phrase each."""
        waits = list(self._subscriptions.mismatches.values())
        if time.monotonic() - self._last_arrival_s > SILENT_S:
            waits.insert(0, f"keypoints on {self._topic('keypoints')}")
        return waits

    def adapt_to_publishers(self) -> None:
        """Subscribe again to calibration that a driver published once, latched."""
        if self._sets.camera is None and self._config.topics.camera_info:
            self._subscriptions.add_latched(CameraInfo, self._config.topics.camera_info, self._take_info)

    def status(self) -> Status:
        """Return the health of the inputs since the last call."""
        since_s, before = self._reported
        now_s = time.monotonic()
        self._reported = now_s, self._count
        silence_s = now_s - self._last_arrival_s
        problems = list(self._subscriptions.mismatches.values())
        is_silent = silence_s > SILENT_S
        if is_silent:
            topic = self._topic("keypoints")
            problems.append(f"no keypoints on {topic}: {silence_text(self._node, topic, silence_s)}")
        if self._sets.camera is None and self._config.topics.camera_info:
            problems.append(f"no calibration on {self._topic('camera_info')}: skeletons are normalised, not in metres")
        values = {
            "rate": f"{(self._count - before) / max(now_s - since_s, 1e-6):.1f} Hz",
            "instances in the last message": str(self._instances),
            "calibration": "none" if self._sets.camera is None else f"of '{self._sets.camera.frame_id}'",
            "gravity": self._sets.gravity_note,
            "messages with depth": str(self._sets.attached["depth"]),
            "messages with boxes": str(self._sets.attached["boxes"]),
            "clock resets": str(self._sets.collector.resets),
        }
        values |= {f"dropped: {reason}": str(count) for reason, count in sorted(self._sets.collector.drops.items())}
        level = Level.ERROR if is_silent or self._subscriptions.mismatches else Level.WARN if problems else Level.OK
        return Status(level, "; ".join(problems) or "keypoints arrive", values)

    def _topic(self, name: str) -> str:
        return str(self._node.resolve_topic_name(getattr(self._config.topics, name)))

    def _reader(self) -> Callable[[Any], StampedKeypoints]:
        """Return what turns a message into keypoints."""
        source, config = self._topic("keypoints"), self._config
        if config.topics.keypoints_type == "yolo_ros":
            return partial(keypoints_from_yolo_msg, facts=config.input.yolo_facts(), source=source)
        return partial(keypoints_from_msg, book=config.input.book(config.lifter.max_joints), source=source)

    def _take_keypoints(self, read: Callable[[Any], StampedKeypoints], message: Any) -> None:
        self._count += 1
        self._last_arrival_s = time.monotonic()
        keypoints = read(message)
        self._instances = keypoints.num_instances
        resets = self._sets.collector.resets
        for item in self._sets.add_keypoints(keypoints, time.monotonic_ns()):
            self._on_set(item)
        if self._sets.collector.resets > resets:
            self._on_problem("stamps jump back: depth and boxes that wait are dropped, starting afresh")

    def _take_info(self, message: CameraInfo) -> None:
        try:
            self._sets.camera = camera_model_from_msg(
                message, "camera", self._topic("camera_info"), is_rectified=self._config.input.is_rectified
            )
        except CalibrationError as error:
            self._sets.camera = None
            self._on_problem(str(error))

    def _take_depth(self, message: Image) -> None:
        try:
            self._sets.add_depth(image_from_msg(message, "depth", self._topic("depth")), time.monotonic_ns())
        except ImageError as error:
            self._on_problem(str(error))

    def _take_boxes(self, message: BevDetectionArray) -> None:
        try:
            self._sets.add_boxes(stamped_boxes_from_msg(message), time.monotonic_ns())
        except TransformError as error:
            self._on_problem(f"topic '{self._topic('boxes')}': {error}; its boxes are not used")
