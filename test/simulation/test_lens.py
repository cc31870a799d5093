"""Distorted pictures show things where OpenCV projects them, for every distortion model."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.simulation.gl_context import RenderingError
from lift3d_ros.simulation.lens import Lens
from lift3d_ros.simulation.meshes import Finish, quads
from lift3d_ros.simulation.renderer import Item, RenderedView, Renderer
from lift3d_ros.types import CameraModel

COEFFICIENTS = {
    "plumb_bob": [-0.22, 0.05, 0.001, -0.002, 0.0],
    "rational_polynomial": [0.05, 0.01, 0.0005, -0.001, 0.0, 0.25, 0.02, 0.0],
    "equidistant": [0.02, -0.005, 0.002, -0.0005],
}
POINTS = np.array([[-4.0, 0.5, 6.0], [1.2, -1.8, 5.0], [0.5, 1.5, 9.0], [5.0, 2.0, 8.0], [0.0, 0.0, 7.0]])


def camera(name: str) -> CameraModel:
    K = np.array([[260.0, 0.0, 211.3], [0.0, 262.0, 107.6], [0.0, 0.0, 1.0]])
    return CameraModel("test", "test", 400, 240, K, name, np.array(COEFFICIENTS.get(name, [])))  # type: ignore[arg-type]


def by_opencv(model: CameraModel, points: np.ndarray) -> np.ndarray:
    zero = np.zeros(3)
    if model.distortion_model == "equidistant":
        return cv2.fisheye.projectPoints(points[:, None], zero, zero, model.intrinsics, model.distortion)[0].reshape(
            -1, 2
        )
    return cv2.projectPoints(points, zero, zero, model.intrinsics, model.distortion)[0].reshape(-1, 2)


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_things_appear_where_opencv_projects_them(renderer: Renderer, name: str) -> None:
    model = camera(name)
    lens = Lens(model)
    square = 0.07 * np.array([[[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]])
    plate = renderer.add(quads(square, Finish((255, 0, 0))))
    items = [Item(plate, make_transform(np.eye(3), at), i + 1) for i, at in enumerate(POINTS)]
    view = lens.distort(renderer.render(lens.pinhole, np.eye(4), items))
    empty = lens.distort(renderer.render(lens.pinhole, np.eye(4), []))
    renderer.remove(plate)
    assert view.rgb.shape == (240, 400, 3)
    for i, expected in enumerate(by_opencv(model, POINTS)):
        rows, columns = np.nonzero(view.instances == i + 1)
        middle = np.array([(columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2])
        assert np.abs(middle - expected).max() < 1.0
        covered = (view.light - empty.light)[..., 0] - (view.light - empty.light)[..., 2]
        window = (slice(rows.min() - 2, rows.max() + 3), slice(columns.min() - 2, columns.max() + 3))
        weights, (v, u) = covered[window], np.mgrid[window]
        assert np.abs(np.array([(weights * u).sum(), (weights * v).sum()]) / weights.sum() - expected).max() < 0.3
        assert np.abs(view.depth[rows, columns] - POINTS[i, 2]).max() < 1e-3


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_depth_and_instances_are_samples_and_never_mixtures(name: str) -> None:
    lens, rng = Lens(camera(name)), np.random.default_rng(0)
    shape = (lens.pinhole.height, lens.pinhole.width)
    depth = rng.choice(np.array([3.0, 50.0, np.inf], np.float32), shape)
    instances = rng.choice(np.array([-1, 0, 7, 65_537], np.int32), shape)
    view = lens.distort(RenderedView(rng.random((*shape, 3)).astype(np.float32), depth, instances))
    assert set(np.unique(view.depth)) == {3.0, 50.0, np.inf}
    assert set(np.unique(view.instances)) == {-1, 0, 7, 65_537}


def test_the_pinhole_picture_covers_the_distorted_one() -> None:
    for name in COEFFICIENTS:
        lens = Lens(camera(name))
        places = lens._nearest_map
        assert places.min() >= 0
        assert (places.reshape(-1, 2).max(axis=0) < [lens.pinhole.width, lens.pinhole.height]).all()
        assert not lens.pinhole.is_distorted


def test_a_camera_without_distortion_is_rendered_as_it_is() -> None:
    model = camera("none")
    lens = Lens(model)
    view = RenderedView(np.zeros((2, 2, 3), np.float32), np.ones((2, 2), np.float32), np.zeros((2, 2), np.int32))
    assert lens.pinhole is model
    assert lens.distort(view) is view


def test_a_field_of_view_that_no_pinhole_picture_holds_is_refused_by_name() -> None:
    K = np.array([[100.0, 0.0, 199.5], [0.0, 100.0, 119.5], [0.0, 0.0, 1.0]])
    model = CameraModel("roof", "roof", 400, 240, K, "equidistant", np.zeros(4))
    with pytest.raises(RenderingError, match=r"camera 'roof'.*130 degrees"):
        Lens(model)
