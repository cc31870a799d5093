"""Pictures and intrinsics stay together through resizing, cropping and rectification."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lift3d_ros.errors import CalibrationError
from lift3d_ros.geometry.camera import project
from lift3d_ros.images.preprocess import ImagePreprocessor, InputSpec, ResizeCrop
from lift3d_ros.types import CameraImage, CameraModel, DistortionModel

SPEC = InputSpec(352, 128)


def camera(
    width: int = 800, height: int = 450, model: DistortionModel = "none", k: tuple[float, ...] = ()
) -> CameraModel:
    K = np.array([[0.78 * width, 0, 0.51 * width], [0, 0.78 * width, 0.5 * height], [0, 0, 1.0]])
    return CameraModel("front", "f", width, height, K, model, np.array(k))


def picture_of(points: np.ndarray, model: CameraModel) -> CameraImage:
    """Draw a soft dot wherever `model` sees a point."""
    canvas = np.zeros((model.height, model.width), np.float32)
    y, x = np.mgrid[0 : model.height, 0 : model.width]
    for u, v in project(model, points)[0]:
        canvas += 255 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 3.0**2))
    pixels = np.repeat(np.clip(canvas, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    return CameraImage("front", 0, "f", "rgb8", pixels.reshape(-1), model.width, model.height, model.width * 3)


def dots(prepared: np.ndarray) -> np.ndarray:
    """Return the centres (u, v) of the bright dots, from left to right."""
    grey = prepared[0].astype(np.float64)
    count, labels = cv2.connectedComponents((grey > 20).astype(np.uint8))
    y, x = np.mgrid[0 : grey.shape[0], 0 : grey.shape[1]]
    centres = [
        [np.average(x[labels == i], weights=grey[labels == i]), np.average(y[labels == i], weights=grey[labels == i])]
        for i in range(1, count)
    ]
    return np.array(sorted(centres))


POINTS = np.array([[-3.5, 0.9, 10.0], [-1.5, 0.2, 9.0], [0.1, 0.6, 8.0], [2.0, 0.3, 9.0], [3.6, 0.8, 10.0]])


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(camera(), id="pinhole"),
        pytest.param(camera(1600, 900), id="pinhole, large"),
        pytest.param(camera(800, 242), id="pinhole, flat"),
        pytest.param(camera(model="plumb_bob", k=(-0.25, 0.07, 0.001, -0.0005, 0.0)), id="plumb_bob"),
        pytest.param(camera(1600, 900, "plumb_bob", (-0.25, 0.07, 0.001, -0.0005, 0.0)), id="plumb_bob, large"),
        pytest.param(
            camera(model="rational_polynomial", k=(0.3, -0.08, 0.0005, 0.0003, 0.004, 0.65, -0.05, 0.02)),
            id="rational",
        ),
        pytest.param(camera(model="equidistant", k=(-0.01, 0.02, -0.01, 0.003)), id="equidistant"),
    ],
)
def test_the_returned_intrinsics_project_to_the_returned_pixels(model: CameraModel) -> None:
    prepared = ImagePreprocessor(SPEC).to_array(picture_of(POINTS, model), model)
    assert prepared.pixels.shape == (3, 128, 352)
    assert prepared.pixels.dtype == np.uint8
    expected = POINTS @ prepared.intrinsics.T
    expected = expected[:, :2] / expected[:, 2:]
    np.testing.assert_allclose(dots(prepared.pixels), expected, atol=0.25)


@given(st.integers(100, 2000), st.integers(60, 1200), st.floats(0, 1), st.floats(0, 1))
def test_the_mapping_keeps_the_outer_borders_of_the_picture(width: int, height: int, a: float, b: float) -> None:
    resize = ResizeCrop(SPEC, width, height)
    u, v = a * width - 0.5, b * height - 0.5
    mapped = resize.matrix @ [u, v, 1]
    assert mapped[0] == pytest.approx(a * SPEC.width - 0.5, abs=1e-6)
    assert mapped[1] == pytest.approx(b * resize.scaled_height - 0.5 - resize.crop_top, abs=1e-6)


def test_tall_pictures_lose_sky_and_flat_ones_get_black_rows_below() -> None:
    tall = np.zeros((450, 800, 3), np.uint8)
    tall[:100], tall[-30:] = (255, 0, 0), (0, 255, 0)
    found = ResizeCrop(SPEC, 800, 450).apply(tall)
    assert found.shape == (128, 352, 3)
    assert found[0, 0].tolist() == [0, 0, 0]
    assert found[-1, 0].tolist() == [0, 255, 0]
    flat = np.full((200, 800, 3), 255, np.uint8)
    found = ResizeCrop(SPEC, 800, 200).apply(flat)
    assert found[87].min() == 255
    assert found[88:].max() == 0


def test_another_resolution_of_the_same_shape_scales_the_intrinsics() -> None:
    calibrated = camera(1600, 900)
    half = ImagePreprocessor(SPEC).to_array(picture_of(POINTS, camera()), calibrated)
    full = ImagePreprocessor(SPEC).to_array(picture_of(POINTS, calibrated), calibrated)
    np.testing.assert_allclose(half.intrinsics, full.intrinsics, atol=1e-9)


def test_a_picture_of_another_shape_is_refused_with_both_sizes() -> None:
    with pytest.raises(CalibrationError, match="800x450, its calibration is for 640x480"):
        ImagePreprocessor(SPEC).to_array(picture_of(POINTS, camera()), camera(640, 480))


@pytest.mark.parametrize(
    ("model", "k", "matrix"),
    [
        pytest.param("equidistant", (-0.01, 0.001, 0, 0), np.eye(3), id="no intrinsics"),
        pytest.param("equidistant", (-1e4, 0, 0, 0), None, id="fisheye coefficient"),
        pytest.param("plumb_bob", (-0.2, 0.05, 1e6, 0, 0), None, id="tangential coefficient"),
        pytest.param(
            "plumb_bob", (-0.2, 0.05, 0, 0, 0), np.array([[600, 0, -2000], [0, 600, 225], [0, 0, 1.0]]), id="far off"
        ),
    ],
)
def test_a_lens_that_cannot_be_is_refused_by_camera(
    model: DistortionModel, k: tuple[float, ...], matrix: np.ndarray | None
) -> None:
    calibrated = camera(model=model, k=k)
    if matrix is not None:
        calibrated = dataclasses.replace(calibrated, intrinsics=matrix)
    with pytest.raises(
        CalibrationError, match=r"camera 'front': .* shows nothing within 60 degrees .*Calibrate it again"
    ):
        ImagePreprocessor(SPEC).to_array(picture_of(POINTS, camera()), calibrated)


def test_the_own_vehicle_is_blanked() -> None:
    model = camera()
    pixels = np.full((450, 800, 3), 200, np.uint8)
    image = CameraImage("front", 0, "f", "rgb8", pixels.reshape(-1), 800, 450, 2400)
    polygon = ((0.0, 400.0), (800.0, 400.0), (800.0, 450.0), (0.0, 450.0))
    found = ImagePreprocessor(SPEC).to_array(image, model, (polygon,)).pixels
    assert found[:, -10:].max() == 0
    assert found[:, :90].min() == 200


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(camera(), id="pinhole"),
        pytest.param(camera(model="plumb_bob", k=(-0.25, 0.07, 0.001, -0.0005, 0.0)), id="distorted"),
        pytest.param(camera(model="equidistant", k=(-0.01, 0.02, -0.01, 0.003)), id="fisheye"),
    ],
)
@pytest.mark.parametrize("share", [1.0, 0.5], ids=["full size", "half size"])
def test_the_mask_covers_the_own_vehicle_where_it_is_seen_and_little_more(model: CameraModel, share: float) -> None:
    """The polygon is in pixels of the calibrated picture, whatever the size of the picture that arrives."""
    polygon = ((250.0, 300.0), (600.0, 330.0), (520.0, 449.0), (200.0, 449.0))
    full = np.full((450, 800), 100, np.uint8)
    cv2.fillPoly(full, [np.array(polygon, np.int32)], 255)
    grey = cv2.resize(full, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    height, width = grey.shape
    pixels = np.repeat(grey[..., None], 3, axis=2)
    image = CameraImage("front", 0, "f", "rgb8", pixels.reshape(-1), width, height, width * 3)
    spec = InputSpec(352, 200)
    seen = ImagePreprocessor(spec).to_array(image, model).pixels[0]
    masked = ImagePreprocessor(spec).to_array(image, model, (polygon,)).pixels[0]
    is_vehicle = seen > 180
    assert is_vehicle.sum() > 1000
    assert not masked[is_vehicle].any()
    border = cv2.dilate(is_vehicle.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    np.testing.assert_array_equal(masked[~border], seen[~border])


def test_beyond_the_field_of_a_strongly_distorted_camera_the_picture_is_black() -> None:
    model = camera(model="plumb_bob", k=(-0.6, 0.1, 0, 0, 0))
    white = CameraImage("front", 0, "f", "rgb8", np.full(450 * 800 * 3, 255, np.uint8), 800, 450, 2400)
    prepared = ImagePreprocessor(InputSpec(352, 300)).to_array(white, model)
    corner = np.linalg.inv(prepared.intrinsics) @ [0, 0, 1]
    assert not project(model, corner[None])[1][0]
    assert prepared.pixels[0, 0, 0] == 0
    assert prepared.pixels[0, 150, 176] == 255
