"""Subscriptions of a rig: pictures, calibration, transforms and odometry, assembled into frame sets.

Everything here runs in the executor's thread; only the transform tree, which locks itself, is read elsewhere too.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from lift3d_ros.bags.discover import COMPRESSED_IMAGE, IMAGE, CameraTopics
from lift3d_ros.bags.messages import camera_model_from_msg, ego_motion_from_msg, image_from_msg
from lift3d_ros.errors import CalibrationError, ImageError, TransformError
from lift3d_ros.geometry.rig import Rig, RigCamera
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.nodes.bev_detection_config import BevDetectionNodeConfig
from lift3d_ros.nodes.diagnostics import Level, Status, steady_clock
from lift3d_ros.nodes.inputs import SILENT_S, silence_text
from lift3d_ros.nodes.subscriptions import Subscriptions
from lift3d_ros.nodes.transforms import MOTION_DEPTH, TransformListener
from lift3d_ros.pipelines.frame_sets import EGO_STREAM, FrameSetAssembler, camera_collector
from lift3d_ros.pipelines.unused_pictures import cameras_not_used
from lift3d_ros.sync.collector import StreamSet
from lift3d_ros.types import CameraImage, CameraModel, FrameSet

_EXPIRE_PERIOD_S = 0.02
_HISTORY_S = 10.0


def picture_kind(node: Node, topic: str) -> type[Any]:
    """Return the class in which pictures are published on a topic; while nobody does, what its name tells."""
    kinds = {IMAGE: Image, COMPRESSED_IMAGE: CompressedImage}
    by_name = CompressedImage if topic.endswith("/compressed") else Image
    offered = [kinds.get(offer.topic_type) for offer in node.get_publishers_info_by_topic(topic)]
    return by_name if by_name in offered else next(filter(None, offered), by_name)


class CameraInputs:
    """The inputs of a surround-camera node; calls `on_frame_set` with each assembled set."""

    def __init__(
        self,
        node: Node,
        rig: Rig,
        config: BevDetectionNodeConfig,
        on_frame_set: Callable[[FrameSet], None],
        on_problem: Callable[[str], None],
    ) -> None:
        """Subscribe to everything that `rig` needs; call :meth:`close` to stop."""
        self._node, self._rig, self._config = node, rig, config
        self._on_frame_set, self._on_problem = on_frame_set, on_problem
        self.tree = TransformTree(_HISTORY_S)
        self._models: dict[str, CameraModel] = {}
        self._is_rectified: dict[str, bool] = {}
        self._seen_resets = 0
        self._last_arrival_s: dict[str, float] = {}
        self._counts: Counter[str] = Counter()
        self._reported = (time.monotonic(), Counter[str]())
        has_ego_motion = config.ego_motion != "none"
        offsets = {name: camera.offset_s for name, camera in rig.cameras.items()}
        self.collector = camera_collector(offsets, config.sync, has_ego_motion=has_ego_motion)
        self._assembler = FrameSetAssembler(
            self.tree,
            rig.base_frame,
            config.world_frame if has_ego_motion else None,
            offsets_s=offsets,
            compensate_ego_motion=config.sync.compensate_ego_motion,
            mountings={name: camera.T_base_cam for name, camera in rig.cameras.items()},
        )
        self._subscriptions = Subscriptions(node, config.qos.reliability, config.qos.depth, on_problem)
        self._pictures: dict[str, tuple[type[Any], Subscription]] = {}
        for name, camera in rig.cameras.items():
            self._add_camera(name, camera)
        self._odometry_topic = str(node.resolve_topic_name(rig.odometry_topic or "odom"))
        has_odometry = config.ego_motion == "odometry"
        if has_odometry:
            self._subscriptions.add(Odometry, self._odometry_topic, self._take_odometry, MOTION_DEPTH)
        # Odometry decides where the base is; a second parent would take it away again with each message.
        base_frame = rig.base_frame if has_odometry else None
        self._listener = TransformListener(node, self.tree, self._cover_ego, on_problem, except_child=base_frame)
        self._timer = node.create_timer(_EXPIRE_PERIOD_S, self._expire, clock=steady_clock())

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()
        self._node.destroy_timer(self._timer)
        self._subscriptions.close()

    def reset(self) -> None:
        """Forget waiting pictures; transforms start afresh by themselves when their stamps jump back."""
        self.collector.reset()

    def waiting_for(self) -> list[str]:
        """Return what has not arrived yet, one phrase each."""
        waits = []
        silent = [self._topic(name) for name in self._rig.cameras if self._silence_s(name) > SILENT_S]
        if silent:
            waits.append(f"pictures on {', '.join(silent)}")
        waits += [*self._subscriptions.mismatches.values(), *self._not_used().values()]
        uncalibrated = [self._info_topic(name) for name in self._rig.cameras if name not in self._models]
        if uncalibrated:
            waits.append(f"calibration on {', '.join(uncalibrated)}")
        if self._config.ego_motion != "none" and EGO_STREAM in self.collector.waiting_for:
            waits.append(f"ego motion '{self._config.world_frame}' -> '{self._rig.base_frame}' on {self._ego_topic}")
        return waits

    def status(self) -> Status:
        """Return the health of the inputs since the last call."""
        since_s, before = self._reported
        now_s = time.monotonic()
        self._reported = now_s, Counter(self._counts)
        elapsed_s = max(now_s - since_s, 1e-6)
        mismatches = self._subscriptions.mismatches
        problems, values = list(mismatches.values()), dict[str, str]()
        not_used = self._not_used()
        for name in self._rig.cameras:
            values[f"{name} rate"] = f"{(self._counts[name] - before[name]) / elapsed_s:.1f} Hz"
            if (silence_s := self._silence_s(name)) > SILENT_S:
                topic = self._topic(name)
                silence = silence_text(self._node, topic, silence_s)
                goes_on = "; results go on without it" if name in self._last_arrival_s else ""
                problems.append(f"camera '{name}': no picture on {topic}: {silence}{goes_on}")
            if name in not_used:
                problems.append(not_used[name])
            if name not in self._models:
                problems.append(f"camera '{name}': no calibration on {self._info_topic(name)}")
        for reason, count in sorted(self.collector.drops.items()):
            values[f"dropped: {reason}"] = str(count)
        values["clock resets"] = str(self.collector.resets)
        if mismatches or all(name in not_used or self._silence_s(name) > SILENT_S for name in self._rig.cameras):
            return Status(Level.ERROR, "; ".join(problems), values)
        return Status(Level.WARN if problems else Level.OK, "; ".join(problems) or "all cameras deliver", values)

    def _not_used(self) -> dict[str, str]:
        return cameras_not_used(self.collector, {name: self._topic(name) for name in self._rig.cameras})

    def _silence_s(self, name: str) -> float:
        """Return how long a camera has been silent; infinite before its first picture."""
        return time.monotonic() - self._last_arrival_s.get(name, -math.inf)

    @property
    def _ego_topic(self) -> str:
        return self._odometry_topic if self._config.ego_motion == "odometry" else "/tf"

    def _topic(self, name: str) -> str:
        camera = self._rig.cameras[name]
        suffix = "/compressed" if self._config.topics.is_compressed else ""
        topic = camera.topic or self._config.topics.image.format(camera=name) + suffix
        return str(self._node.resolve_topic_name(topic))

    def _info_topic(self, name: str) -> str:
        camera = self._rig.cameras[name]
        topic = camera.camera_info_topic or self._config.topics.camera_info.format(camera=name)
        return str(self._node.resolve_topic_name(topic))

    def _add_camera(self, name: str, camera: RigCamera) -> None:
        self._is_rectified[name] = CameraTopics(self._topic(name), None, "").is_rectified
        self._listen_to_pictures(name)
        model = camera.model(name)
        if model is not None:
            self._models[name] = model
            return
        info_topic = self._info_topic(name)
        self._subscriptions.add(CameraInfo, info_topic, partial(self._take_info, name, info_topic))

    def _listen_to_pictures(self, name: str) -> None:
        """Subscribe to the pictures of a camera, again where their type turns out to be another one."""
        topic = self._topic(name)
        kind = picture_kind(self._node, topic)
        known_kind, subscription = self._pictures.get(name, (None, None))
        if kind is known_kind:
            return
        if subscription is not None:
            self._subscriptions.remove(subscription)
        self._pictures[name] = kind, self._subscriptions.add(kind, topic, partial(self._take_image, name, topic))

    def adapt_to_publishers(self) -> None:
        """Subscribe again where publishers that came up later offer something that the subscriptions miss."""
        for name in self._rig.cameras:
            self._listen_to_pictures(name)
            if name not in self._models:  # a driver may have published it once, latched
                topic = self._info_topic(name)
                self._subscriptions.add_latched(CameraInfo, topic, partial(self._take_info, name, topic))

    def _take_image(self, name: str, topic: str, message: Any) -> None:
        self._counts[name] += 1
        self._last_arrival_s[name] = time.monotonic()
        try:
            image = image_from_msg(message, name, topic)
        except ImageError as error:
            self._on_problem(str(error))
            return
        frame_id = self._rig.cameras[name].frame_id
        if frame_id is not None or not image.frame_id:
            frame_id = self._rig.cameras[name].optical_frame(name)
            image = CameraImage(**{**vars(image), "frame_id": frame_id})
        self._release(self.collector.add(name, image, time.monotonic_ns()))

    def _take_info(self, name: str, topic: str, message: CameraInfo) -> None:
        try:
            self._models[name] = camera_model_from_msg(message, name, topic, is_rectified=self._is_rectified[name])
        except CalibrationError as error:
            self._models.pop(name, None)
            self._on_problem(str(error))

    def _take_odometry(self, message: Odometry) -> None:
        try:
            motion, child = ego_motion_from_msg(message, self._odometry_topic)
            if motion.world_frame != self._config.world_frame or child not in ("", self._rig.base_frame):
                self._on_problem(
                    f"topic '{self._odometry_topic}': odometry of '{child}' in '{motion.world_frame}' is not used; "
                    f"expected '{self._rig.base_frame}' in '{self._config.world_frame}'. Set world_frame and "
                    "base_frame, or ego_motion: tf"
                )
                return
            self.tree.add(motion.world_frame, self._rig.base_frame, motion.stamp_ns, motion.T_world_base)
        except (TransformError, CalibrationError) as error:
            self._on_problem(str(error))
            return
        self._cover_ego()

    def _cover_ego(self) -> None:
        if self._config.ego_motion == "none":
            return
        newest_ns = self.tree.newest_common_stamp_ns(self._config.world_frame, self._rig.base_frame)
        if newest_ns is not None:
            self._release(self.collector.cover(EGO_STREAM, newest_ns, time.monotonic_ns()))

    def _expire(self) -> None:
        self._release(self.collector.expire(time.monotonic_ns()))

    def _release(self, sets: list[StreamSet]) -> None:
        if self.collector.resets > self._seen_resets:
            self._seen_resets = self.collector.resets
            self._on_problem("stamps jump back: waiting pictures are dropped, starting afresh")
        for item in sets:
            images = {name: image for name, image in item.items.items() if isinstance(image, CameraImage)}
            try:
                frame_set = self._assembler.assemble(item.stamp_ns, images, self._models, tuple(self._rig.cameras))
            except CalibrationError as error:
                self._on_problem(str(error))
                continue
            self._on_frame_set(frame_set)
