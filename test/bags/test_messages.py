"""ROS messages become the types of the package, whatever the ROS version and the habits of the publisher."""

from __future__ import annotations

import array
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from lift3d_ros.bags.messages import (
    add_transforms,
    boxes_from_msg,
    bytes_of,
    camera_model_from_msg,
    ego_motion_from_msg,
    image_from_msg,
    stamp_ns,
    transforms_from_msg,
)
from lift3d_ros.bags.reader import open_bag
from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.errors import CalibrationError, ImageError, TransformError
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.images.decode import COLOUR_ENCODINGS, DEPTH_ENCODINGS, decode, decode_depth
from lift3d_ros.types import CameraImage

WriteBag = Callable[..., Path]
TOPIC = "/front/camera_info"
K = [400.0, 0.0, 320.0, 0.0, 401.0, 240.0, 0.0, 0.0, 1.0]
P = [380.0, 0.0, 310.0, -5.0, 0.0, 381.0, 230.0, 0.0, 0.0, 0.0, 1.0, 0.0]
BYTES_PER_PIXEL = {"rgb16": 6, "bgr16": 6, "rgba16": 8, "bgra16": 8, "mono16": 2, "16UC1": 2, "32FC1": 4}


def header(frame_id: str = "front_optical") -> Any:
    return SimpleNamespace(stamp=SimpleNamespace(sec=5, nanosec=7), frame_id=frame_id)


def bytes_per_pixel(encoding: str) -> int:
    if encoding in BYTES_PER_PIXEL:
        return BYTES_PER_PIXEL[encoding]
    if encoding.startswith("bayer"):
        return 2 if encoding.endswith("16") else 1
    if encoding.startswith(("yuv", "uyvy", "yuyv")):
        return 2
    return {"mono8": 1, "8UC1": 1, "nv12": 1, "nv21": 1, "rgba8": 4, "bgra8": 4, "8UC4": 4}.get(encoding, 3)


@pytest.mark.parametrize(
    "encoding", sorted({name for name in (*COLOUR_ENCODINGS, *DEPTH_ENCODINGS) if name not in ("jpeg", "png")})
)
def test_raw_pictures_of_every_encoding_survive_a_recording(write_bag: WriteBag, encoding: str) -> None:
    height, width = 8, 16
    step = width * bytes_per_pixel(encoding) + 6  # rows may be padded
    rows = height * 3 // 2 if encoding.startswith("nv") else height
    data = np.random.default_rng(1).integers(0, 64, step * rows, dtype=np.uint8)
    original = CameraImage("front", 123_456_789_012, "optical", encoding, data, width, height, step, source="/f/image")

    def write(writer: BagWriter) -> None:
        writer.image("/f/image", original, 9)

    with open_bag(write_bag(extra=write)) as reader:
        image = image_from_msg(next(reader.messages(["/f/image"])).message, "front", "/f/image")
    assert (image.encoding, image.width, image.height, image.step) == (encoding, width, height, step)
    assert (image.stamp_ns, image.frame_id, image.source) == (123_456_789_012, "optical", "/f/image")
    assert np.array_equal(image.data, data)
    turn = decode_depth if encoding in ("16UC1", "32FC1") else decode
    assert np.array_equal(turn(image), turn(original))


@pytest.mark.parametrize("data", [np.arange(4, dtype=np.uint8), array.array("B", range(4)), bytes(range(4))])
def test_bytes_are_viewed_whatever_the_container(data: Any) -> None:
    assert bytes_of(data).tolist() == [0, 1, 2, 3]


def encoded(suffix: str) -> bytes:
    return bytes(cv2.imencode(suffix, np.zeros((4, 4, 3), np.uint8))[1].tobytes())


@pytest.mark.parametrize(
    "text", ["jpeg", "jpg", "rgb8; jpeg compressed bgr8", "bgr8; jpeg compressed ", "JPEG", "", "?"]
)
def test_jpeg_is_known_whatever_the_format_string(text: str) -> None:
    message = SimpleNamespace(header=header("/front_optical"), format=text, data=encoded(".jpg"))
    image = image_from_msg(message, "front", "/front/image")
    assert (image.encoding, image.stamp_ns, image.frame_id) == ("jpeg", 5_000_000_007, "front_optical")


@pytest.mark.parametrize("text", ["png", "bgr8; png compressed bgr8", "jpeg", ""])
def test_png_is_known_even_if_the_format_string_errs(text: str) -> None:
    message = SimpleNamespace(header=header(), format=text, data=encoded(".png"))
    assert image_from_msg(message, "front", "/front/image").encoding == "png"


