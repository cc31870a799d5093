"""What was heard on a running system is judged right; the listening itself is tested in test/nodes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lift3d_ros.bags.discover import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE
from lift3d_ros.doctor.live_cameras import find_cameras
from lift3d_ros.doctor.observations import CameraObservation, Publisher, StampSeries, SystemObservation
from lift3d_ros.doctor.report import Check, Report
from lift3d_ros.doctor.running_system import judge_system
from lift3d_ros.doctor.shared_memory import Segment
from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.types import CameraImage, CameraModel

NOW_NS = 1_700_000_000_000_000_000
WIDTH, HEIGHT = 320, 180
OPTICAL = make_transform(np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), [1.0, 0.0, 1.5])
OFFER = Publisher("/driver", IMAGE, "best_effort", "volatile")
INFO_OFFER = Publisher("/driver", CAMERA_INFO, "reliable", "volatile")


def series(count: int = 20, period_s: float = 0.1, age_s: float = 0.03, keep: Any = None) -> StampSeries:
    """Return `count` stamps, or those of them that `keep` names."""
    stamps = StampSeries()
    for index in range(count):
        if keep is None or keep[index]:
            stamp_ns = NOW_NS + round(index * period_s * 1e9)
            stamps.add(stamp_ns, stamp_ns + round(age_s * 1e9), index * period_s)
    return stamps


def model(width: int = WIDTH, height: int = HEIGHT) -> CameraModel:
    K = np.array([[200.0, 0, width / 2], [0, 200.0, height / 2], [0, 0, 1.0]])
    return CameraModel("front", "front_optical_frame", width, height, K)


def image(encoding: str = "rgb8") -> CameraImage:
    data = np.zeros(3 * WIDTH * HEIGHT, dtype=np.uint8)
    return CameraImage("front", NOW_NS, "front_optical_frame", encoding, data, WIDTH, HEIGHT, 3 * WIDTH, False, "/f")


def healthy_camera(**changes: Any) -> CameraObservation:
    given: dict[str, Any] = {
        "model": model(),
        "publishers": [OFFER],
        "info_publishers": [INFO_OFFER],
        "images": series(),
        "first_image": image(),
        "largest_bytes": 172_800,
        "infos": 20,
        "info_frame_id": "front_optical_frame",
    }
    return CameraObservation("front", "/front/image", "/front/camera_info", IMAGE, **(given | changes))


def healthy_system(*cameras: CameraObservation, **changes: Any) -> SystemObservation:
    tree = TransformTree(60.0)
    tree.add("base_link", "front_optical_frame", 0, OPTICAL, is_static=True)
    tree.add("odom", "base_link", NOW_NS, np.eye(4))
    given: dict[str, Any] = {
        "ego": series(40, 0.05),
        "topics": {"/front/image": IMAGE, "/front/camera_info": CAMERA_INFO, "/tf": "tf2_msgs/msg/TFMessage"},
        "seconds": 2.0,
        "end_s": 2.0,
        "rmw": "rmw_fastrtps_cpp",
    }
    chosen = list(cameras) or [healthy_camera()]
    return SystemObservation(chosen, tree, "base_link", "odom", "/tf", **(given | changes))


def judge(system: SystemObservation, segment_bytes: int = 100_000_000) -> Report:
    return judge_system(system, None, segment_bytes)


def problem(report: Report) -> Check:
    (found,) = [check for section in report.sections for check in section.checks if check.level != "OK"]
    return found


def test_a_healthy_system_has_no_problem_and_a_row_for_each_camera(tmp_path: Path) -> None:
    report = judge_system(healthy_system(), tmp_path, 100_000_000)
    assert report.exit_status == 0
    assert "0 WARN, 0 FAIL" in report.text()
    assert report.table[1] == ("front", "/front/image", "10.0", "320x180", "30 ms", "OK", "OK", "OK")
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({"publishers": []}, "FAIL", "nobody publishes it"),
        ({"publishers": [OFFER, replace(OFFER, node="/second")]}, "WARN", "/driver, /second"),
        ({"publishers": [replace(OFFER, type=COMPRESSED_IMAGE)]}, "FAIL", COMPRESSED_IMAGE),
        ({"publishers": [replace(OFFER, refusal="ERROR: reliability")]}, "FAIL", "/driver offers best_effort"),
        ({"images": series(age_s=-2.0)}, "FAIL", "2.00 s in the future"),
        ({"images": series(age_s=5.0)}, "WARN", "5.00 s old"),
        ({"images": series(count=6)}, "WARN", "longest pause 1.50 s"),
        ({"first_image": image("16UC1")}, "FAIL", "16UC1"),
        ({"info_publishers": []}, "FAIL", "/front/camera_info': nobody publishes"),
        ({"infos": 0, "model": None}, "FAIL", "/front/camera_info': /driver offers reliable"),
        ({"model": None, "model_error": "topic '/front/camera_info': focal length is 0"}, "FAIL", "focal length"),
        ({"model": model(WIDTH, 90)}, "FAIL", "320x90"),
        ({"model": model(2 * WIDTH, 2 * HEIGHT)}, "WARN", "640x360"),
        ({"info_frame_id": "front"}, "WARN", "frame_id is 'front'"),
        ({"frame_id": "front_mount"}, "FAIL", "'base_link' -> 'front_mount' of topic '/front/image' is not known"),
    ],
)
def test_each_fault_of_a_camera_is_one_line_with_a_remedy(changes: dict[str, Any], level: str, words: str) -> None:
    found = problem(judge(healthy_system(healthy_camera(**changes))))
    assert found.level == level
    assert words in found.text
    assert found.remedy


def test_lost_pictures_are_told_from_a_slow_camera() -> None:
    received = np.random.default_rng(0).random(60) < 0.35
    stamps = series(60, 1 / 30, keep=received)
    found = problem(judge(healthy_system(healthy_camera(images=stamps))))
    assert "its stamps tell 30.0 Hz" in found.text
    assert "shared-memory profile" in found.remedy
    assert judge(healthy_system(healthy_camera(images=series(5, 0.4)))).text().endswith("0 WARN, 0 FAIL")


def test_stamps_that_are_zero_repeat_or_jump_back_are_counted() -> None:
    stamps = StampSeries()
    for stamp_ns in (NOW_NS, NOW_NS, NOW_NS - 10**9, 0):
        stamps.add(stamp_ns, NOW_NS, 0.1 * stamps.count)
    assert (stamps.zero_stamps, stamps.repeats, stamps.jumps_back) == (1, 1, 1)
    section = judge(healthy_system(healthy_camera(images=stamps))).sections[1]
    found = {check.text: check.level for check in section.checks if check.name == "stamps"}
    assert sorted(found.values()) == ["FAIL", "WARN", "WARN"]
    assert any("1 of 4 stamps are zero" in text for text in found)
    assert any("jump back once" in text for text in found)


def test_calibration_and_mounting_of_the_rig_file_need_no_topics() -> None:
    camera = healthy_camera(is_model_of_rig=True, info_publishers=[], infos=0, T_base_cam=OPTICAL, frame_id="unknown")
    assert judge(healthy_system(camera)).exit_status == 0


def test_a_topic_without_publisher_names_what_is_published_instead() -> None:
    camera = healthy_camera(publishers=[], images=StampSeries(), first_image=None)
    topics = {"/front/image/compressed": COMPRESSED_IMAGE}
    section = judge(healthy_system(camera, topics=topics)).sections[1]
    assert "topics.is_compressed" in section.checks[0].remedy
    section = judge(healthy_system(camera, topics={"/frontal/image": IMAGE})).sections[1]
    assert "did you mean '/frontal/image'" in section.checks[0].remedy


def test_the_same_compressed_choice_has_to_be_made_on_the_node() -> None:
    camera = healthy_camera(is_compressed_by_choice=True)
    camera.image_topic += "/compressed"
    found = problem(judge(healthy_system(camera)))
    assert found.level == "WARN"
    assert "'/front/image'" in found.text
    assert "topics.is_compressed" in found.remedy


@pytest.mark.parametrize(
    ("segments", "own_bytes", "words"),
    [
        ([500_000], 100_000_000, "every process here sends through at most 0.5 MB"),
        ([500_000, 100_000_000], 100_000_000, "some processes here send through only 0.5 MB"),
        ([], 500_000, "larger than the 0.5 MB"),
        ([100_000_000], 6_000_000, "all cameras together send 8.6 MB"),
    ],
)
def test_pictures_larger_than_the_shared_memory_are_named(segments: list[int], own_bytes: int, words: str) -> None:
    cameras = [healthy_camera(largest_bytes=4_320_000), healthy_camera(largest_bytes=4_320_000)]
    listed = [Segment(Path("x"), size, is_stale=False) for size in segments]
    system = healthy_system(*cameras, segments=[*listed, Segment(Path("y"), 100, is_stale=True)])
    assert words in problem(judge(system, own_bytes)).text


def test_another_middleware_has_no_shared_memory_to_look_at() -> None:
    camera = healthy_camera(largest_bytes=4_320_000)
    assert "0 WARN" in judge(healthy_system(camera, rmw="rmw_cyclonedds_cpp"), 500_000).text()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"world_frame": "map"},
            "'map' -> 'base_link' on /tf: not known (frames: base_link, front_optical_frame, odom)",
        ),
        ({"ego": series(4, 0.5)}, "2.0 Hz"),
        ({"ego": series(20, 0.05)}, "longest pause 1.05 s"),
        ({"ego": series(40, 0.05, age_s=0.8)}, "0.77 s later than the pictures"),
        ({"ego": series(40, 0.05, age_s=-1.0)}, "1.00 s in the future"),
        ({"transform_problems": ["topic '/tf': not a rotation"] * 3}, "not a rotation"),
    ],
)
def test_ego_motion_and_transforms(changes: dict[str, Any], words: str) -> None:
    system = healthy_system()
    for name, value in changes.items():
        setattr(system, name, value)
    found = problem(judge(system))
    assert found.level == "WARN"
    assert words in found.text


def test_ego_motion_that_is_switched_off_is_not_missed() -> None:
    system = healthy_system()
    system.ego_source, system.world_frame = "", "nowhere"
    assert judge(system).exit_status == 0
    assert "0 WARN" in judge(system).text()


def test_a_recording_that_is_played_is_one_warning() -> None:
    old = series(age_s=4 * 365.25 * 86400)
    found = problem(judge(healthy_system(healthy_camera(images=old))))
    assert "4.0 years old" in found.text


def test_cameras_are_found_by_the_rules_of_recordings() -> None:
    topics = {
        "/cam_front/image_raw": IMAGE,
        "/cam_front/image_raw/compressed": COMPRESSED_IMAGE,
        "/cam_front/camera_info": CAMERA_INFO,
        "/cam_front/depth/image": IMAGE,
        "/odom": "nav_msgs/msg/Odometry",
    }
    found = find_cameras(topics)
    assert list(found) == ["cam_front"]
    assert found["cam_front"].image_topic == "/cam_front/image_raw/compressed"
    assert found["cam_front"].info_topic == "/cam_front/camera_info"
    assert find_cameras({"/odom": "nav_msgs/msg/Odometry"}) == {}
