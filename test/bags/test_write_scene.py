"""Scenes come back from their recordings: pictures, calibration, poses and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lift3d_ros.bags.discover import discover
from lift3d_ros.bags.from_frames import bag_from_frames
from lift3d_ros.bags.from_nuscenes import bag_from_nuscenes
from lift3d_ros.bags.messages import boxes_from_msg, ego_motion_from_msg, image_from_msg, stamp_ns, transforms_from_msg
from lift3d_ros.bags.reader import open_bag
from lift3d_ros.bags.write_scene import write_scene
from lift3d_ros.datasets.frames import CLASS_NAMES, Scene, frame_set, read_scene
from lift3d_ros.datasets.nuscenes import read_nuscenes_scene
from lift3d_ros.datasets.points import read_points
from lift3d_ros.errors import DatasetError
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.pipelines.frame_sets import SyncConfig
from lift3d_ros.replay.bag_frames import BagFrames
from lift3d_ros.types import FrameSet


def frame_sets(path: Path) -> tuple[list[FrameSet], BagFrames]:
    with open_bag(path) as reader:
        frames = BagFrames(reader, discover(reader), SyncConfig())
        return list(frames.frame_sets()), frames


@pytest.fixture(params=["mcap", "sqlite3"])
def recording(scene_folder: Path, tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Scene, Path]:
    out = tmp_path / "bag"
    count = bag_from_frames(scene_folder, out, storage=request.param)
    with open_bag(out) as reader:
        assert reader.message_count == count
    return read_scene(scene_folder), out


def test_pictures_come_back_byte_for_byte(recording: tuple[Scene, Path]) -> None:
    scene, path = recording
    expected = {
        (f"/{name}/image_raw/compressed", image.stamp_ns): image.path.read_bytes()
        for frame in scene.frames
        for name, image in frame.images.items()
    }
    found = {}
    with open_bag(path) as reader:
        for message in reader.messages([topic.name for topic in reader.topics_of("sensor_msgs/msg/CompressedImage")]):
            image = image_from_msg(message.message, "camera", message.topic)
            found[message.topic, image.stamp_ns] = image.data.tobytes()
            # The recorder is 25 to 50 ms behind the camera.
            assert 25_000_000 <= message.log_ns - image.stamp_ns <= 50_000_000
    assert found == expected
    assert len(found) == 9


def test_replay_sees_the_calibration_and_motion_of_the_scene(recording: tuple[Scene, Path]) -> None:
    scene, path = recording
    sets, _ = frame_sets(path)
    assert len(sets) == 3
    T_odom_world = np.linalg.inv(scene.frames[0].T_world_base)
    for result, frame in zip(sets, scene.frames, strict=True):
        assert result.missing == ()
        assert result.ego is not None
        for name, view in result.views.items():
            camera = scene.cameras[name]
            assert view.model.intrinsics.tolist() == camera.model.intrinsics.tolist()
            assert view.model.distortion.tolist() == camera.model.distortion.tolist()
            assert view.image.frame_id == camera.model.frame_id
            assert np.abs(view.T_base_cam - camera.T_base_cam).max() < 1e-12
            image = frame.images[name]
            assert view.image.stamp_ns == image.stamp_ns
            assert image.T_world_base is not None
            T_odom_capture = result.ego.T_world_base @ view.T_reference_capture
            assert np.abs(T_odom_capture - T_odom_world @ image.T_world_base).max() < 1e-6


def test_poses_are_exact_at_every_known_stamp(recording: tuple[Scene, Path]) -> None:
    scene, path = recording
    tree = TransformTree()
    with open_bag(path) as reader:
        for message in reader.messages(["/tf"]):
            for entry in transforms_from_msg(message.message, "/tf"):
                tree.add(entry.parent, entry.child, entry.stamp_ns, entry.T_parent_child)
    T_odom_world = np.linalg.inv(scene.frames[0].T_world_base)
    for frame in scene.frames:
        found = tree.lookup("odom", "base_link", frame.stamp_ns)
        assert np.abs(found - T_odom_world @ frame.T_world_base).max() < 1e-9


def test_odometry_has_the_velocity_of_the_car(recording: tuple[Scene, Path]) -> None:
    _, path = recording
    with open_bag(path) as reader:
        messages = list(reader.messages(["/odom"]))
    stamps = [stamp_ns(message.message.header) for message in messages]
    assert set(np.diff(stamps).tolist()) == {50_000_000}
    for message in messages:
        motion, child = ego_motion_from_msg(message.message, "/odom")
        assert child == "base_link"
        assert motion.linear_velocity is not None
        assert motion.angular_velocity is not None
        # Chords of the circle are a little shorter than it.
        assert motion.linear_velocity[0] == pytest.approx(8.0, abs=0.05)
        assert motion.angular_velocity[2] == pytest.approx(0.2, abs=0.01)


def test_labels_come_back_equal(recording: tuple[Scene, Path]) -> None:
    scene, path = recording
    with open_bag(path) as reader:
        found = {
            stamp_ns(message.message.header): boxes_from_msg(message.message, CLASS_NAMES)
            for message in reader.messages(["/ground_truth/boxes"])
        }
    assert list(found) == [frame.stamp_ns for frame in scene.frames]
    for frame in scene.frames:
        boxes, expected = found[frame.stamp_ns], frame.boxes
        assert expected is not None
        assert boxes.frame_id == "base_link"
        assert boxes.centers.tolist() == expected.centers.tolist()
        assert boxes.sizes.tolist() == expected.sizes.tolist()
        assert np.abs(boxes.yaws - expected.yaws).max() < 1e-12
        assert np.array_equal(boxes.velocities, expected.velocities, equal_nan=True)
        assert [boxes.class_names[label] for label in boxes.labels] == ["car", "pedestrian", "animal"]
        assert boxes.track_ids is not None
        assert boxes.track_ids.tolist() == [2**53 + 1, 7, -1]


def test_replay_finds_the_labels_of_each_frame(recording: tuple[Scene, Path]) -> None:
    scene, path = recording
    _, frames = frame_sets(path)
    assert sorted(frames.labels) == [frame.stamp_ns for frame in scene.frames]


def test_points_come_back_equal(recording: tuple[Scene, Path]) -> None:
    scene, path = recording
    with open_bag(path) as reader:
        messages = [message.message for message in reader.messages(["/points"])]
    for frame, message in zip(scene.frames, messages, strict=True):
        assert frame.points_path is not None
        xyz, intensity = read_points(frame.points_path)
        values = message.data.view("<f4").reshape(-1, 4)
        assert message.header.frame_id == "lidar_base"
        assert np.array_equal(values[:, :3], xyz)
        assert np.array_equal(values[:, 3], intensity)


def test_the_same_scene_makes_the_same_bytes(scene_folder: Path, tmp_path: Path) -> None:
    for parent in ("a", "b"):
        bag_from_frames(scene_folder, tmp_path / parent / "bag")
    first, second = ((tmp_path / parent / "bag" / "bag.mcap").read_bytes() for parent in ("a", "b"))
    assert first == second


def test_a_picture_that_vanishes_leaves_no_half_recording(scene_folder: Path, tmp_path: Path) -> None:
    scene = read_scene(scene_folder)
    (scene_folder / "images" / "left" / "2.jpg").unlink()
    with pytest.raises(DatasetError, match=r"2\.jpg: picture of camera 'left' cannot be read"):
        write_scene(scene, tmp_path / "bag")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["small_scene"]


def rename_cameras(folder: Path, names: dict[str, str]) -> None:
    text = (folder / "meta.json").read_text()
    for old, new in names.items():
        text = text.replace(f'"{old}"', f'"{new}"')
    (folder / "meta.json").write_text(text)


def test_camera_names_become_names_that_ros_allows(scene_folder: Path, tmp_path: Path) -> None:
    rename_cameras(scene_folder, {"front": "CAM Front-1"})
    bag_from_frames(scene_folder, tmp_path / "bag")
    with open_bag(tmp_path / "bag") as reader:
        assert "/cam_front_1/image_raw/compressed" in {topic.name for topic in reader.topics}


def test_cameras_that_would_share_a_topic_are_refused(scene_folder: Path, tmp_path: Path) -> None:
    rename_cameras(scene_folder, {"front": "Left"})
    with pytest.raises(DatasetError, match=r"cameras 'Left' and 'left' would both be written to '/left'"):
        bag_from_frames(scene_folder, tmp_path / "bag")


@pytest.mark.parametrize(
    ("name", "sets", "cameras"), [("nc_nuscenes_scene0103", 4, 6), ("nc_dgp_scene02", 3, 6), ("nc_kitti_000008", 1, 1)]
)
def test_shared_scenes_make_complete_sets(shared_dir: Path, tmp_path: Path, name: str, sets: int, cameras: int) -> None:
    folder = shared_dir / "data" / "driving" / name
    bag_from_frames(folder, tmp_path / name)
    found, _ = frame_sets(tmp_path / name)
    scene = read_scene(folder)
    assert len(found) == sets
    for result, frame in zip(found, scene.frames, strict=True):
        assert (len(result.views), result.missing, result.problems) == (cameras, (), ())
        assert result.ego is not None
        # The same motion between the pictures as from the folder; the file itself gives poses that differ by some
        # millimetres for cameras with the same stamp.
        direct = frame_set(scene, frame)
        motions = {name.lower(): view.T_reference_capture for name, view in direct.views.items()}
        T_first = motions[next(iter(result.views))]
        T_first_of_bag = next(iter(result.views.values())).T_reference_capture
        for camera, view in result.views.items():
            expected = np.linalg.inv(T_first) @ motions[camera]
            assert np.abs(np.linalg.inv(T_first_of_bag) @ view.T_reference_capture - expected).max() < 1e-2


@pytest.mark.parametrize("sweeps", [False, True])
def test_nuscenes_becomes_the_recording_of_its_scene(nuscenes_root: Path, tmp_path: Path, sweeps: bool) -> None:
    out = tmp_path / "bag"
    count = bag_from_nuscenes(nuscenes_root, "scene-0103", "v1.0-mini", out, sweeps=sweeps)
    scene = read_nuscenes_scene(nuscenes_root, "v1.0-mini", "scene-0103", sweeps=sweeps)
    with open_bag(out) as reader:
        assert reader.message_count == count
        counts = {topic.name: topic.count for topic in reader.topics}
        points = reader.first_messages(["/points"])["/points"].message
    assert counts["/cam_front/image_raw/compressed"] == (5 if sweeps else 3)
    assert (counts["/points"], counts["/ground_truth/boxes"]) == (3, 3)
    assert (points.header.frame_id, points.width) == ("lidar_top", 20)
    sets, frames = frame_sets(out)
    assert len(sets) == len(scene.frames)
    for result, frame in zip(sets, scene.frames, strict=True):
        assert result.missing == ()
        for name, view in result.views.items():
            assert view.image.data.tobytes() == frame.images[name].path.read_bytes()
            assert np.abs(view.T_base_cam - scene.cameras[name].T_base_cam).max() < 1e-12
    labelled = [frame for frame in scene.frames if frame.boxes is not None]
    assert sorted(frames.labels) == [frame.stamp_ns for frame in labelled]
    for frame in labelled:
        _assert_equal_boxes(frames.labels[frame.stamp_ns].boxes, frame.boxes)


def _assert_equal_boxes(found: Any, expected: Any) -> None:
    assert np.abs(found.centers - expected.centers).max() < 1e-9
    assert np.abs(found.yaws - expected.yaws).max() < 1e-9
    assert np.array_equal(found.velocities, expected.velocities, equal_nan=True)
    assert found.track_ids.tolist() == expected.track_ids.tolist()
    names = [expected.class_names[label] for label in expected.labels]
    assert [found.class_names[label] for label in found.labels] == names