def test_unknown_compression_names_topic_format_and_first_bytes() -> None:
    message = SimpleNamespace(header=header(), format="h264", data=b"\x00\x00\x00\x01\x67")
    with pytest.raises(ImageError, match=r"'/front/image'.*'h264' starts with 00 00 00 01 67; expected JPEG or PNG"):
        image_from_msg(message, "front", "/front/image")


def test_compressed_depth_is_told_from_colour() -> None:
    message = SimpleNamespace(header=header(), format="16UC1; compressedDepth png", data=b"\x00" * 12 + encoded(".png"))
    with pytest.raises(ImageError, match="compressed depth; expected a colour picture"):
        image_from_msg(message, "front", "/front/depth")


def info(*, is_ros1: bool = False, **changes: Any) -> Any:
    fields: dict[str, Any] = {
        "header": header(), "width": 640, "height": 480, "distortion_model": "plumb_bob",
        "d": [0.1, 0.01, 0.0, 0.0, 0.0], "k": K, "r": np.eye(3).reshape(-1).tolist(), "p": P,
        "binning_x": 0, "binning_y": 0, "roi": SimpleNamespace(x_offset=0, y_offset=0),
    }  # fmt: skip
    fields.update(changes)
    if is_ros1:
        fields = {key.upper() if len(key) == 1 else key: value for key, value in fields.items()}
    return SimpleNamespace(**fields)


@pytest.mark.parametrize("is_ros1", [True, False])
def test_calibration_has_the_same_meaning_in_both_versions_of_ros(is_ros1: bool) -> None:
    model = camera_model_from_msg(info(is_ros1=is_ros1), "front", TOPIC)
    assert model.intrinsics.reshape(-1).tolist() == K
    assert model.distortion.tolist() == [0.1, 0.01, 0.0, 0.0, 0.0]
    assert (model.name, model.frame_id, model.width, model.height) == ("front", "front_optical", 640, 480)


@pytest.mark.parametrize("is_ros1", [True, False])
def test_rectified_pictures_have_the_projection_matrix_and_no_distortion(is_ros1: bool) -> None:
    model = camera_model_from_msg(info(is_ros1=is_ros1), "front", TOPIC, is_rectified=True)
    assert model.intrinsics.tolist() == [[380.0, 0.0, 310.0], [0.0, 381.0, 230.0], [0.0, 0.0, 1.0]]
    assert not model.is_distorted


def test_rectified_pictures_without_a_projection_matrix_have_k() -> None:
    model = camera_model_from_msg(info(p=[0.0] * 12), "front", TOPIC, is_rectified=True)
    assert model.intrinsics.reshape(-1).tolist() == K
    assert not model.is_distorted


@pytest.mark.parametrize(
    ("name", "coefficients", "expected"),
    [
        ("plumb_bob", [0.0] * 5, "none"),
        ("", [], "none"),
        ("plumb_bob", [0.1, 0.0, 0.0, 0.0, 0.0, 0.1, 0.0, 0.0], "rational_polynomial"),
        ("rational_polynomial", [0.1] * 8, "rational_polynomial"),
        ("equidistant", [0.0] * 4, "equidistant"),
        ("fisheye", [0.1, 0.0, 0.0, 0.0], "equidistant"),
    ],
)
def test_distortion_models_are_known_by_their_usual_names(name: str, coefficients: list[float], expected: str) -> None:
    model = camera_model_from_msg(info(distortion_model=name, d=coefficients), "front", TOPIC)
    assert model.distortion_model == expected


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"k": [0.0] * 9}, "focal length is fx=0, fy=0; expected positive.*calibrate it"),
        ({"k": [float("nan"), *K[1:]]}, "finite"),
        ({"width": 0}, "image size is 0x480"),
        ({"distortion_model": "omni"}, "distortion model 'omni' is not known"),
        ({"d": [0.1, 0.2, 0.3]}, "takes 4 or 5 coefficients, got 3"),
        ({"binning_x": 2}, "binning 2x0.*expected neither"),
        ({"roi": SimpleNamespace(x_offset=8, y_offset=0)}, r"region of interest at \(8, 0\)"),
    ],
)
def test_unusable_calibration_names_the_topic(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CalibrationError, match=f"topic '{TOPIC}': .*{words}"):
        camera_model_from_msg(info(**changes), "front", TOPIC)


def pose_fields(x: float, y: float, z: float, w: float) -> Any:
    return SimpleNamespace(x=x, y=y, z=z, w=w)


