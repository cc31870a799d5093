"""Posed pictures in published layouts become the same views as rendering the object does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from object_folders import brick, renderer_or_skip

from lift3d_ros.datasets.object_captures import find_captures, pack_captures, read_capture
from lift3d_ros.datasets.object_pack import ObjectPack
from lift3d_ros.datasets.object_renders import Framing, Light, random_rotations, render_views
from lift3d_ros.datasets.object_views import ObjectViews, model_frame
from lift3d_ros.errors import DatasetError
from lift3d_ros.geometry.camera import unproject
from lift3d_ros.models.lrm.config import LrmConfig, ObjectImageConfig, preset
from lift3d_ros.types import CameraModel, DistortionModel, UInt8Array

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
IMAGE = ObjectImageConfig(side=48, fill=0.85)
SIDE = 120


def config() -> LrmConfig:
    found = preset("lift3d-lrm-tiny")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def rendered() -> ObjectViews:
    return render(SIDE, 0.5)


def render(side: int, share: float) -> ObjectViews:
    """Render views of a brick that fills a share of the picture."""
    mesh = brick()
    with renderer_or_skip(side) as renderer:
        rotations = random_rotations(np.random.default_rng(0), 4, mesh.positions)
        return render_views(renderer, mesh, rotations, Framing(1.25, share), Light())


def write_png(path: Path, rgba: UInt8Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), rgba[..., [2, 1, 0, 3]])


def write_transforms(folder: Path, views: ObjectViews, *, by_angle: bool = False) -> Path:
    frames = []
    for number, pose in enumerate(views.T_object_cameras):
        write_png(folder / f"train/r_{number}.png", views.rgba[number])
        frames.append({"file_path": f"./train/r_{number}", "transform_matrix": (pose @ OPENGL).tolist()})
    side = views.rgba.shape[1]
    lens = {"fl_x": 1.25 * side, "w": side, "h": side}
    if by_angle:
        lens = {"camera_angle_x": 2.0 * np.arctan(0.5 / 1.25)}
    (folder / "transforms.json").write_text(json.dumps({**lens, "frames": frames}), encoding="utf-8")
    return folder


def write_openlrm(folder: Path, views: ObjectViews) -> Path:
    for number, pose in enumerate(views.T_object_cameras):
        write_png(folder / f"rgba/{number:03}.png", views.rgba[number])
        (folder / "pose").mkdir(exist_ok=True)
        np.save(folder / f"pose/{number:03}.npy", (pose @ OPENGL)[:3])
    np.save(folder / "intrinsics.npy", np.array([[1.25 * SIDE, 1.25 * SIDE], [SIDE / 2, SIDE / 2], [SIDE, SIDE]]))
    return folder


@pytest.mark.parametrize("layout", ["transforms", "angle", "openlrm"])
def test_a_capture_has_the_frame_of_the_rendering(tmp_path: Path, rendered: ObjectViews, layout: str) -> None:
    if layout == "openlrm":
        folder = write_openlrm(tmp_path, rendered)
    else:
        folder = write_transforms(tmp_path, rendered, by_angle=layout == "angle")
    found = read_capture(folder, IMAGE, 4)
    np.testing.assert_allclose(found.T_object_cameras, rendered.T_object_cameras, atol=1e-6)
    assert found.rgba.shape == (4, 48, 48, 4)
    view = config().view
    for number in range(4):
        share = (
            float((found.rgba[number, ..., 3] > 0).any(axis=0).mean()),
            float((found.rgba[number, ..., 3] > 0).any(axis=1).mean()),
        )
        assert max(share) == pytest.approx(0.85, abs=0.05)
        T = model_frame(found.T_object_cameras[number], found.intrinsics[number], found.distances[number], view)
        # The object of 0.5 of the picture fills 0.85 of the crop: so much larger than in a model's frame of its own.
        expected = model_frame(
            rendered.T_object_cameras[number],
            rendered.intrinsics[number] * [[1.7], [1.7], [1.0]] + [[0, 0, -0.35], [0, 0, -0.35], [0, 0, 0]],
            rendered.distances[number],
            view,
        )
        assert np.abs(T - expected).max() < 0.15


def test_several_objects_become_a_pack_whose_views_come_again(tmp_path: Path, rendered: ObjectViews) -> None:
    for name in ("one", "two"):
        write_transforms(tmp_path / "data" / name, rendered)
    assert pack_captures([tmp_path / "data"], tmp_path / "pack", config(), 6) == 2
    pack = ObjectPack(tmp_path / "pack")
    assert pack.names == ("one", "two")
    assert pack[0].rgba.shape == (6, 128, 128, 4)
    np.testing.assert_array_equal(pack[0].rgba[0], pack[0].rgba[4])


def test_what_is_wrong_with_a_capture_is_said(tmp_path: Path, rendered: ObjectViews) -> None:
    with pytest.raises(DatasetError, match=r"has transforms\.json or intrinsics\.npy; expected posed pictures"):
        find_captures(tmp_path)
    folder = write_transforms(tmp_path / "a", rendered)
    (folder / "train/r_1.png").unlink()
    with pytest.raises(DatasetError, match=r"r_1\.png: is missing or no picture"):
        read_capture(folder, IMAGE, 4)
    cv2.imwrite(str(folder / "train/r_1.png"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(DatasetError, match="has no alpha of 8 bits"):
        read_capture(folder, IMAGE, 4)
    document = json.loads((folder / "transforms.json").read_text())
    document["frames"][0]["transform_matrix"][0][0] = 7.0
    (folder / "transforms.json").write_text(json.dumps(document))
    with pytest.raises(DatasetError, match="is no rotation and translation"):
        read_capture(folder, IMAGE, 4)
    (folder / "transforms.json").write_text('{"frames": [{"file_path": "../x", "transform_matrix": []}]}')
    with pytest.raises(DatasetError, match="lies outside the folder"):
        read_capture(folder, IMAGE, 4)


def test_cameras_in_one_direction_are_refused(tmp_path: Path, rendered: ObjectViews) -> None:
    folder = write_transforms(tmp_path, rendered)
    document = json.loads((folder / "transforms.json").read_text())
    for frame in document["frames"]:
        frame["transform_matrix"] = document["frames"][0]["transform_matrix"]
        frame["file_path"] = document["frames"][0]["file_path"]
    (folder / "transforms.json").write_text(json.dumps(document))
    with pytest.raises(DatasetError, match="all cameras look in nearly the same direction"):
        read_capture(folder, IMAGE, 4)


def test_poses_in_other_axes_are_noticed(tmp_path: Path, rendered: ObjectViews) -> None:
    folder = write_transforms(tmp_path, rendered)
    document = json.loads((folder / "transforms.json").read_text())
    for frame, pose in zip(document["frames"], rendered.T_object_cameras, strict=True):
        frame["transform_matrix"] = pose.tolist()  # optical axes, as of OpenCV
    (folder / "transforms.json").write_text(json.dumps(document))
    with pytest.raises(DatasetError, match="has the object behind it; expected poses from camera to world"):
        read_capture(folder, IMAGE, 4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "No data left in file", id="empty"),
        pytest.param(np.float64(5.0), "", id="one number"),
        pytest.param(
            np.zeros((3, 2)), "focal lengths 0 and 0, middle at 0, 0; expected finite, above 0", id="no focal"
        ),
        pytest.param(np.array([["a", "b"]] * 3), "could not convert string to float", id="text"),
    ],
)
def test_damaged_intrinsics_are_named(tmp_path: Path, rendered: ObjectViews, content: Any, message: str) -> None:
    path = write_openlrm(tmp_path, rendered) / "intrinsics.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    with pytest.raises(DatasetError, match=rf"intrinsics\.npy: expected rows \(fx, fy\).*{message}"):
        read_capture(tmp_path, IMAGE, 4)


def test_an_empty_pose_is_named(tmp_path: Path, rendered: ObjectViews) -> None:
    (write_openlrm(tmp_path, rendered) / "pose/002.npy").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"pose/002\.npy: expected a pose of 3x4 numbers \(No data left in file\)"):
        read_capture(tmp_path, IMAGE, 4)


@pytest.mark.parametrize(
    ("lens", "message"),
    [
        ({"fl_x": 0.0}, "focal lengths 0 and 0"),
        ({"fl_x": -150.0}, "focal lengths -150 and -150"),
        ({"fl_x": float("nan")}, "focal lengths nan and nan"),
        ({"fl_x": 150.0, "cx": float("inf")}, "middle at inf"),
        ({"fl_x": 150.0, "w": None}, "and camera_angle_x, or fl_x with cx and cy or w and h"),
    ],
)
def test_a_lens_that_no_camera_has_is_refused(
    tmp_path: Path, rendered: ObjectViews, lens: dict[str, Any], message: str
) -> None:
    path = write_transforms(tmp_path, rendered) / "transforms.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **lens}))
    with pytest.raises(DatasetError, match=rf"transforms\.json: expected 'frames' .*{message}"):
        read_capture(tmp_path, IMAGE, 4)


@pytest.mark.parametrize(
    ("camera_model", "distortion_model", "lens"),
    [
        ("OPENCV", "plumb_bob", {"k1": -0.9, "k2": 0.2, "p1": 0.01, "p2": -0.01}),
        ("OPENCV_FISHEYE", "equidistant", {"k1": -0.5, "k2": 0.1, "k3": 0.0, "k4": 0.0}),
    ],
)
def test_pictures_of_a_lens_that_bends_lines_are_undistorted(
    tmp_path: Path, camera_model: str, distortion_model: DistortionModel, lens: dict[str, float]
) -> None:
    side = 320
    rendered = render(side, 0.8)
    coefficients = np.array([*lens.values(), *([0.0] if distortion_model == "plumb_bob" else [])])
    middle = side / 2 - 0.5
    straight = np.array([[1.25 * side, 0.0, middle], [0.0, 1.25 * side, middle], [0.0, 0.0, 1.0]])
    bent = CameraModel("bent", "bent", side, side, straight, distortion_model, coefficients)
    pixels = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)
    source = (unproject(bent, pixels) @ straight.T)[:, :2].reshape(side, side, 2).astype(np.float32)
    expected = read_capture(write_transforms(tmp_path / "straight", rendered), IMAGE, 4)
    folder = write_transforms(tmp_path / "bent", rendered)
    for number, rgba in enumerate(rendered.rgba):
        write_png(folder / f"train/r_{number}.png", cv2.remap(rgba, source, None, cv2.INTER_LINEAR))
    content = json.loads((folder / "transforms.json").read_text())
    (folder / "transforms.json").write_text(json.dumps({**content, "camera_model": camera_model, **lens}))
    found = read_capture(folder, IMAGE, 4)
    (folder / "transforms.json").write_text(json.dumps(content))
    ignored = read_capture(folder, IMAGE, 4)
    np.testing.assert_allclose(found.T_object_cameras, expected.T_object_cameras)
    focal = expected.intrinsics[:, 0, 0]
    assert np.abs(found.intrinsics[:, 0, 0] / focal - 1.0).max() < 0.03
    assert np.abs(ignored.intrinsics[:, 0, 0] / focal - 1.0).min() > 0.04
    assert np.abs(found.rgba.astype(int) - expected.rgba).mean() < 2.5


@pytest.mark.parametrize(
    ("lens", "message"),
    [
        ({"camera_model": "EQUIRECTANGULAR"}, "camera_model 'EQUIRECTANGULAR' is not known; known: PINHOLE"),
        ({"k1": 0.1, "k4": 0.1}, "k4 is 0.1; only OPENCV_FISHEYE has it"),
        ({"k1": float("nan")}, "coefficients are not finite"),
        ({"k1": "strong"}, "could not convert string"),
    ],
)
def test_a_lens_that_is_not_known_is_refused(
    tmp_path: Path, rendered: ObjectViews, lens: dict[str, Any], message: str
) -> None:
    folder = write_transforms(tmp_path, rendered)
    content = json.loads((folder / "transforms.json").read_text())
    (folder / "transforms.json").write_text(json.dumps({**content, **lens}))
    with pytest.raises(DatasetError, match=message):
        read_capture(folder, IMAGE, 4)
