"""Listens to a running system for a few seconds, with the topics and the quality of service of the node.

What it heard is judged without ROS in `lift3d_ros.doctor`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import rclpy
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CameraInfo, CompressedImage

from lift3d_ros.bags.discover import COMPRESSED_IMAGE, IMAGE, CameraTopics
from lift3d_ros.bags.messages import camera_model_from_msg, ego_motion_from_msg, image_from_msg
from lift3d_ros.doctor.live_cameras import find_cameras
from lift3d_ros.doctor.observations import CameraObservation, Publisher, StampSeries, SystemObservation
from lift3d_ros.doctor.parameter_file import read_node_parameters
from lift3d_ros.doctor.shared_memory import list_segments
from lift3d_ros.errors import CalibrationError, ConfigError, ImageError, Lift3dError, TransformError
from lift3d_ros.geometry.rig import Rig, RigCamera
from lift3d_ros.geometry.transform_tree import ALWAYS_NS, TransformTree
from lift3d_ros.nodes.bev_detection_config import BevDetectionNodeConfig
from lift3d_ros.nodes.camera_inputs import picture_kind
from lift3d_ros.nodes.params import declare_parameters
from lift3d_ros.nodes.qos_events import SubscriptionEventCallbacks
from lift3d_ros.nodes.transforms import TransformListener

_NODE = "bev_detection"
_DISCOVERY_S = 4.0
_QUIET_S = 0.7  # topics of running nodes are known after about 0.1 s
_HISTORY_S = 600.0


@dataclass(frozen=True)
class Question:
    """What to look at: the cameras of a rig file, of a parameter file or by name, else all that are found."""

    rig: Path | None = None
    params: Path | None = None
    cameras: tuple[str, ...] = ()
    seconds: float = 5.0


def observe(question: Question) -> SystemObservation:
    """Return what was heard.

    Raises:
        ConfigError: a file or a name in it is wrong.
        Lift3dError: the middleware cannot be started.
    """
    segments = list_segments()
    namespace, overrides = _overrides(question)
    context = Context()
    try:
        rclpy.init(args=[], context=context)
        node = Node(
            "lift3d_doctor",
            context=context,
            namespace=namespace,
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
            parameter_overrides=overrides,
        )
    except RuntimeError as error:
        context.try_shutdown()
        raise Lift3dError(
            f"the middleware cannot be started: {' '.join(str(error).split())}; run 'lift3d doctor' for the environment"
        ) from None
    try:
        system = _TopicCheck(node, question).run()
        system.segments = segments
        return system
    finally:
        node.destroy_node()
        context.try_shutdown()


def _overrides(question: Question) -> tuple[str, list[Parameter]]:
    """Return namespace and parameters that the node would get."""
    namespace, values = "/", dict[str, Any]()
    if question.params is not None:
        given = read_node_parameters(question.params, _NODE)
        namespace = given.namespace
        values.update(given.values)
    if question.rig is not None:
        values["rig"] = str(question.rig)
    if question.cameras:
        values["cameras"] = list(question.cameras)
    overrides = []
    for name, value in values.items():
        try:
            overrides.append(Parameter(name, value=value))
        except (TypeError, ValueError, AssertionError):
            raise ConfigError(
                f"{question.params}: '{name}' is {value!r}, which is no ROS parameter; expected a text, a number, "
                "true or false, or a list of one of them"
            ) from None
    return namespace, overrides


class _TopicCheck:
    """Subscriptions of one look at a system."""

    def __init__(self, node: Node, question: Question) -> None:
        self._node, self._question = node, question
        self._config = declare_parameters(node, BevDetectionNodeConfig)
        self._has_names = bool(question.rig or question.params or question.cameras)
        rig = self._config.load_rig() if self._has_names else Rig(self._config.base_frame or "base_link")
        self._rig = rig
        self._config = self._config.with_rig(rig)
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        odometry_topic = self._name(rig.odometry_topic or "odom")
        ego_source = {"tf": "/tf", "odometry": odometry_topic}.get(self._config.ego_motion, "")
        self.system = SystemObservation(
            [],
            TransformTree(_HISTORY_S),
            rig.base_frame,
            self._config.world_frame,
            ego_source,
            reliability=self._config.qos.reliability,
            deadline_s=self._config.sync.deadline_s,
            seconds=question.seconds,
            rmw=rclpy.get_rmw_implementation_identifier(),
        )
        self._last_ego_ns: int | None = None

    def run(self) -> SystemObservation:
        """Look around, listen, look around again."""
        self._listen_to_transforms()
        self._discover()
        if not self._has_names:
            self._rig = self._rig_of_found_cameras()
        for name, camera in self._rig.cameras.items():
            self.system.cameras.append(self._add_camera(name, camera))
        # What came before was heard by another clock where time is simulated.
        self.system.ego = StampSeries()
        if self.system.cameras:
            self._spin_until(lambda: False, self._question.seconds)
        self.system.end_s = time.monotonic()
        self.system.topics = self._topics()
        for observed in self.system.cameras:
            observed.publishers = self._publishers(observed.image_topic)
            observed.info_publishers = self._publishers(observed.info_topic)
        return self.system

    def _discover(self) -> None:
        """Wait until the topics stop changing, but until the wanted ones are there if that does not take too long."""
        wanted = {self._image_topic(name, camera) for name, camera in self._rig.cameras.items()}
        start_s = changed_s = time.monotonic()
        topics: dict[str, str] = {}

        def is_known() -> bool:
            nonlocal topics, changed_s
            if (now := self._topics()) != topics:
                topics, changed_s = now, time.monotonic()
            if time.monotonic() - changed_s < _QUIET_S:
                return False
            are_there = all(not topics.keys().isdisjoint((topic, f"{topic}/compressed")) for topic in wanted)
            return are_there and bool(wanted or find_cameras(topics))

        self._spin_until(is_known, _DISCOVERY_S)
        self.system.is_simulated_time = "/clock" in topics
        if self.system.is_simulated_time:
            self._node.set_parameters([Parameter("use_sim_time", value=True)])
            self._spin_until(lambda: self._now_ns() > 0, start_s + _DISCOVERY_S - time.monotonic())

    def _rig_of_found_cameras(self) -> Rig:
        cameras = {
            name: RigCamera(topic=found.image_topic, camera_info_topic=found.info_topic)
            for name, found in find_cameras(self._topics()).items()
        }
        return Rig(self._rig.base_frame, cameras)

    def _add_camera(self, name: str, camera: RigCamera) -> CameraObservation:
        image_topic = self._image_topic(name, camera)
        published = self._topics()
        # A parameter file says what the node will do; without one the doctor may choose.
        is_chosen = (
            self._question.params is None and image_topic not in published and f"{image_topic}/compressed" in published
        )
        image_topic += "/compressed" if is_chosen else ""
        kind = picture_kind(self._node, image_topic)
        model = camera.model(name)
        observed = CameraObservation(
            name,
            image_topic,
            self._name(camera.camera_info_topic or self._config.topics.camera_info.format(camera=name)),
            COMPRESSED_IMAGE if kind is CompressedImage else IMAGE,
            camera.frame_id,
            model,
            model is not None,
            camera.T_base_cam,
            is_chosen,
        )
        self._subscribe(kind, image_topic, partial(self._take_image, observed))
        if model is None:
            take = partial(self._take_info, observed)
            self._subscribe(CameraInfo, observed.info_topic, take)
            if any(offer.durability == "transient_local" for offer in self._publishers(observed.info_topic)):
                latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
                self._node.create_subscription(CameraInfo, observed.info_topic, take, latched)
        return observed

    def _listen_to_transforms(self) -> None:
        problems = self.system.transform_problems.append
        has_odometry = self._config.ego_motion == "odometry"
        base_frame = self._rig.base_frame if has_odometry else None
        self._listener = TransformListener(self._node, self.system.tree, self._note_ego, problems, base_frame)
        if has_odometry:
            self._subscribe(Odometry, self.system.ego_source, self._take_odometry)

    def _subscribe(self, kind: type[Any], topic: str, callback: Callable[[Any], None]) -> None:
        # The report names publishers that do not fit; the log need not.
        silent = SubscriptionEventCallbacks(use_default_callbacks=False)
        self._node.create_subscription(kind, topic, callback, self._requested(), event_callbacks=silent)

    def _requested(self) -> QoSProfile:
        reliability = ReliabilityPolicy[self._config.qos.reliability.upper()]
        return QoSProfile(depth=self._config.qos.depth, reliability=reliability)

    def _take_image(self, camera: CameraObservation, message: Any) -> None:
        stamp = message.header.stamp
        camera.images.add(stamp.sec * 1_000_000_000 + stamp.nanosec, self._now_ns(), time.monotonic())
        camera.largest_bytes = max(camera.largest_bytes, len(message.data))
        if camera.first_image is None:
            try:
                camera.first_image = image_from_msg(message, camera.name, camera.image_topic)
            except ImageError as error:
                camera.image_error = str(error)

    def _take_info(self, camera: CameraObservation, message: CameraInfo) -> None:
        camera.infos += 1
        camera.info_frame_id = message.header.frame_id.lstrip("/")
        is_rectified = CameraTopics(camera.image_topic, None, "").is_rectified
        try:
            camera.model = camera_model_from_msg(message, camera.name, camera.info_topic, is_rectified=is_rectified)
        except CalibrationError as error:
            camera.model, camera.model_error = None, str(error)

    def _take_odometry(self, message: Odometry) -> None:
        try:
            motion, _ = ego_motion_from_msg(message, self.system.ego_source)
            tree, base_frame = self.system.tree, self.system.base_frame
            tree.add(self.system.world_frame, base_frame, motion.stamp_ns, motion.T_world_base)
        except (TransformError, CalibrationError) as error:
            self.system.transform_problems.append(str(error))
            return
        self._note_ego()

    def _note_ego(self) -> None:
        newest_ns = self.system.tree.newest_common_stamp_ns(self.system.world_frame, self.system.base_frame)
        if newest_ns not in (None, ALWAYS_NS, self._last_ego_ns):
            self._last_ego_ns = newest_ns
            self.system.ego.add(newest_ns, self._now_ns(), time.monotonic())

    def _spin_until(self, is_done: Callable[[], bool], seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while not is_done() and (left_s := end_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=min(left_s, 0.1))

    def _image_topic(self, name: str, camera: RigCamera) -> str:
        suffix = "/compressed" if self._config.topics.is_compressed else ""
        return self._name(camera.topic or self._config.topics.image.format(camera=name) + suffix)

    def _name(self, topic: str) -> str:
        return str(self._node.resolve_topic_name(topic))

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    def _topics(self) -> dict[str, str]:
        """Return what others publish: name -> type."""
        names_and_types = self._node.get_topic_names_and_types()
        return {name: types[0] for name, types in names_and_types if self._node.count_publishers(name)}

    def _publishers(self, topic: str) -> list[Publisher]:
        return [self._publisher(offer) for offer in self._node.get_publishers_info_by_topic(topic)]

    def _publisher(self, offer: TopicEndpointInfo) -> Publisher:
        compatibility, reason = qos_check_compatible(offer.qos_profile, self._requested())
        node = f"{offer.node_namespace.rstrip('/')}/{offer.node_name}"
        return Publisher(
            node,
            offer.topic_type,
            offer.qos_profile.reliability.name.lower(),
            offer.qos_profile.durability.name.lower(),
            reason.rstrip("; ") if compatibility == QoSCompatibility.ERROR else "",
        )
