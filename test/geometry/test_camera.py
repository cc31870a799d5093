"""Projection agrees with OpenCV, is undone by unprojection, and never folds far points into the picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lift3d_ros.geometry.camera import largest_radius, project, unproject
from lift3d_ros.geometry.project import image_from_base, project_points
from lift3d_ros.types import CameraModel, DistortionModel

K = np.array([[620.0, 0, 395.5], [0, 610.0, 230.25], [0, 0, 1]])
MODELS: dict[str, tuple[DistortionModel, list[float]]] = {
    "pinhole": ("none", []),
    "plumb_bob": ("plumb_bob", [-0.28, 0.09, 0.0011, -0.0007, -0.012]),
    "rational 8": ("rational_polynomial", [0.3, -0.08, 0.0005, 0.0003, 0.004, 0.65, -0.05, 0.02]),
    "rational 12": ("rational_polynomial", [0.1, -0.02, 0.001, 0, 0, 0.15, 0.01, 0, 0.002, 0.001, -0.001, 0.0005]),
    "rational 14": (
        "rational_polynomial",
        [0.1, -0.02, 0.001, 0, 0, 0.15, 0.01, 0, 0.002, 0.001, -0.001, 0.0005, 0.02, -0.03],
    ),
    "equidistant": ("equidistant", [-0.013, 0.02, -0.012, 0.003]),
}


def camera(kind: str) -> CameraModel:
    model, coefficients = MODELS[kind]
    return CameraModel("front", "front_optical", 800, 450, K, model, np.array(coefficients))


def grid(reach: float) -> np.ndarray:
    x, y = np.meshgrid(np.linspace(-reach, reach, 15), np.linspace(-reach, reach, 15))
    return np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3) * np.linspace(1, 30, 225)[:, None]


@pytest.mark.parametrize("kind", MODELS)
def test_pixels_agree_with_opencv(kind: str) -> None:
    model, points = camera(kind), grid(0.55)
    zero = np.zeros(3)
    if kind == "equidistant":
        expected = cv2.fisheye.projectPoints(points[:, None], zero, zero, K, model.distortion)[0]
    else:
        expected = cv2.projectPoints(points, zero, zero, K, model.distortion if model.distortion.size else None)[0]
    pixels, is_valid = project(model, points)
    assert is_valid.all()
    np.testing.assert_allclose(pixels, expected.reshape(-1, 2), atol=1e-6)


@pytest.mark.parametrize("kind", MODELS)
def test_unprojection_undoes_projection(kind: str) -> None:
    model, points = camera(kind), grid(0.55)
    rays = unproject(model, project(model, points)[0])
    np.testing.assert_allclose(rays, points / points[:, 2:], atol=1e-7)


@settings(max_examples=30)
@given(st.floats(0, 799), st.floats(0, 449))
def test_every_pixel_of_a_fisheye_comes_back(u: float, v: float) -> None:
    model = camera("equidistant")
    pixels, is_valid = project(model, unproject(model, np.array([[u, v]])))
    assert is_valid.all()
    np.testing.assert_allclose(pixels, [[u, v]], atol=1e-5)


@pytest.mark.parametrize("kind", MODELS)
def test_points_behind_the_camera_are_not_valid(kind: str) -> None:
    assert not project(camera(kind), np.array([[0.1, 0.1, -5.0], [0.0, 0.0, 0.0]]))[1].any()


def test_points_beyond_the_fold_of_the_polynomial_are_not_valid() -> None:
    model = camera("plumb_bob")
    limit = largest_radius(model)
    assert 0.8 < limit < 3.0
    assert project(model, np.array([[0.99 * limit, 0, 1.0]]))[1].all()
    far = np.array([[1.3 * limit, 0, 1.0]])
    assert not project(model, far)[1].any()


def test_the_projection_matrix_maps_base_points_to_pixels_and_depth() -> None:
    T_cam_base = np.array([[0, -1, 0, 0], [0, 0, -1, 1.5], [1, 0, 0, -1.7], [0, 0, 0, 1.0]])
    pixels, depth = project_points(image_from_base(K, T_cam_base), np.array([[11.7, 1.0, 1.5]]))
    np.testing.assert_allclose(depth, [10.0])
    np.testing.assert_allclose(pixels, [[395.5 - 62.0, 230.25]])
