"""What the node does when cameras, calibration, transforms or publishers misbehave: it goes on and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drive import CAMERAS, Drive
from geometry_msgs.msg import Quaternion, TransformStamped, Vector3
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_system import DETECTIONS, NodeProcess, Observer, running_node
from tf2_msgs.msg import TFMessage

from lift3d_ros.bags.messages import stamp_ns
from lift3d_ros.types import CameraImage, CameraModel

pytestmark = pytest.mark.ros


def used(message: Any) -> dict[str, bool]:
    return {use.name: use.is_used for use in message.cameras}


def start_player(bag: Path, *options: str) -> NodeProcess:
    return NodeProcess("bag_player", str(bag), *(options or ("--rate", "0", "--wait-for", DETECTIONS)))


class LeftCameraDies(Drive):
    def picture(self, name: str, index: int) -> CameraImage | None:
        return None if name == "left" and index >= 3 else super().picture(name, index)


def test_a_camera_that_dies_is_masked_and_reported(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    bag = LeftCameraDies(frames=9).write(tmp_path / "drive")
    with running_node(parameters, observer), start_player(bag) as player:
        results = observer.wait_for_messages(DETECTIONS, 9)
        observer.wait_for_status(
            "cameras", r"camera 'left': no picture on \S+: silent for .*; results go on without it"
        )
        observer.wait_for_status("pipeline", "without camera left")
        assert player.wait() == 0
    assert [used(result)["left"] for result in results] == [True] * 3 + [False] * 6
    assert all(used(result)["front"] and used(result)["right"] for result in results)
    assert all(np.isnan(use.age) for result in results[3:] for use in result.cameras if use.name == "left")


class LeftClockIsAhead(Drive):
    def stamp_ns(self, name: str, index: int) -> int:
        return super().stamp_ns(name, index) + (700_000_000 if name == "left" and index < 6 else 0)


def test_a_camera_whose_clock_is_ahead_is_named_and_used_again_when_the_clocks_agree(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    drive = LeftClockIsAhead(frames=10, period_s=0.4)
    bag = drive.write(tmp_path / "drive")
    with running_node(parameters, observer), start_player(bag, "--rate", "1"):
        observer.wait_for_status(
            "cameras", r"camera 'left': .* are not used: their stamps are ahead of the other cameras"
        )
        last_ns = drive.stamp_ns("right", 9)
        observer.wait_until(
            lambda: any(stamp_ns(result.header) == last_ns for result in observer.detections()),
            "the result of the last set",
        )
    uses = {stamp_ns(result.header): used(result) for result in observer.detections()}
    of_sets = [uses[drive.stamp_ns("right", index)] for index in (1, 2, 8, 9)]
    assert all(use["front"] and use["right"] for use in of_sets)
    assert [use["left"] for use in of_sets] == [False, False, True, True]


class NothingIsStamped(Drive):
    def stamp_ns(self, name: str, index: int) -> int:
        return 0


def test_pictures_without_stamps_are_named_when_nothing_comes_of_them(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    bag = NothingIsStamped(frames=8, period_s=0.2, has_ego_motion=False).write(tmp_path / "drive")
    with running_node(parameters, observer) as node, start_player(bag, "--rate", "1"):
        named = r"'{}': its last \d+ pictures on /{}/image/compressed are not used: their stamps are 0; let the driver"
        every = ".*".join(named.format(name, name) for name in CAMERAS)
        status = observer.wait_for_status("cameras", every)
        node.wait_for(f"waiting for: .*{every}")
    assert status.level == b"\x02"


def test_when_every_camera_stops_the_node_says_so(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    bag = Drive(frames=2).write(tmp_path / "drive")
    with running_node(parameters, observer) as node, start_player(bag):
        observer.wait_for_messages(DETECTIONS, 2)
        status = observer.wait_for_status(
            "cameras", r"'front': .*silent for .*'left': .*silent for .*'right': .*silent for"
        )
        line = node.wait_for("waiting for: pictures on")
        observer.wait_for_status("pipeline", r"no result for \d+ s; waiting for: pictures on /front/image/compressed")
    assert status.level == b"\x02"
    assert "/front/image/compressed, /left/image/compressed, /right/image/compressed" in line


class DamagedPictures(Drive):
    def picture(self, name: str, index: int) -> CameraImage | None:
        image = super().picture(name, index)
        if name == "left" and index == 1 and image is not None:
            return CameraImage(name, image.stamp_ns, image.frame_id, "jpeg", image.data[: image.data.size // 2])
        return image


def test_a_truncated_picture_costs_one_camera_of_one_set(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    bag = DamagedPictures(frames=3).write(tmp_path / "drive")
    with running_node(parameters, observer) as node, start_player(bag):
        results = observer.wait_for_messages(DETECTIONS, 3)
        node.wait_for(r"topic '/left/image/compressed': the JPEG picture of 320x180 is truncated")
    assert [used(result)["left"] for result in results] == [True, False, True]


class UnknownEncoding(Drive):
    def picture(self, name: str, index: int) -> CameraImage | None:
        image = super().picture(name, index)
        if name == "left" and image is not None:
            return CameraImage(
                name, image.stamp_ns, image.frame_id, "bgr9", image.data, image.width, image.height, image.step
            )
        return image


def test_an_unknown_encoding_costs_one_camera(tmp_path: Path, parameters: dict[str, Any], observer: Observer) -> None:
    bag = UnknownEncoding(frames=2, is_compressed=False).write(tmp_path / "drive")
    parameters |= {"topics.is_compressed": False}
    with running_node(parameters, observer) as node, start_player(bag):
        results = observer.wait_for_messages(DETECTIONS, 2)
        node.wait_for(r"topic '/left/image': .*'bgr9'.*did you mean 'bgr8'")
    assert [used(result)["left"] for result in results] == [False, False]


def test_a_camera_without_transform_is_named_and_used_once_it_appears(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    bag = Drive(frames=20, mounted=("front", "right")).write(tmp_path / "drive")
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    publisher = observer.node.create_publisher(TFMessage, "/tf_static", latched)
    transform = TransformStamped(child_frame_id="left_optical_frame")
    transform.header.frame_id = "base_link"
    transform.transform.translation = Vector3(x=1.0, y=0.5, z=1.5)
    transform.transform.rotation = Quaternion(x=-0.7071068, w=0.7071068)
    with running_node(parameters, observer) as node, NodeProcess("bag_player", str(bag), "--rate", "1"):
        first = observer.wait_for_messages(DETECTIONS, 1)[0]
        assert used(first) == {"front": True, "left": False, "right": True}
        node.wait_for(r"camera 'left': frame 'left_optical_frame' is not known.*publish it on /tf")
        publisher.publish(TFMessage(transforms=[transform]))
        observer.wait_until(lambda: used(observer.detections()[-1])["left"], "a result with all cameras")


class ZeroFocalLength(Drive):
    def model(self, name: str) -> CameraModel:
        model = super().model(name)
        if name == "left":
            object.__setattr__(model, "intrinsics", np.zeros((3, 3)))
        return model


def test_a_calibration_without_focal_length_is_refused_and_named(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    bag = ZeroFocalLength(frames=2).write(tmp_path / "drive")
    with running_node(parameters, observer) as node, start_player(bag):
        results = observer.wait_for_messages(DETECTIONS, 2)
        node.wait_for(r"topic '/left/camera_info': camera 'left': focal length is fx=0, fy=0")
    assert [used(result)["left"] for result in results] == [False, False]


def test_without_ego_motion_each_set_is_detected_by_itself(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    bag = Drive(frames=3, has_ego_motion=False).write(tmp_path / "drive")
    with running_node(parameters, observer), start_player(bag):
        results = observer.wait_for_messages(DETECTIONS, 3)
        observer.wait_for_status("pipeline", "no ego motion, so earlier frames are not used")
    states = [result.temporal_state for result in results]
    assert states == [results[0].TEMPORAL_FIRST_FRAME, *[results[0].TEMPORAL_NO_EGO_MOTION] * 2]


def test_a_publisher_with_other_quality_of_service_is_named(parameters: dict[str, Any], observer: Observer) -> None:
    from sensor_msgs.msg import CompressedImage

    best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    observer.node.create_publisher(CompressedImage, "/front/image/compressed", best_effort)
    with NodeProcess("bev_detection", parameters=parameters | {"qos.reliability": "reliable"}) as node:
        node.wait_for(r"topic '/front/image/compressed': a publisher offers another reliability")
        status = observer.wait_for_status("cameras", "set qos.reliability to best_effort")
    assert status.level == b"\x02"


def test_calibration_that_was_published_once_and_latched_is_found(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    from sensor_msgs.msg import CameraInfo

    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    publisher = observer.node.create_publisher(CameraInfo, "/left/camera_info", latched)
    K = Drive().model("left").intrinsics.reshape(-1)
    publisher.publish(CameraInfo(width=320, height=180, distortion_model="plumb_bob", d=[0.0] * 5, k=K))
    bag = Drive(frames=2, calibrated=("front", "right")).write(tmp_path / "drive")
    with running_node(parameters, observer):
        observer.wait_for_status("cameras", r"^(?!.*camera 'left': no calibration)")
        with start_player(bag):
            results = observer.wait_for_messages(DETECTIONS, 2)
    assert [used(result)["left"] for result in results] == [True, True]
