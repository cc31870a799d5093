"""A synthetic camera and boxes around it; the base frame lies on the ground, x forward, y left."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from lift3d_ros.types import Boxes3D, CameraImage, CameraModel, CameraView, DistortionModel

CLASSES = ("car", "pedestrian")
WIDTH, HEIGHT, FOCAL = 640, 360, 400.0
CENTER = (WIDTH / 2 - 0.5, HEIGHT / 2 - 0.5)
CAMERA_HEIGHT = 1.5


@pytest.fixture(scope="session")
def make_view() -> Callable[..., CameraView]:
    """Return a maker of cameras 1.5 m above the origin; without arguments level, undistorted, looking forward."""

    def make(
        distortion_model: DistortionModel = "none",
        distortion: Sequence[float] = (),
        *,
        focal: float = FOCAL,
        yaw: float = 0.0,
        pitch_down: float = 0.0,
        T_reference_capture: np.ndarray | None = None,
    ) -> CameraView:
        intrinsics = np.array([[focal, 0, CENTER[0]], [0, focal, CENTER[1]], [0, 0, 1.0]])
        model = CameraModel("front", "front_optical", WIDTH, HEIGHT, intrinsics, distortion_model, np.array(distortion))
        c, s = np.cos(pitch_down), np.sin(pitch_down)
        level = np.array([[0, 0, 1.0], [-1, 0, 0], [0, -1, 0]])
        tilt = np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
        turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
        T_base_cam = np.eye(4)
        T_base_cam[:3, :3] = turn @ level @ tilt
        T_base_cam[2, 3] = CAMERA_HEIGHT
        image = CameraImage("front", 0, "front_optical", "rgb8", np.zeros(0, np.uint8), WIDTH, HEIGHT, 3 * WIDTH)
        return CameraView(image, model, T_base_cam, np.eye(4) if T_reference_capture is None else T_reference_capture)

    return make


@pytest.fixture(scope="session")
def make_boxes() -> Callable[..., Boxes3D]:
    """Return a maker of boxes of 4 x 2 x 1.5 m that stand on the ground."""

    def make(
        *places: tuple[float, float],
        yaw: float = 0.0,
        velocity: tuple[float, float] = (np.nan, np.nan),
        scores: Sequence[float] | None = None,
        labels: Sequence[int] | None = None,
        class_names: tuple[str, ...] = CLASSES,
    ) -> Boxes3D:
        count = len(places)
        return Boxes3D(
            frame_id="base_link",
            class_names=class_names,
            centers=np.array([(x, y, 0.75) for x, y in places]).reshape(-1, 3),
            sizes=np.tile([4.0, 2.0, 1.5], (count, 1)),
            yaws=np.full(count, yaw),
            velocities=np.tile(velocity, (count, 1)),
            scores=np.full(count, 0.9) if scores is None else np.array(scores),
            labels=np.zeros(count, dtype=np.int64) if labels is None else np.array(labels),
        )

    return make


@pytest.fixture(scope="session")
def painted() -> Callable[..., np.ndarray]:
    """Return a finder of pixels that are mixed from the background and at least 40 % of a colour."""

    def find(picture: np.ndarray, color: Sequence[int], background: Sequence[int] = (96, 96, 96)) -> np.ndarray:
        direction = np.array(color, dtype=float) - background
        offset = picture.astype(float) - background
        share = offset @ direction / (direction @ direction)
        rest = np.linalg.norm(offset - share[..., None] * direction, axis=-1)
        return np.asarray((share > 0.4) & (share < 1.1) & (rest < 35))

    return find


@pytest.fixture
def grey() -> np.ndarray:
    """Return a picture that nothing may write to."""
    picture = np.full((HEIGHT, WIDTH, 3), 96, dtype=np.uint8)
    picture.setflags(write=False)
    return picture
