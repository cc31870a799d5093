"""Labelled scenes are read completely or refused with scene, file and field; nothing is left out in silence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from lift3d_ros.datasets.class_map import ClassMap
from lift3d_ros.datasets.points import read_points
from lift3d_ros.datasets.prepared import prepare_sample
from lift3d_ros.datasets.scene_data import NuScenesData, SceneFolders
from lift3d_ros.errors import CalibrationError, DatasetError, Lift3dError
from lift3d_ros.geometry.rigid import transform_points
from lift3d_ros.images.preprocess import InputSpec

ANIMALS = {"animal": "ignore"}


def animals() -> ClassMap:
    return ClassMap(table=ANIMALS)


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads((folder / "meta.json").read_text())
    change(document)
    (folder / "meta.json").write_text(json.dumps(document))


def test_a_folder_gives_its_labelled_frames_with_boxes_and_points(scene_folder: Path) -> None:
    class_map = animals()
    edit(scene_folder, lambda d: d["frames"][1]["boxes"][0].update(visibility=0.25, num_lidar_pts=7))
    edit(scene_folder, lambda d: d["frames"][0].pop("boxes"))
    data = SceneFolders([scene_folder], class_map)
    assert data.scenes == ("small_scene",)
    assert data.num_frames("small_scene") == 2
    found = data.load("small_scene", 0)
    assert [found.boxes.class_names[label] for label in found.boxes.labels] == ["car", "pedestrian"]
    assert class_map.ignored == {"animal": 1}
    assert found.visibility is not None
    assert found.visibility[0] == 0.25
    assert np.isnan(found.visibility[1])
    assert found.num_points is not None
    assert found.num_points.tolist() == [7, -1]
    assert found.points is not None
    np.testing.assert_array_equal(found.points, read_points(scene_folder / "lidar" / "1.npz")[0])
    assert prepare_sample(found, InputSpec(64, 32), data.class_names).images.shape == (3, 3, 32, 64)


def test_scenes_and_frames_without_objects_are_counted(
    small_scene: ModuleType, scene_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("unlabelled", "without_frames"):
        (tmp_path / name).mkdir()
        small_scene.write_scene_folder(tmp_path / name)
    edit(tmp_path / "unlabelled", lambda d: [frame.pop("boxes") for frame in d["frames"]])
    edit(tmp_path / "without_frames", lambda d: d["frames"].clear())
    edit(scene_folder, lambda d: d["frames"][2]["boxes"].clear())
    data = SceneFolders([scene_folder, tmp_path / "unlabelled", tmp_path / "without_frames"], animals())
    assert data.scenes == ("small_scene",)
    assert data.empty_scenes == ("unlabelled", "without_frames")
    assert data.num_empty_frames == 1
    assert len(data.load("small_scene", 2).boxes) == 0
    assert "2 scenes without labelled frames are left out: unlabelled, without_frames" in caplog.text


def test_data_without_a_single_box_are_refused(scene_folder: Path) -> None:
    edit(scene_folder, lambda d: [frame["boxes"].clear() for frame in d["frames"]])
    with pytest.raises(DatasetError, match=r"small_scene: not one box is labelled; expected a field 'boxes'"):
        SceneFolders([scene_folder])


def in_frame(index: int, **changes: Any) -> Callable[[Path], object]:
    return lambda folder: edit(folder, lambda d: d["frames"][index]["boxes"][1].update(changes))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(
            lambda f: edit(f, lambda d: d["cameras"].pop(1)),
            r"meta.json: frame 0 has a picture of camera 'left', which is not in 'cameras' \(front, back\); add its",
            id="camera without calibration",
        ),
        pytest.param(
            lambda f: edit(f, lambda d: d["cameras"][1].update(K=np.zeros((3, 3)).tolist())),
            r"meta.json: camera 'left': focal length is fx=0.*calibrate it",
            id="calibration of zeros",
        ),
        pytest.param(
            lambda f: edit(f, lambda d: d["cameras"][1].pop("T_base_cam")),
            r"meta.json: field 'T_base_cam' is missing",
            id="camera without mounting",
        ),
        pytest.param(
            lambda f: (f / "images" / "left" / "1.jpg").unlink(),
            r"meta.json: picture 'images/left/1.jpg' of frame 1 does not exist; copy",
            id="picture missing",
        ),
        pytest.param(
            lambda f: (f / "lidar" / "2.npz").unlink(),
            r"meta.json: lidar file 'lidar/2.npz' of frame 2 does not exist; copy",
            id="lidar file missing",
        ),
        pytest.param(
            lambda f: (f / "meta.json").write_text((f / "meta.json").read_text()[:-90]),
            r"meta.json: not readable as JSON .*copy it again",
            id="meta.json cut short",
        ),
        pytest.param(lambda f: (f / "meta.json").unlink(), r"meta.json: not found; expected", id="no meta.json"),
        pytest.param(
            in_frame(1, size=[0.6, None, 1.8]),
            r"meta.json: scene 'small', frame 1: field 'size' of box 1 \('pedestrian'\) is \[0.6, nan, 1.8\]; expected",
            id="size missing",
        ),
        pytest.param(
            in_frame(1, size=[0.6, -0.7, 1.8]),
            r"meta.json: scene 'small', frame 1: field 'size' of box 1 .* is \[0.6, -0.7, 1.8\]; expected",
            id="size negative",
        ),
        pytest.param(
            in_frame(2, center=[float("nan"), 0.0, 0.0]),
            r"meta.json: scene 'small', frame 2: field 'center' of box 1 .*Correct the label",
            id="center not a number",
        ),
        pytest.param(
            in_frame(2, **{"class": "pedestrain"}),
            r"meta.json: scene 'small', frame 2: class 'pedestrain' is not known; did you mean 'pedestrian'\?",
            id="unknown class",
        ),
    ],
)
def test_what_is_wrong_with_a_folder_is_said_when_it_is_opened(
    scene_folder: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(scene_folder)
    with pytest.raises(Lift3dError, match=message):
        SceneFolders([scene_folder], animals())


def test_a_damaged_picture_or_lidar_file_is_named_when_it_is_read(scene_folder: Path) -> None:
    data = SceneFolders([scene_folder], animals())
    picture = scene_folder / "images" / "left" / "0.jpg"
    picture.write_bytes(picture.read_bytes()[:200])
    with pytest.raises(DatasetError, match=r"scene 'small_scene', frame 0 .*camera 'left': .*images/left/0.jpg"):
        prepare_sample(data.load("small_scene", 0), InputSpec(64, 32), data.class_names)
    (scene_folder / "lidar" / "0.npz").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=r"lidar/0.npz: not a lidar file"):
        data.load("small_scene", 0)


def test_two_folders_of_one_name_are_refused(scene_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(scene_folder, tmp_path / "again" / "small_scene")
    with pytest.raises(DatasetError, match=r"a second scene 'small_scene'"):
        SceneFolders([scene_folder, tmp_path / "again" / "small_scene"], animals())


def test_nuscenes_key_frames_come_with_visibility_and_points(
    nuscenes_mini: tuple[Path, dict[str, list[dict[str, Any]]]],
) -> None:
    root, tables = nuscenes_mini
    class_map = ClassMap()
    data = NuScenesData(root, "v1.0-mini", class_map=class_map)
    assert data.scenes == ("scene-0103",)
    assert data.num_frames("scene-0103") == 3
    for index in range(3):
        found = data.load("scene-0103", index)
        expected = [a for a in tables["sample_annotation"] if a["sample_token"] == f"sample-{index}"]
        kept = [a for a in expected if not a["token"].startswith("dog")]
        assert len(found.boxes) == len(kept)
        assert found.visibility is not None
        np.testing.assert_allclose(found.visibility, 0.9)
        assert found.num_points is not None
        assert found.num_points.tolist() == [a["num_lidar_pts"] for a in kept]
        assert found.points is not None
        assert len(found.frame_set.views) == 6
    assert class_map.ignored == {"other": 2}


def test_nuscenes_points_are_in_the_base_frame(nuscenes_mini: tuple[Path, dict[str, list[dict[str, Any]]]]) -> None:
    root, tables = nuscenes_mini
    found = NuScenesData(root, "v1.0-mini").load("scene-0103", 1)
    file = next(d["filename"] for d in tables["sample_data"] if d["token"] == "data-LIDAR_TOP-1")
    sensor = next(s for s in tables["calibrated_sensor"] if s["token"] == "calibrated-LIDAR_TOP")
    T = np.eye(4)
    T[:3, :3] = _rotation(sensor["rotation"])
    T[:3, 3] = sensor["translation"]
    assert found.points is not None
    np.testing.assert_allclose(found.points, transform_points(T, read_points(root / file)[0]), atol=1e-4)


def _rotation(quaternion: list[float]) -> np.ndarray:
    from pyquaternion import Quaternion

    return np.asarray(Quaternion(quaternion).rotation_matrix)


def test_nuscenes_scenes_are_chosen_by_split_and_name(
    nuscenes_mini: tuple[Path, dict[str, list[dict[str, Any]]]],
) -> None:
    root, _ = nuscenes_mini
    assert NuScenesData(root, "v1.0-mini", "mini_val").scenes == ("scene-0103",)
    with pytest.raises(DatasetError, match=r"none of the 8 scenes of split 'mini_train' is in it"):
        NuScenesData(root, "v1.0-mini", "mini_train")
    with pytest.raises(DatasetError, match=r"split 'mini_vall' is not known; did you mean 'mini_val'"):
        NuScenesData(root, "v1.0-mini", "mini_vall")
    with pytest.raises(DatasetError, match=r"scene 'scene-0104' is not in it; did you mean 'scene-0103'"):
        NuScenesData(root, "v1.0-mini", scenes=["scene-0104"])


def rewritten(root: Path, target: Path, table: str, change: Callable[[list[dict[str, Any]]], object]) -> Path:
    shutil.copytree(root, target)
    path = target / "v1.0-mini" / f"{table}.json"
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows))
    return target


def test_nuscenes_without_annotations_is_refused(
    nuscenes_mini: tuple[Path, dict[str, list[dict[str, Any]]]], tmp_path: Path
) -> None:
    root = rewritten(nuscenes_mini[0], tmp_path / "n", "sample_annotation", lambda rows: rows.clear())
    with pytest.raises(DatasetError, match=r"v1.0-mini: not one box is labelled; expected a version with annotations"):
        NuScenesData(root, "v1.0-mini")


def test_nuscenes_with_wrong_records_names_scene_and_field(
    nuscenes_mini: tuple[Path, dict[str, list[dict[str, Any]]]], tmp_path: Path
) -> None:
    def flat(rows: list[dict[str, Any]]) -> None:
        rows[0]["size"] = [0.0, 1.0, 1.0]

    root = rewritten(nuscenes_mini[0], tmp_path / "n", "sample_annotation", flat)
    data = NuScenesData(root, "v1.0-mini")
    first = int(json.loads((root / "v1.0-mini" / "sample_annotation.json").read_text())[0]["sample_token"][-1])
    with pytest.raises(DatasetError, match=r"v1.0-mini: scene 'scene-0103', key frame \d: field 'size' of box"):
        data.load("scene-0103", first)

    def uncalibrated(rows: list[dict[str, Any]]) -> None:
        rows[0]["camera_intrinsic"] = np.zeros((3, 3)).tolist()

    root = rewritten(nuscenes_mini[0], tmp_path / "m", "calibrated_sensor", uncalibrated)
    with pytest.raises(CalibrationError, match=r"scene 'scene-0103': camera 'cam_front': focal length"):
        NuScenesData(root, "v1.0-mini").load("scene-0103", 0)


@pytest.mark.parametrize("name", ["nc_nuscenes_scene0061", "nc_dgp_scene02", "nc_kitti_000008"])
def test_real_frames_are_prepared_with_depths_where_their_points_are(shared_dir: Path, name: str) -> None:
    folder = shared_dir / "data" / "driving" / name
    data = SceneFolders([folder])
    sample = prepare_sample(data.load(name, 0), InputSpec(704, 256), data.class_names)
    assert len(sample.labels) > 3
    known = np.isfinite(sample.cell_depths)
    assert known.mean() > 0.1
    assert 2.0 < np.median(sample.cell_depths[known]) < 40.0
