"""nuScenes folders are read as their tables say, with boxes turned into the base frame."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lift3d_ros.datasets.nuscenes import NuScenesFolder, list_nuscenes_scenes, read_nuscenes_scene, track_id
from lift3d_ros.datasets.points import read_points
from lift3d_ros.errors import DatasetError

Mini = tuple[Path, dict[str, list[dict[str, Any]]]]
VERSION, SCENE = "v1.0-mini", "scene-0103"


@pytest.fixture(scope="module")
def scene(nuscenes_mini: Mini) -> Any:
    return read_nuscenes_scene(nuscenes_mini[0], VERSION, SCENE)


def record(mini: Mini, table: str, token: str) -> dict[str, Any]:
    return next(row for row in mini[1][table] if row["token"] == token)


def pose(row: dict[str, Any]) -> np.ndarray:
    """Return a record's pose as 4x4, with the textbook formula."""
    w, x, y, z = row["rotation"]
    T = np.eye(4)
    T[:3, :3] = [
        [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
    ]
    T[:3, 3] = row["translation"]
    return T


def test_cameras_have_the_calibration_of_the_tables(nuscenes_mini: Mini, scene: Any) -> None:
    assert sorted(scene.cameras) == sorted(
        ["cam_front", "cam_front_right", "cam_back_right", "cam_back", "cam_back_left", "cam_front_left"]
    )
    for name, camera in scene.cameras.items():
        row = record(nuscenes_mini, "calibrated_sensor", f"calibrated-{name.upper()}")
        assert camera.model.intrinsics.tolist() == row["camera_intrinsic"]
        assert (camera.model.width, camera.model.height, camera.model.distortion_model) == (16, 12, "none")
        assert np.abs(camera.T_base_cam - pose(row)).max() < 1e-9


def test_key_frames_have_the_stamps_and_poses_of_the_tables(nuscenes_mini: Mini, scene: Any) -> None:
    assert [frame.index for frame in scene.frames] == [0, 1, 2]
    for i, frame in enumerate(scene.frames):
        lidar = record(nuscenes_mini, "sample_data", f"data-LIDAR_TOP-{i}")
        assert frame.stamp_ns == lidar["timestamp"] * 1000
        assert (
            np.abs(frame.T_world_base - pose(record(nuscenes_mini, "ego_pose", lidar["ego_pose_token"]))).max() < 1e-9
        )
        for name, image in frame.images.items():
            row = record(nuscenes_mini, "sample_data", f"data-{name.upper()}-{2 * i}")
            assert image.stamp_ns == row["timestamp"] * 1000
            assert image.path == nuscenes_mini[0] / row["filename"]
            ego = pose(record(nuscenes_mini, "ego_pose", row["ego_pose_token"]))
            assert np.abs(image.T_world_base - ego).max() < 1e-9


def test_boxes_are_those_of_the_tables_in_the_base_frame(nuscenes_mini: Mini, scene: Any) -> None:
    classes = {"vehicle.car": "car", "movable_object.barrier": "barrier", "human.pedestrian.adult": "pedestrian"}
    for i, frame in enumerate(scene.frames):
        rows = [row for row in nuscenes_mini[1]["sample_annotation"] if row["sample_token"] == f"sample-{i}"]
        boxes = frame.boxes
        assert len(boxes) == len(rows)
        T_base_world = np.linalg.inv(frame.T_world_base)
        for k, row in enumerate(rows):
            T = T_base_world @ pose(row)
            assert boxes.centers[k] == pytest.approx(T[:3, 3], abs=1e-6)
            width, length, height = row["size"]
            assert boxes.sizes[k].tolist() == [length, width, height]
            assert boxes.yaws[k] == pytest.approx(np.arctan2(T[1, 0], T[0, 0]), abs=1e-9)
            instance = record(nuscenes_mini, "instance", row["instance_token"])
            category = record(nuscenes_mini, "category", instance["category_token"])["name"]
            assert boxes.class_names[boxes.labels[k]] == classes.get(category, "other")
            assert boxes.track_ids[k] == track_id(row["instance_token"])


def test_velocities_are_over_ground_along_the_axes_of_the_base(scene: Any) -> None:
    for frame in scene.frames:
        names = [frame.boxes.class_names[label] for label in frame.boxes.labels]
        car = frame.boxes.velocities[names.index("car")]
        # The car drives at 6 m/s along the world's x axis.
        expected = np.linalg.inv(frame.T_world_base[:3, :3]) @ [6.0, 0.0, 0.0]
        assert car == pytest.approx(expected[:2], abs=1e-5)
        assert frame.boxes.velocities[names.index("barrier")] == pytest.approx([0.0, 0.0], abs=1e-9)
    names = [scene.frames[1].boxes.class_names[label] for label in scene.frames[1].boxes.labels]
    assert np.isnan(scene.frames[1].boxes.velocities[names.index("pedestrian")]).all()


def test_track_ids_are_the_same_in_every_run_and_differ_between_objects(scene: Any) -> None:
    assert track_id("0" * 32) == 4675227013305643
    assert 0 <= track_id("f" * 32) < 2**53
    ids = [frame.boxes.track_ids.tolist() for frame in scene.frames]
    assert ids[0][:2] == ids[1][:2] == ids[2][:2]
    assert len(set(ids[1])) == 4


def test_lidar_points_are_those_of_the_file_in_the_lidar_frame(nuscenes_mini: Mini, scene: Any) -> None:
    row = record(nuscenes_mini, "calibrated_sensor", "calibrated-LIDAR_TOP")
    assert scene.lidar.frame_id == "lidar_top"
    assert np.abs(scene.lidar.T_base_lidar - pose(row)).max() < 1e-9
    xyz, intensity = read_points(scene.frames[0].points_path)
    values = np.fromfile(scene.frames[0].points_path, "<f4").reshape(-1, 5)
    assert np.array_equal(xyz, values[:, :3])
    assert intensity.tolist() == values[:, 3].astype(int).tolist()


def test_sweeps_are_the_pictures_between_key_frames(nuscenes_mini: Mini) -> None:
    scene = read_nuscenes_scene(nuscenes_mini[0], VERSION, SCENE, sweeps=True)
    assert [frame.boxes is None for frame in scene.frames] == [False, True, False, True, False]
    stamps = sorted(frame.images["cam_back"].stamp_ns for frame in scene.frames)
    expected = [row["timestamp"] * 1000 for row in nuscenes_mini[1]["sample_data"] if "-CAM_BACK-" in row["token"]]
    assert stamps == sorted(expected)
    sweep = scene.frames[1]
    assert sweep.points_path is None
    assert len(sweep.images) == 6
    assert np.array_equal(sweep.T_world_base, max(sweep.images.values(), key=lambda i: i.stamp_ns).T_world_base)


def test_scenes_are_listed_with_their_descriptions(nuscenes_mini: Mini) -> None:
    assert list_nuscenes_scenes(nuscenes_mini[0], VERSION) == {SCENE: "Many peds, turn left"}


def test_an_unknown_scene_is_answered_with_the_nearest(nuscenes_mini: Mini) -> None:
    with pytest.raises(DatasetError, match="scene 'scene-103' is not in it; did you mean 'scene-0103'"):
        read_nuscenes_scene(nuscenes_mini[0], VERSION, "scene-103")


def test_a_wrong_version_names_the_ones_that_are_there(nuscenes_mini: Mini, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"v1.0-trainval: not found \(tables found: v1.0-mini\)"):
        NuScenesFolder(nuscenes_mini[0], "v1.0-trainval")
    with pytest.raises(DatasetError, match=r"expected the folder that holds samples/"):
        list_nuscenes_scenes(tmp_path, VERSION)


@pytest.fixture
def copy(nuscenes_mini: Mini, tmp_path: Path) -> Path:
    return Path(shutil.copytree(nuscenes_mini[0], tmp_path / "copy"))


def test_missing_pictures_are_counted_and_the_first_is_named(copy: Path) -> None:
    for file in (copy / "samples" / "CAM_BACK").iterdir():
        file.unlink()
    with pytest.raises(DatasetError, match=r"3 of 21 files of scene 'scene-0103' are missing, the first is samples"):
        read_nuscenes_scene(copy, VERSION, SCENE)


def test_a_missing_table_or_map_is_named(copy: Path) -> None:
    (copy / "maps" / "m.png").unlink()
    with pytest.raises(DatasetError, match=r"maps/m\.png.*unpack"):
        NuScenesFolder(copy, VERSION)
    (copy / VERSION / "ego_pose.json").unlink()
    with pytest.raises(DatasetError, match=r"ego_pose\.json.*unpack"):
        NuScenesFolder(copy, VERSION)


def test_a_broken_link_between_tables_is_an_error_of_the_scene(copy: Path) -> None:
    path = copy / VERSION / "ego_pose.json"
    path.write_text(json.dumps(json.loads(path.read_text())[1:]))
    with pytest.raises(DatasetError, match=r"scene 'scene-0103' has a missing or wrong record"):
        read_nuscenes_scene(copy, VERSION, SCENE)


def test_a_version_without_annotations_has_no_ground_truth(copy: Path) -> None:
    for table in ("sample_annotation", "instance"):
        (copy / VERSION / f"{table}.json").write_text("[]")
    scene = read_nuscenes_scene(copy, VERSION, SCENE)
    assert [frame.boxes for frame in scene.frames] == [None, None, None]


def test_a_missing_devkit_is_answered_with_the_command(nuscenes_mini: Mini, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nuscenes.nuscenes", None)
    with pytest.raises(DatasetError, match="pip install nuscenes-devkit"):
        NuScenesFolder(nuscenes_mini[0], VERSION)
