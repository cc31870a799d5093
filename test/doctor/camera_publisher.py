"""A vehicle of the tests, as a process: cameras, calibration, transforms and ego motion, with faults on demand.

Run with a JSON list of cameras, each ``{"name": ..., "faults": [...]}``; prints "ready" once everything was published.
"""

from __future__ import annotations

import array
import contextlib
import json
import sys

import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Duration, Time
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage

WIDTH, HEIGHT = 320, 180
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class Vehicle(Node):
    def __init__(self, cameras: list[dict]) -> None:
        super().__init__("vehicle")
        self.cameras = cameras
        self.ticks = 0
        self.pictures = {c["name"]: self.create_publisher(Image, f"/{c['name']}/image", BEST_EFFORT) for c in cameras}
        self.infos = {
            c["name"]: self.create_publisher(
                CameraInfo, f"/{c['name']}/camera_info", LATCHED if "latched" in c["faults"] else 1
            )
            for c in cameras
            if "no_info" not in c["faults"]
        }
        self.tf = self.create_publisher(TFMessage, "/tf", 10)
        self.tf_static = self.create_publisher(TFMessage, "/tf_static", LATCHED)
        mounted = [c["name"] for c in cameras if "no_transform" not in c["faults"]]
        self.tf_static.publish(
            TFMessage(transforms=[self.transform("base_link", f"{n}_optical_frame", 1.5) for n in mounted])
        )
        for camera in cameras:
            if "latched" in camera["faults"]:
                self.publish_info(camera)
        self.create_timer(0.05, self.tick)

    def transform(self, parent: str, child: str, z: float) -> TransformStamped:
        message = TransformStamped(child_frame_id=child)
        message.header.frame_id = parent
        message.header.stamp = self.get_clock().now().to_msg()
        message.transform.translation.z = z
        rotation = message.transform.rotation
        if z:  # looks along x
            rotation.x, rotation.y, rotation.z, rotation.w = -0.5, 0.5, -0.5, 0.5
        return message

    def publish_info(self, camera: dict) -> None:
        message = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model="plumb_bob", d=[0.0] * 5)
        message.header.frame_id = f"{camera['name']}_optical_frame"
        focal = 0.0 if "zero_focal" in camera["faults"] else 200.0
        message.k = [focal, 0.0, 159.5, 0.0, focal, 89.5, 0.0, 0.0, 1.0]
        if "half_height" in camera["faults"]:
            message.height = HEIGHT // 2
        self.infos[camera["name"]].publish(message)

    def tick(self) -> None:
        self.tf.publish(TFMessage(transforms=[self.transform("odom", "base_link", 0.0)]))
        self.ticks += 1
        if self.ticks % 2:
            return
        for camera in self.cameras:
            name, faults = camera["name"], camera["faults"]
            now = self.get_clock().now()
            if "future" in faults:
                now = now + Duration(seconds=3.0)
            elif "zero_stamp" in faults:
                now = Time()
            message = Image(width=WIDTH, height=HEIGHT, step=3 * WIDTH, encoding="rgb8")
            message.header.stamp = now.to_msg()
            message.header.frame_id = f"{name}_optical_frame"
            message.data = array.array("B", bytes(3 * WIDTH * HEIGHT))
            self.pictures[name].publish(message)
            if name in self.infos and "latched" not in faults:
                self.publish_info(camera)
        if self.ticks == 2:
            print("ready", flush=True)


def main() -> None:
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(Vehicle(json.loads(sys.argv[1])))
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
