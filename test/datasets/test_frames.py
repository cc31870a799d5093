"""Scene folders are read completely, and a wrong one is named with the place of the error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from lift3d_ros.datasets.frames import CLASS_NAMES, frame_set, read_scene, write_meta
from lift3d_ros.datasets.points import read_points
from lift3d_ros.errors import DatasetError, Lift3dError
from lift3d_ros.images.decode import decode


def test_a_scene_holds_what_its_file_says(small_scene: ModuleType, scene_folder: Path) -> None:
    scene = read_scene(scene_folder)
    assert (scene.name, scene.licence, list(scene.cameras)) == ("small", "none", ["front", "left", "back"])
    assert scene.cameras["front"].model.distortion_model == "none"
    left = scene.cameras["left"].model
    assert left.distortion_model == "plumb_bob"
    assert left.distortion.tolist() == [0.1, -0.05, 0.001, 0.002, 0.01]
    assert [frame.stamp_ns for frame in scene.frames] == [small_scene.START_NS + i * 500_000_000 for i in range(3)]
    boxes = scene.frames[1].boxes
    assert boxes is not None
    assert [boxes.class_names[label] for label in boxes.labels] == ["car", "pedestrian", "other"]
    assert boxes.track_ids is not None
    assert boxes.track_ids.tolist() == [2**53 + 1, 7, -1]
    assert np.isnan(boxes.velocities[1]).all()
    assert scene.frames[1].points_path is not None
    xyz, intensity = read_points(scene.frames[1].points_path)
    assert xyz.shape == (50, 3)
    assert intensity.dtype == np.uint8


def test_frames_come_in_order_of_time(scene_folder: Path) -> None:
    document = json.loads((scene_folder / "meta.json").read_text())
    document["frames"].reverse()
    (scene_folder / "meta.json").write_text(json.dumps(document))
    assert [frame.index for frame in read_scene(scene_folder).frames] == [0, 1, 2]


@pytest.mark.parametrize("image_poses", [True, False])
def test_a_frame_set_compensates_the_motion_of_the_car(
    small_scene: ModuleType, tmp_path: Path, image_poses: bool
) -> None:
    small_scene.write_scene_folder(tmp_path, image_poses=image_poses)
    scene = read_scene(tmp_path)
    frame = scene.frames[1]
    views = frame_set(scene, frame).views
    for name, view in views.items():
        expected = np.linalg.inv(small_scene.pose(frame.stamp_ns)) @ small_scene.pose(frame.images[name].stamp_ns)
        assert np.abs(view.T_reference_capture - expected).max() < (1e-9 if image_poses else 0.02)
    assert decode(views["back"].image)[..., ::-1].tolist() == small_scene.picture(12).tolist()


def test_pictures_before_the_first_frame_get_the_pose_of_that_time(small_scene: ModuleType, tmp_path: Path) -> None:
    small_scene.write_scene_folder(tmp_path, image_poses=False)
    scene = read_scene(tmp_path)
    view = frame_set(scene, scene.frames[0]).views["front"]
    # The camera fired 30 ms before the reference stamp, at 8 m/s.
    assert view.T_reference_capture[0, 3] == pytest.approx(-0.24, abs=0.01)
    assert view.T_reference_capture[1, 0] == pytest.approx(-0.006, abs=1e-4)


def test_a_single_frame_has_no_ego_motion(small_scene: ModuleType, tmp_path: Path) -> None:
    small_scene.write_scene_folder(tmp_path, frames=1, image_poses=False)
    scene = read_scene(tmp_path)
    result = frame_set(scene, scene.frames[0])
    assert result.ego is None
    assert np.abs(result.views["front"].T_reference_capture - np.eye(4)).max() < 1e-12


def test_written_meta_data_reads_back_the_same(scene_folder: Path) -> None:
    scene = read_scene(scene_folder)
    write_meta(scene, scene_folder, original_size=(48, 32))
    again = read_scene(scene_folder)
    for first, second in zip(scene.frames, again.frames, strict=True):
        assert first.points_path == second.points_path
        assert np.abs(first.T_world_base - second.T_world_base).max() < 1e-5
        assert first.boxes is not None
        assert second.boxes is not None
        assert first.boxes.track_ids is not None
        assert second.boxes.track_ids is not None
        assert np.abs(first.boxes.centers - second.boxes.centers).max() < 1e-3
        assert first.boxes.track_ids.tolist() == second.boxes.track_ids.tolist()
    assert again.cameras["left"].model.distortion.tolist() == scene.cameras["left"].model.distortion.tolist()


@pytest.mark.parametrize("coefficients", [{}, {"D": [0.0] * 4}, {"D": [0.1, 0.0, -0.02, 0.0]}])
def test_a_fisheye_camera_stays_one_when_it_is_read_and_written(
    scene_folder: Path, coefficients: dict[str, list[float]]
) -> None:
    path = scene_folder / "meta.json"
    document = json.loads(path.read_text())
    del document["cameras"][0]["D"]
    document["cameras"][0] |= {"distortion_model": "equidistant", **coefficients}
    path.write_text(json.dumps(document))
    for _ in range(2):
        scene = read_scene(scene_folder)
        model = scene.cameras["front"].model
        assert model.distortion_model == "equidistant"
        assert model.distortion.tolist() == coefficients.get("D", [0.0] * 4)
        write_meta(scene, scene_folder, original_size=(48, 32))


def drop_stamp(document: dict[str, Any]) -> None:
    del document["frames"][1]["stamp_ns"]


def unknown_camera(document: dict[str, Any]) -> None:
    document["frames"][0]["images"]["rear"] = document["frames"][0]["images"].pop("back")


def scaled_pose(document: dict[str, Any]) -> None:
    document["frames"][0]["T_world_base"] = (2 * np.eye(4)).tolist()


def one_stamp_twice(document: dict[str, Any]) -> None:
    document["frames"][2]["stamp_ns"] = document["frames"][0]["stamp_ns"]


def transposed_pose(document: dict[str, Any]) -> None:
    pose = document["frames"][1]["images"]["left"]["T_world_base"]
    document["frames"][1]["images"]["left"]["T_world_base"] = np.transpose(pose).tolist()


def pose_without_position(document: dict[str, Any]) -> None:
    document["frames"][1]["T_world_base"][0][3] = None


def mirrored_mounting(document: dict[str, Any]) -> None:
    for row in document["cameras"][1]["T_base_cam"][:3]:
        row[0] = -row[0]


def absent_picture(document: dict[str, Any]) -> None:
    document["frames"][2]["images"]["left"]["file"] = "images/left/99.jpg"


def absent_picture_elsewhere(document: dict[str, Any]) -> None:
    document["frames"][2]["images"]["left"]["file"] = "/data/99.jpg"


def no_frames(document: dict[str, Any]) -> None:
    document["frames"] = []


def zero_focal_length(document: dict[str, Any]) -> None:
    document["cameras"][0]["K"][0][0] = 0.0


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (drop_stamp, ["'stamp_ns'", "missing"]),
        (unknown_camera, ["camera 'rear'", "not in 'cameras'"]),
        (scaled_pose, ["frame 0, field 'T_world_base'", "not a rotation"]),
        (one_stamp_twice, ["frames 0 and 2", "same field 'stamp_ns'"]),
        (transposed_pose, ["frame 1, picture of camera 'left', field 'T_world_base'", "[0, 0, 0, 1]", "transposed?"]),
        (pose_without_position, ["frame 1, field 'T_world_base'", "not finite"]),
        (mirrored_mounting, ["camera 'left', field 'T_base_cam'", "mirrored"]),
        (absent_picture, ["images/left/99.jpg", "does not exist"]),
        (absent_picture_elsewhere, ["'/data/99.jpg' of frame 2", "does not exist"]),
        (no_frames, ["0 frames", "expected at least one"]),
        (zero_focal_length, ["camera 'front'", "focal length"]),
    ],
)
def test_a_wrong_file_is_named_with_the_place(
    scene_folder: Path, damage: Callable[[dict[str, Any]], None], words: list[str]
) -> None:
    path = scene_folder / "meta.json"
    document = json.loads(path.read_text())
    damage(document)
    path.write_text(json.dumps(document))
    with pytest.raises(Lift3dError) as caught:
        read_scene(scene_folder)
    assert all(word in str(caught.value) for word in [str(path), *words]), str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("instance", "3f2a", "field 'instance' is '3f2a'; expected a whole number"),
        ("instance", 2**63, "expected a whole number"),
        ("instance", float("inf"), "expected a whole number"),
        ("center", [1.0, 2.0], r"field 'center' is \[1.0, 2.0\]; expected 3 numbers"),
        ("size", 4.0, "field 'size' is 4.0; expected 3 numbers"),
        ("yaw", [0.0, 0.0, 0.0, 1.0], "field 'yaw' is .*; expected a number"),
        ("velocity", [1.0, 2.0, 0.0], "field 'velocity' is .*; expected 2 numbers"),
        ("visibility", "full", "field 'visibility' is 'full'; expected a number"),
        ("num_lidar_pts", 1.5, "field 'num_lidar_pts' is 1.5; expected a whole number"),
    ],
)
def test_a_wrong_field_of_a_label_is_named_with_frame_and_box(
    scene_folder: Path, field: str, value: Any, expected: str
) -> None:
    path = scene_folder / "meta.json"
    document = json.loads(path.read_text())
    document["frames"][1]["boxes"][1][field] = value
    path.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match=rf"meta\.json: frame 1, box 1: .*{expected}"):
        read_scene(scene_folder)


def test_what_a_label_does_not_tell_is_unknown(scene_folder: Path) -> None:
    path = scene_folder / "meta.json"
    document = json.loads(path.read_text())
    label = document["frames"][0]["boxes"][0]
    label |= {"velocity": [None, None], "visibility": None, "num_lidar_pts": None, "instance": None}
    path.write_text(json.dumps(document))
    frame = read_scene(scene_folder).frames[0]
    assert frame.boxes is not None
    assert frame.visibility is not None
    assert frame.num_points is not None
    assert np.isnan(frame.boxes.velocities[0]).all()
    assert np.isnan(frame.visibility[0])
    assert frame.num_points[0] == frame.boxes.track_ids[0] == -1  # type: ignore[index]


@pytest.mark.parametrize("content", ["", "[1, 2]", "{", '{"cameras": 3, "frames": []}', "null"])
def test_something_else_than_a_scene_is_an_error_of_the_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "meta.json").write_text(content)
    with pytest.raises(DatasetError, match=r"meta\.json"):
        read_scene(tmp_path)


def test_a_folder_without_meta_data_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"meta\.json: not found; expected a scene folder"):
        read_scene(tmp_path)


def test_lidar_files_with_other_content_are_errors(tmp_path: Path) -> None:
    short = tmp_path / "short.pcd.bin"
    np.zeros(7, "<f4").tofile(short)
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, points=np.zeros(3))
    for path in (short, wrong, tmp_path / "absent.npz", tmp_path / "absent.pcd.bin"):
        with pytest.raises(DatasetError, match=path.name):
            read_points(path)


def test_shared_scenes_are_read(shared_dir: Path) -> None:
    folders = sorted(path.parent for path in (shared_dir / "data" / "driving").glob("*/meta.json"))
    assert folders
    for folder in folders:
        scene = read_scene(folder)
        views = frame_set(scene, scene.frames[0]).views
        for name, view in views.items():
            size = cv2.imdecode(view.image.data, cv2.IMREAD_COLOR).shape[:2]
            assert size == (scene.cameras[name].model.height, scene.cameras[name].model.width)


def test_classes_are_the_ten_of_nuscenes_and_other() -> None:
    assert len(CLASS_NAMES) == 11
    assert CLASS_NAMES[-1] == "other"
