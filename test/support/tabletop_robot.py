"""Publishes the pictures, boxes, calibration and mounting of `tabletop` when a node listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Quaternion, TransformStamped, Vector3
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_system import Observer
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tabletop import (
    BALL,
    BOXES_TOPIC,
    CAMERA,
    IMAGE_TOPIC,
    INFO_TOPIC,
    OPTICAL,
    RADIUS_M,
    SIZE,
    START_NS,
    T_BASE_CAM,
    picture,
)
from tf2_msgs.msg import TFMessage

from lift3d_ros.geometry.rotations import matrix_to_quaternion
from lift3d_ros.msg import BevDetection, BevDetectionArray
from lift3d_ros.nodes.messages import image_msg

_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Robot:
    """The publishers; times are milliseconds after the first picture."""

    def __init__(self, observer: Observer, boxes: type[Any] = BevDetectionArray) -> None:
        self._observer, create = observer, observer.node.create_publisher
        self._images, self._infos = create(Image, IMAGE_TOPIC, 20), create(CameraInfo, INFO_TOPIC, 20)
        self._boxes, self._static = (
            create(boxes, BOXES_TOPIC, 20),
            create(TFMessage, "/tf_static", _LATCHED),
        )
        publishers = (self._images, self._infos, self._boxes)
        observer.wait_until(lambda: all(p.get_subscription_count() for p in publishers), "a node that listens")

    def show(self, ms: int) -> None:
        self._images.publish(image_msg(picture(), START_NS + ms * 1_000_000, OPTICAL))

    def detect(self, ms: int, *track_ids: int, label: str = "ball") -> None:
        """Publish the box of the ball once for each track."""
        x, y, z = BALL.tolist()
        pose, size = Pose(position=Point(x=x, y=y, z=z)), Vector3(x=2 * RADIUS_M, y=2 * RADIUS_M, z=2 * RADIUS_M)
        boxes = [BevDetection(pose=pose, size=size, label=label, score=0.9, track_id=track) for track in track_ids]
        self._boxes.publish(BevDetectionArray(header=header(ms, "base_link"), detections=boxes))

    def publish_boxes(self, message: Any) -> None:
        """Publish boxes of any kind."""
        self._boxes.publish(message)

    def see(self, ms: int) -> None:
        """Show a picture and what is detected in it."""
        self.show(ms)
        self.detect(ms, 7)

    def calibrate(self) -> None:
        k, size = CAMERA.intrinsics.reshape(-1), {"width": SIZE[0], "height": SIZE[1]}
        info = CameraInfo(header=header(0), k=k, distortion_model="plumb_bob", **size)
        received = self._observer.received["/diagnostics"]
        # The node may not know the publisher yet.
        self.repeat_until(
            lambda: received and f"of '{OPTICAL}'" in str(received[-1].status),
            lambda _: self._infos.publish(info),
            "the calibration in the diagnostics",
        )

    def mount(self) -> None:
        mounting = TransformStamped(header=Header(frame_id="base_link"), child_frame_id=OPTICAL)
        x, y, z = T_BASE_CAM[:3, 3].tolist()
        mounting.transform.translation = Vector3(x=x, y=y, z=z)
        qx, qy, qz, qw = matrix_to_quaternion(T_BASE_CAM[:3, :3]).tolist()
        mounting.transform.rotation = Quaternion(x=qx, y=qy, z=qz, w=qw)
        self._static.publish(TFMessage(transforms=[mounting]))

    def wait_for_diagnostics(self, text: str) -> None:
        received = self._observer.received["/diagnostics"]
        self._observer.wait_until(lambda: received and text in str(received[-1].status), f"diagnostics with {text}")

    def repeat_until(self, is_done: Callable[[], Any], action: Callable[[int], None], what: str) -> None:
        """Do something with newer stamps at each message until it shows: topics overtake each other."""
        stamps = iter(range(0, 10**9, 100))

        def look() -> Any:
            return is_done() or action(next(stamps)) or False

        self._observer.wait_until(look, what)


def header(ms: int, frame_id: str = OPTICAL) -> Header:
    """Return the header of a message."""
    seconds, nanoseconds = divmod(START_NS + ms * 1_000_000, 1_000_000_000)
    return Header(stamp=Time(sec=seconds, nanosec=nanoseconds), frame_id=frame_id)
