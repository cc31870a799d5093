"""The camera turns light into pictures as cameras do: the same for the same seed, each fault visible and bounded."""

from __future__ import annotations

import numpy as np
import pytest

from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.rotations import rpy_matrix
from lift3d_ros.simulation.renderer import RenderedView
from lift3d_ros.simulation.sensor import CameraSettings, camera_twist, expose, random_settings
from lift3d_ros.simulation.weather import KINDS, Weather, random_weather
from lift3d_ros.types import CameraModel

CLEAN = CameraSettings(
    vignetting=0.0, blur_px=0.0, noise=0.0, glare=0.0, sharpening=0.0, quality=100
)  # fmt: skip
K = np.array([[150.0, 0.0, 159.5], [0.0, 150.0, 89.5], [0.0, 0.0, 1.0]])
MODEL = CameraModel("c", "c", 320, 180, K)


def view(level: float = 0.3, depth: float = 10.0) -> RenderedView:
    light = np.full((180, 320, 3), level, np.float32)
    light[:, 150:170] *= 2.0
    return RenderedView(light, np.full((180, 320), depth, np.float32), np.zeros((180, 320), np.int32))


def picture(settings: CameraSettings, weather: Weather | None = None, **light: float) -> np.ndarray:
    return expose(view(**light), weather or Weather(), settings, np.random.default_rng(0)).astype(float)


def test_the_same_seed_gives_the_same_bytes() -> None:
    weather = random_weather(np.random.default_rng(0), ("rain",))
    settings = random_settings(np.random.default_rng(1))
    first, second, other = (expose(view(), weather, settings, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert first.tobytes() == second.tobytes() != other.tobytes()
    assert first.dtype == np.uint8
    assert first.shape == (180, 320, 3)


def test_a_clean_camera_shows_the_rendered_picture() -> None:
    expected = view().rgb.astype(float)
    assert np.abs(picture(CLEAN) - expected).mean() < 12


def test_brightness_follows_exposure_and_the_meter_evens_out_dark_scenes() -> None:
    bright = picture(CameraSettings(exposure=1.4)).mean()
    assert bright > picture(CameraSettings()).mean() + 10
    ratio = picture(CLEAN, level=0.05)[:, :100].mean() / picture(CLEAN, level=0.3)[:, :100].mean()
    assert 0.4 < ratio < 0.9


def test_corners_darken_by_vignetting() -> None:
    shown = picture(CameraSettings(vignetting=0.35, noise=0.0))
    assert shown[:10, :10].mean() < 0.9 * shown[80:100, 100:140].mean()


def test_noise_grows_with_gain() -> None:
    settings = CameraSettings(noise=0.01, vignetting=0.0, glare=0.0)
    day, night = (picture(settings, Weather(gain=gain))[:, :140].std() for gain in (1.0, 8.0))
    assert 0.3 < day < 6.0
    assert night > 1.5 * day


def test_colour_follows_white_balance() -> None:
    warm = picture(CameraSettings(balance=(1.2, 0.8)))
    assert warm[..., 0].mean() > warm[..., 2].mean() + 15


def test_near_things_blur_when_the_camera_moves_sideways() -> None:
    still = expose(view(depth=2.0), Weather(), CLEAN, np.random.default_rng(0)).astype(float)
    twist = np.array([10.0, 0, 0, 0, 0, 0])
    moved = expose(view(depth=2.0), Weather(gain=8.0), CLEAN, np.random.default_rng(0), model=MODEL, twist=twist)
    far = expose(view(depth=500.0), Weather(gain=8.0), CLEAN, np.random.default_rng(0), model=MODEL, twist=twist)
    edge = [np.abs(np.diff(shown[90, :, 1].astype(float))).max() for shown in (still, moved, far)]
    assert edge[1] < 0.5 * edge[0]
    assert edge[2] > 0.9 * edge[0]


def test_the_twist_of_two_poses_is_their_difference_over_time() -> None:
    before = make_transform(rpy_matrix(0.3, -0.2, 1.0), [4.0, 5.0, 1.5])
    step = make_transform(rpy_matrix(0.001, 0.002, -0.003), [0.1, 0.0, 0.2])
    assert np.allclose(camera_twist(before, before @ step, 0.01), [10, 0, 20, 0.1, 0.2, -0.3], atol=1e-3)


def test_a_turn_to_the_right_blurs_far_things_sideways() -> None:
    twist = np.array([0, 0, 0, 0, 2.0, 0])
    still, turned = (
        expose(view(depth=500.0), Weather(gain=8.0), CLEAN, np.random.default_rng(0), model=MODEL, twist=speed)
        for speed in (None, twist)
    )
    sharp, soft = (np.abs(np.diff(shown[90, :, 1].astype(float))).max() for shown in (still, turned))
    assert soft < 0.7 * sharp


def test_very_bright_light_spreads() -> None:
    scene = view(level=0.02)
    scene.light[85:95, 40:50] = 8.0
    glare = CameraSettings(glare=0.08, noise=0.0)
    with_glare, without = (expose(scene, Weather(), x, np.random.default_rng(0)).astype(float) for x in (glare, CLEAN))
    assert with_glare[80:100, 56:64].mean() > without[80:100, 56:64].mean() + 10


def test_dirt_stays_at_its_place() -> None:
    first, second = (
        expose(view(), Weather(), CameraSettings(dirt=4, noise=0.0), np.random.default_rng(seed)) for seed in (0, 1)
    )
    assert np.abs(first.astype(int) - second).max() <= 2
    assert np.abs(first.astype(int) - picture(CameraSettings(noise=0.0))).max() > 10


@pytest.mark.parametrize("kind", KINDS)
def test_every_weather_gives_usable_pictures(kind: str) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        shown = expose(view(), random_weather(rng, (kind,)), random_settings(rng), rng)  # type: ignore[arg-type]
        assert 25 < shown.mean() < 235
