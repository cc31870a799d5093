"""Training sees exactly what inference sees, with labels and depths that belong to those pixels."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from lift3d_ros.datasets.cell_depths import CELL
from lift3d_ros.datasets.frames import frame_set, read_scene
from lift3d_ros.datasets.labelled import LabelledSet
from lift3d_ros.datasets.prepared import PreparedSample, prepare_sample
from lift3d_ros.errors import DatasetError
from lift3d_ros.geometry.rig import Polygon
from lift3d_ros.geometry.rigid import invert, make_transform
from lift3d_ros.images.preprocess import ImagePreprocessor, InputSpec
from lift3d_ros.types import (
    Boxes3D,
    CameraImage,
    CameraModel,
    CameraView,
    DistortionModel,
    EgoMotion,
    Float32Array,
    FrameSet,
)

SPEC = InputSpec(128, 64)
CLASSES = ("pedestrian", "car")
# A camera that looks along +x of the base frame, from 1.5 m over its origin.
T_BASE_CAM = make_transform(np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), [0.0, 0.0, 1.5])
PINHOLE: tuple[DistortionModel, tuple[float, ...]] = ("none", ())
BARREL: tuple[DistortionModel, tuple[float, ...]] = ("plumb_bob", (-0.25, 0.07, 0.001, -0.0005, 0.0))


def boxes(**changes: object) -> Boxes3D:
    some = Boxes3D(
        "base_link", ("car", "other", "pedestrian"), np.array([[12.0, 1.0, 0.8], [5.0, -2.0, 0.9]]),
        np.array([[4.5, 1.9, 1.6], [0.6, 0.7, 1.8]]), np.array([0.3, -1.5]),
        np.array([[3.0, 0.5], [np.nan, np.nan]]), np.ones(2), np.array([0, 2]),
    )  # fmt: skip
    return dataclasses.replace(some, **changes)  # type: ignore[arg-type]


def view(
    name: str = "front",
    size: tuple[int, int] = (200, 100),
    lens: tuple[DistortionModel, tuple[float, ...]] = PINHOLE,
    motion: np.ndarray | None = None,
    seed: int = 0,
) -> CameraView:
    width, height = size
    K = np.array([[0.6 * width, 0.0, 0.51 * width], [0.0, 0.6 * width, 0.48 * height], [0.0, 0.0, 1.0]])
    model = CameraModel(name, f"{name}_optical", width, height, K, lens[0], np.array(lens[1]))
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = CameraImage(name, 1000, model.frame_id, "rgb8", pixels.reshape(-1), width, height, 3 * width)
    return CameraView(image, model, T_BASE_CAM, np.eye(4) if motion is None else motion)


def labelled(
    *views: CameraView,
    labels: Boxes3D | None = None,
    points: Float32Array | None = None,
    depth_maps: dict[str, Float32Array] | None = None,
    own_vehicle: dict[str, tuple[Polygon, ...]] | None = None,
    has_ego: bool = True,
) -> LabelledSet:
    ego = EgoMotion(2000, make_transform(np.eye(3), [7.0, 8.0, 0.0]), "map") if has_ego else None
    frames = FrameSet(2000, {entry.model.name: entry for entry in views or (view(),)}, ego=ego)
    known = boxes() if labels is None else labels
    return LabelledSet("street", frames, known, points=points, depth_maps=depth_maps, own_vehicle=own_vehicle or {})


def prepare(*views: CameraView, **contents: object) -> PreparedSample:
    return prepare_sample(labelled(*views, **contents), SPEC, CLASSES)  # type: ignore[arg-type]


def test_pixels_and_projections_are_those_of_inference(scene_folder: Path) -> None:
    """The projection of the detector is made of the same two factors; its model frame is the base frame here."""
    scene = read_scene(scene_folder)
    frames = frame_set(scene, scene.frames[1])
    assert scene.frames[1].boxes is not None
    known = scene.frames[1].boxes.select(np.array([0, 1]))
    sample = prepare_sample(LabelledSet("small", frames, known), SPEC, CLASSES, index=1)
    assert sample.cameras == tuple(frames.views)
    preprocessor = ImagePreprocessor(SPEC)
    for i, entry in enumerate(frames.views.values()):
        expected = preprocessor.to_array(entry.image, entry.model)
        np.testing.assert_array_equal(sample.images[i], expected.pixels)
        K = np.eye(4)
        K[:3, :3] = expected.intrinsics
        np.testing.assert_array_equal(sample.image_from_base[i], (K @ entry.T_cam_reference).astype(np.float32))


def test_own_vehicle_is_black_as_for_the_detector() -> None:
    body = ((0.0, 80.0), (200.0, 80.0), (200.0, 100.0), (0.0, 100.0))
    sample = prepare(view(), own_vehicle={"front": (body,)})
    assert (sample.images[0, :, -8:] == 0).all()
    assert (prepare(view()).images[0, :, -8:] > 0).any()


def test_motion_between_captures_is_in_the_projection() -> None:
    motion = make_transform(np.eye(3), [-0.5, 0.0, 0.0])  # fired half a metre before the reference
    sample = prepare(view("front"), view("late", motion=motion))
    point = np.array([10.0, 1.0, 1.0, 1.0])
    behind = invert(motion) @ point
    np.testing.assert_allclose(sample.image_from_base[1] @ point, sample.image_from_base[0] @ behind, rtol=1e-5)


def test_labels_are_in_the_order_of_the_network() -> None:
    sample = prepare()
    assert sample.labels.tolist() == [1, 0]
    np.testing.assert_allclose(sample.centers, boxes().centers, rtol=1e-6)
    np.testing.assert_allclose(sample.sizes, boxes().sizes, rtol=1e-6)
    assert np.isnan(sample.velocities[1]).all()
    assert np.isnan(sample.visibility).all()
    assert sample.num_points.tolist() == [-1, -1]


def test_a_set_without_pose_says_so() -> None:
    assert prepare().has_pose
    assert prepare().T_world_base[0, 3] == 7.0
    assert not prepare(has_ego=False).has_pose


def test_a_set_without_boxes_is_a_sample() -> None:
    sample = prepare(labels=Boxes3D.empty("base_link", ("car",)))
    assert sample.centers.shape == (0, 3)
    assert sample.labels.shape == (0,)


def floor_depth(entry: CameraView) -> Float32Array:
    """Depth of a floor 1.5 m under the camera, for every pixel as it is taken, distorted or not; 0 in the sky."""
    model = entry.model
    columns, rows = np.meshgrid(np.arange(model.width), np.arange(model.height))
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float64)[:, None]
    rays = cv2.undistortPoints(pixels, model.intrinsics, model.distortion if model.distortion.size else np.zeros(4))
    down = rays[:, 0, 1].reshape(model.height, model.width)
    return np.where(down > 0.02, 1.5 / np.maximum(down, 0.02), 0.0).astype(np.float32)


@pytest.mark.parametrize("lens", [PINHOLE, BARREL], ids=["pinhole", "distorted"])
def test_depth_of_a_cell_is_that_of_the_nearest_thing_in_its_pixels(
    lens: tuple[DistortionModel, tuple[float, ...]],
) -> None:
    """On a flat floor that is the lowest row of the cell, which the projection of the sample gives exactly."""
    entry = view(size=(400, 260), lens=lens)
    sample = prepare(entry, depth_maps={"front": floor_depth(entry)})
    fy, cy = sample.image_from_base[0] @ np.array([0.0, 0.0, -1.0, 0.0]), sample.image_from_base[0] @ [1.0, 0, 1.5, 1]
    for row in range(SPEC.height // CELL):
        slope = ((row + 1) * CELL - 1 - cy[1]) / fy[1]
        if slope > 0.05:
            np.testing.assert_allclose(sample.cell_depths[0, row, 2:-2], 1.5 / slope, rtol=0.03)
    assert np.isinf(sample.cell_depths[0, 0]).all(), "sky"


@pytest.mark.parametrize("lens", [PINHOLE, BARREL], ids=["pinhole", "distorted"])
def test_lidar_points_give_the_depth_of_the_cells_they_fall_into(
    lens: tuple[DistortionModel, tuple[float, ...]],
) -> None:
    points = np.array([[8.0, 0.3, 1.0], [16.0, 0.6, 0.5], [15.0, -4.0, 1.5], [-5.0, 0.0, 1.5], [3.0, 40.0, 1.0]])
    sample = prepare(view(lens=lens), points=points.astype(np.float32))
    seen = sample.image_from_base[0] @ np.append(points[0], 1.0)
    column, row = ((seen[:2] / seen[2] + 0.5) // CELL).astype(int)
    assert sample.cell_depths[0, row, column] == pytest.approx(8.0, rel=1e-3), "the nearer of two in a cell"
    assert np.isfinite(sample.cell_depths).sum() == 2, "points behind or beside the picture are not seen"


def test_depth_beside_the_picture_is_unknown() -> None:
    """A flat picture leaves empty rows at the bottom of the network input; nothing was seen there."""
    entry = view(size=(400, 80))
    floor = np.array([[x, y, 0.0] for x in np.arange(1.0, 30.0, 0.1) for y in (-0.2, 0.0, 0.2)], np.float32)
    everywhere = np.full((80, 400), 9.0, np.float32)
    for sample in (prepare(entry, points=floor), prepare(entry, depth_maps={"front": everywhere})):
        assert np.isinf(sample.cell_depths[0, 2:]).all()
        assert np.isfinite(sample.cell_depths[0, :2]).any()


def test_an_unknown_class_is_refused_with_the_nearest_known_one() -> None:
    strange = boxes(class_names=("car", "other", "pedestrians"))
    with pytest.raises(DatasetError, match=r"'street', frame 0 .*1 boxes of class 'pedestrians'.*'pedestrian'.*ignore"):
        prepare(labels=strange)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": np.array([[4.5, 1.9, 1.6], [0.6, 0.0, 1.8]])}, r"'size' of box 1 \('pedestrian'\) is \[0.6, 0.0"),
        ({"sizes": np.full((2, 3), np.nan)}, r"'size' of box 0 .*1 more boxes"),
        ({"centers": np.array([[np.nan, 1.0, 0.8], [5.0, -2.0, 0.9]])}, r"'center' of box 0 \('car'\)"),
        ({"yaws": np.array([0.0, np.inf])}, r"'yaw' of box 1"),
    ],
)
def test_labels_that_are_no_numbers_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(DatasetError, match=f"scene 'street', frame 0 .*{message}.*Correct the label"):
        prepare(labels=boxes(**changes))


def test_a_damaged_picture_names_scene_and_camera() -> None:
    entry = view()
    image = dataclasses.replace(entry.image, encoding="jpeg", data=np.zeros(100, np.uint8), source="a/0001.jpg")
    with pytest.raises(DatasetError, match=r"scene 'street', frame 0 .*camera 'front': a/0001.jpg"):
        prepare(dataclasses.replace(entry, image=image))


def test_cells_at_the_border_may_be_incomplete() -> None:
    """A picture of 120 x 60 px has half a column and three quarters of a row beyond its whole cells."""
    entry = view(size=(240, 120))
    small = InputSpec(120, 60)
    points = np.array([[10.0, 0.0, 0.0], [2.0, 0.0, -0.2], [2.0, 0.0, -0.33]], np.float32)
    whole = np.full((120, 240), 9.0, np.float32)
    whole[118:] = 4.0
    mapped = prepare_sample(labelled(entry, depth_maps={"front": whole}), small, CLASSES)
    assert mapped.cell_depths.shape == (1, 4, 8)
    assert (mapped.cell_depths[0, :3] == 9.0).all()
    assert (mapped.cell_depths[0, 3] == 4.0).all(), "what lies beyond the picture does not count"
    cast = prepare_sample(labelled(entry, points=points), small, CLASSES)
    assert cast.cell_depths.shape == (1, 4, 8)
    assert np.isfinite(cast.cell_depths).sum() == 1, "two points lie under the picture, one of them in its last row"


def test_a_depth_map_may_be_smaller_than_the_calibration() -> None:
    entry = view(size=(400, 200))
    half = cv2.resize(floor_depth(entry), (200, 100), interpolation=cv2.INTER_NEAREST)
    whole = prepare(entry, depth_maps={"front": floor_depth(entry)}).cell_depths
    np.testing.assert_allclose(prepare(entry, depth_maps={"front": half}).cell_depths, whole, rtol=0.1)
