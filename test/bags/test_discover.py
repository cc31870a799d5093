"""The streams that the detector needs are found in a recording without being named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lift3d_ros.bags.discover import discover
from lift3d_ros.bags.reader import open_bag
from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.errors import BagError
from lift3d_ros.geometry.rig import Rig, RigCalibration, RigCamera
from lift3d_ros.types import CameraImage, CameraModel

WriteBag = Callable[..., Path]
NUSCENES = ("cam_back", "cam_back_left", "cam_back_right", "cam_front", "cam_front_left", "cam_front_right")


@pytest.mark.parametrize(
    ("name", "cameras"),
    [
        ("nc_nuscenes_scene0103.bag", NUSCENES),
        ("nc_nuscenes_scene0103_mcap", NUSCENES),
        ("nc_nuscenes_scene0103_sqlite3", NUSCENES),
        ("nc_dgp_scene02_mcap", tuple(f"camera_0{i}" for i in (1, 5, 6, 7, 8, 9))),
    ],
)
def test_surround_recordings_are_understood(shared_dir: Path, name: str, cameras: tuple[str, ...]) -> None:
    with open_bag(shared_dir / "data" / "bags" / name) as reader:
        streams = discover(reader)
    assert tuple(streams.cameras) == cameras
    for camera, topics in streams.cameras.items():
        assert topics.image_topic == f"/{camera}/image_raw/compressed"
        assert topics.info_topic == f"/{camera}/camera_info"
        assert topics.frame_id == f"{camera}_optical_frame"
        assert not topics.is_rectified
    assert (streams.base_frame, streams.world_frame) == ("base_link", "odom")
    assert (streams.tf_topics, streams.tf_static_topics) == (("/tf",), ("/tf_static",))
    assert streams.odometry_topic is None
    assert streams.ground_truth_topic is None


def test_a_really_recorded_ros1_bag_is_understood(shared_dir: Path) -> None:
    with open_bag(shared_dir / "data" / "bags" / "raspicam_fiducials.bag") as reader:
        streams = discover(reader)
    (topics,) = streams.cameras.values()
    assert list(streams.cameras) == ["raspicam_node"]
    assert topics.image_topic == "/raspicam_node/image/compressed"
    assert (topics.info_topic, topics.frame_id) == ("/raspicam_node/camera_info", "raspicam")
    assert streams.world_frame is None
    assert "ego motion: none" in streams.describe()


def cameras_of(path: Path) -> dict[str, tuple[str, str | None]]:
    with open_bag(path) as reader:
        return {name: (c.image_topic, c.info_topic) for name, c in discover(reader).cameras.items()}


def test_compressed_is_preferred_to_raw_and_raw_to_rectified(write_bag: WriteBag) -> None:
    names = ("image_raw", "image_raw/compressed", "image_rect", "image_rect/compressed")
    topics = {f"/front/{name}": "/front/camera_info" if name == "image_raw" else None for name in names}
    assert cameras_of(write_bag(pictures=topics)) == {"front": ("/front/image_raw/compressed", "/front/camera_info")}


def test_depth_infrared_and_masks_are_not_cameras(write_bag: WriteBag) -> None:
    others = [
        "/rs/depth/image_rect_raw", "/rs/aligned_depth_to_color/image_raw", "/rs/infra1/image_rect_raw",
        "/front/image_raw/compressedDepth", "/front/mask/image", "/thermal/ir/image_raw",
    ]  # fmt: skip
    topics: dict[str, str | None] = {"/air_front/image_raw/compressed": "/air_front/camera_info"}
    topics |= dict.fromkeys(others)
    assert list(cameras_of(write_bag(pictures=topics))) == ["air_front"]


def test_cameras_that_share_a_namespace_are_told_apart(write_bag: WriteBag) -> None:
    topics = {f"/cameras/{side}/compressed": f"/cameras/{side}/camera_info" for side in ("front", "rear")}
    assert cameras_of(write_bag(pictures=topics)) == {
        "front": ("/cameras/front/compressed", "/cameras/front/camera_info"),
        "rear": ("/cameras/rear/compressed", "/cameras/rear/camera_info"),
    }


def test_calibration_beside_a_single_picture_of_another_name_is_found(write_bag: WriteBag) -> None:
    assert cameras_of(write_bag(pictures={"/usb_cam/picture": "/usb_cam/camera_info"})) == {
        "picture": ("/usb_cam/picture", "/usb_cam/camera_info")
    }


def test_calibration_of_another_name_is_found_by_frame_and_size(write_bag: WriteBag) -> None:
    pictures = ("/front/image_raw/compressed", "/left/image_raw/compressed")

    def add(writer: BagWriter) -> None:
        K = np.array([[30.0, 0, 15], [0, 30.0, 11], [0, 0, 1]])
        writer.camera_info("/calib/a", CameraModel("a", "front_optical", 32, 24, K), 1, 1)
        writer.camera_info("/calib/small", CameraModel("a", "front_optical", 16, 12, K), 1, 1)
        for same in ("b", "c"):  # which of both is meant cannot be known
            writer.camera_info(f"/calib/{same}", CameraModel(same, "left_optical", 32, 24, K), 1, 1)

    path = write_bag(pictures=dict.fromkeys(pictures), extra=add)
    assert cameras_of(path) == {"front": (pictures[0], "/calib/a"), "left": (pictures[1], None)}


def test_pictures_drawn_by_a_detector_are_not_cameras(write_bag: WriteBag) -> None:
    topics = {"/front/image_raw/compressed": "/front/camera_info", "/bev_detection/bev": None}
    assert list(cameras_of(write_bag(pictures=topics))) == ["front"]


def test_names_are_short_where_that_is_unique(write_bag: WriteBag) -> None:
    topics = dict.fromkeys(
        ["/sensing/camera/left/image_raw", "/robot/a/stereo/image_raw", "/robot/b/stereo/image_raw", "/camera/image"]
    )
    assert sorted(cameras_of(write_bag(pictures=topics))) == ["camera", "left", "robot_a_stereo", "robot_b_stereo"]


def test_rectified_pictures_are_known_by_their_topic(write_bag: WriteBag) -> None:
    names = {
        "a": "image_rect_color/compressed",
        "b": "image_rectified",
        "c": "image_rect_compressed",
        "direct": "image_raw",
    }
    topics = {f"/{camera}/{name}": f"/{camera}/camera_info" for camera, name in names.items()}
    with open_bag(write_bag(pictures=topics)) as reader:
        found = {name: camera.is_rectified for name, camera in discover(reader).cameras.items()}
    assert found == {"a": True, "b": True, "c": True, "direct": False}


def test_without_cameras_the_topics_are_listed_and_a_rig_file_advised(write_bag: WriteBag) -> None:
    path = write_bag(pictures={}, mounted=False)
    with open_bag(path) as reader, pytest.raises(BagError) as caught:
        discover(reader)
    text = str(caught.value)
    assert f"{path}: no camera found" in text
    assert "--rig" in text
    assert "/tf  tf2_msgs/msg/TFMessage  3" in text


def test_an_empty_recording_has_no_camera(write_bag: WriteBag) -> None:
    with open_bag(write_bag(count=0, mounted=False)) as reader, pytest.raises(BagError, match="no camera found"):
        discover(reader)


def test_a_rig_chooses_cameras_topics_and_frames(write_bag: WriteBag) -> None:
    topics = {f"/{name}/image_raw/compressed": f"/{name}/camera_info" for name in ("a", "b", "c")}
    rig = Rig(
        "base",
        {
            "rear": RigCamera(topic="/c/image_raw/compressed", frame_id="rear_optical"),
            "b": RigCamera(camera_info_topic="/ignored"),
        },
    )
    with open_bag(write_bag(pictures=topics)) as reader:
        streams = discover(reader, rig)
    assert list(streams.cameras) == ["rear", "b"]
    rear = streams.cameras["rear"]
    assert (rear.image_topic, rear.info_topic, rear.frame_id) == (
        "/c/image_raw/compressed",
        "/c/camera_info",
        "rear_optical",
    )
    assert streams.cameras["b"].frame_id == "b_optical"
    assert streams.base_frame == "base"


def test_a_rig_with_an_absent_topic_is_answered_with_the_nearest(write_bag: WriteBag) -> None:
    path = write_bag()
    wrong = [
        (RigCamera(topic="/front/image_raw"),
         "has topic '/front/image_raw', which is not in the recording; did you mean '/front/image_raw/compressed'"),
        (RigCamera(topic="/front/image_raw/compressed", camera_info_topic="/front/camera_inf"),
         "has camera_info_topic '/front/camera_inf', .*did you mean '/front/camera_info'"),
    ]  # fmt: skip
    with open_bag(path) as reader:
        for camera, words in wrong:
            with pytest.raises(BagError, match=f"camera 'x' of the rig {words}"):
                discover(reader, Rig(cameras={"x": camera}))
        with pytest.raises(BagError, match=r"camera 'frnt' of the rig names no topic.*did you mean 'front'"):
            discover(reader, Rig(cameras={"frnt": RigCamera()}))


def test_a_rig_with_calibration_needs_no_camera_info(write_bag: WriteBag) -> None:
    calibration = RigCalibration(32, 24, 30.0, 30.0, 15.5, 11.5)
    camera = RigCamera(topic="/front/image_raw/compressed", camera_info_topic="/no", calibration=calibration)
    with open_bag(write_bag()) as reader:
        assert discover(reader, Rig(cameras={"x": camera})).cameras["x"].info_topic is None


def test_a_frame_is_made_from_the_name_where_pictures_have_none(write_bag: WriteBag) -> None:
    def add(writer: BagWriter) -> None:
        writer.image("/bare/image", CameraImage("bare", 1, "", "jpeg", np.array([255, 216], np.uint8)), 1)

    with open_bag(write_bag(extra=add)) as reader:
        assert discover(reader).cameras["bare"].frame_id == "bare_optical_frame"