def test_transforms_come_without_leading_slash() -> None:
    transform = SimpleNamespace(
        translation=SimpleNamespace(x=1.0, y=2.0, z=3.0), rotation=pose_fields(0.0, 0.0, np.sin(0.25), np.cos(0.25))
    )
    entry = SimpleNamespace(header=header("/base_link"), child_frame_id="/camera", transform=transform)
    (result,) = transforms_from_msg(SimpleNamespace(transforms=[entry]), "/tf")
    assert (result.parent, result.child, result.stamp_ns) == ("base_link", "camera", 5_000_000_007)
    assert result.T_parent_child[:3, 3].tolist() == [1.0, 2.0, 3.0]
    assert np.arctan2(result.T_parent_child[1, 0], result.T_parent_child[0, 0]) == pytest.approx(0.5)


def test_a_zero_quaternion_names_topic_and_frames() -> None:
    transform = SimpleNamespace(translation=SimpleNamespace(x=0.0, y=0.0, z=0.0), rotation=pose_fields(0, 0, 0, 0))
    entry = SimpleNamespace(header=header("base_link"), child_frame_id="camera", transform=transform)
    with pytest.raises(TransformError, match=r"topic '/tf', 'base_link' -> 'camera': quaternion .* is not a rotation"):
        transforms_from_msg(SimpleNamespace(transforms=[entry]), "/tf")


def test_odometry_is_pose_velocity_and_the_frame_that_moves() -> None:
    vector = SimpleNamespace(x=1.0, y=2.0, z=3.0)
    pose = SimpleNamespace(position=vector, orientation=pose_fields(0.0, 0.0, 0.0, 1.0))
    twist = SimpleNamespace(linear=vector, angular=SimpleNamespace(x=0.0, y=0.0, z=0.5))
    message = SimpleNamespace(
        header=header("/odom"), child_frame_id="/base_link", pose=SimpleNamespace(pose=pose),
        twist=SimpleNamespace(twist=twist),
    )  # fmt: skip
    motion, child = ego_motion_from_msg(message, "/odom")
    assert (motion.world_frame, child, motion.stamp_ns) == ("odom", "base_link", stamp_ns(message.header))
    assert motion.T_world_base[:3, 3].tolist() == [1.0, 2.0, 3.0]
    assert motion.linear_velocity is not None
    assert motion.linear_velocity.tolist() == [1.0, 2.0, 3.0]


def test_labels_that_are_not_known_are_added_behind_the_known() -> None:
    detections = [
        SimpleNamespace(
            pose=SimpleNamespace(position=SimpleNamespace(x=1.0, y=0.0, z=0.0), orientation=pose_fields(0, 0, 0, 1)),
            size=SimpleNamespace(x=4.0, y=2.0, z=1.5), velocity=SimpleNamespace(x=np.nan, y=np.nan, z=np.nan),
            label=label, score=0.5, track_id=2**60 + 1,
        )
        for label in ("tram", "car")
    ]  # fmt: skip
    boxes = boxes_from_msg(SimpleNamespace(header=header("base_link"), detections=detections), ("car", "bus"))
    assert boxes.class_names == ("car", "bus", "tram")
    assert boxes.labels.tolist() == [2, 0]
    assert boxes.track_ids is not None
    assert boxes.track_ids.tolist() == [2**60 + 1] * 2
    assert len(boxes_from_msg(SimpleNamespace(header=header(), detections=[]), ("car",))) == 0


def test_an_unusable_transform_is_told_once_and_does_not_cost_the_others() -> None:
    def entry(parent: str, child: str, w: float, x: float = 0.0) -> Any:
        translation = SimpleNamespace(x=x, y=0.0, z=0.0)
        transform = SimpleNamespace(translation=translation, rotation=pose_fields(0, 0, 0, w))
        return SimpleNamespace(header=header(parent), child_frame_id=child, transform=transform)

    tree, problems, reported = TransformTree(), list[str](), set[tuple[str, str]]()
    entries = [
        entry("base", "cam1", 0.0), entry("base", "cam2", 0.0), entry("base", "base", 1.0),
        entry("base", "cam3", 1.0, float("nan")), entry("base", "cam4", 1.0),
    ]  # fmt: skip
    for _ in range(3):
        message = SimpleNamespace(transforms=entries)
        add_transforms(tree, message, "/tf", is_static=True, on_problem=problems.append, reported=reported)
    assert tree.frames == ("base", "cam4")
    assert len(problems) == 4
    for problem, frames in zip(problems, ("cam1", "cam2", "base", "cam3"), strict=True):
        assert problem.startswith("topic '/tf'")
        assert f"'base' -> '{frames}'" in problem
