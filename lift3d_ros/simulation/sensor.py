"""What a camera does to the light that reaches it: the picture a user gets, from the one that was rendered.

In the order of the light: rain and dirt, motion blur, glare and blur of the lens, exposure, white balance and
vignetting, noise of photons and of reading, tone curve, sharpening, JPEG. `CameraSettings` lasts for a drive; what
differs from picture to picture comes from the generator given to `expose`.

Noise is added to the square root of light, where that of photons has the same strength everywhere. It comes from one
fixed field, softened as by the interpolation of a colour mosaic, of which each picture takes a part at random.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from lift3d_ros.geometry.rigid import invert
from lift3d_ros.simulation.lens_water import add_dirt, add_drops, add_streaks
from lift3d_ros.simulation.renderer import RenderedView, to_display
from lift3d_ros.simulation.weather import Weather
from lift3d_ros.types import CameraModel, Float32Array, Float64Array, UInt8Array

_FULL_ROOT = 1.12
"""Square root of the most light that the sensor holds."""
_METERED = 0.30
_READ_SHARE = 0.02
_FIELD = (640, 1024)


@dataclass(frozen=True)
class CameraSettings:
    """Properties of one camera that last for a drive.

    Args:
        exposure: factor on the light that its meter chooses.
        balance: factors of red and of blue.
        saturation, contrast: of colours and of the tone curve, 1 neutral.
        vignetting: share of light lost in the corners.
        blur_px: standard deviation of the lens.
        noise: standard deviation at full light and gain 1, share of full light.
        glare: share of very bright light that the lens scatters around it.
        sharpening: 0 none .. 1 strong.
        quality: of JPEG, 1..100.
        dirt: seed of the dirt on the lens; None for a clean one.
        shutter_s: longest exposure time.
    """

    exposure: float = 1.0
    balance: tuple[float, float] = (1.0, 1.0)
    saturation: float = 1.0
    contrast: float = 1.0
    vignetting: float = 0.15
    blur_px: float = 0.45
    noise: float = 0.010
    glare: float = 0.05
    sharpening: float = 0.3
    quality: int = 85
    dirt: int | None = None
    shutter_s: float = 0.008


def random_settings(rng: np.random.Generator) -> CameraSettings:
    """Return settings of one camera; draw each of a rig on its own."""
    return CameraSettings(
        exposure=float(np.exp(rng.normal(0.0, 0.18))) * (1.5 if rng.random() < 0.04 else 1.0),
        balance=(float(np.exp(rng.normal(0.0, 0.05))), float(np.exp(rng.normal(0.0, 0.06)))),
        saturation=float(rng.uniform(0.75, 1.15)),
        contrast=float(rng.uniform(0.85, 1.2)),
        vignetting=float(rng.uniform(0.0, 0.35)),
        blur_px=float(rng.uniform(0.2, 0.8)),
        noise=float(rng.uniform(0.004, 0.016)),
        glare=float(rng.uniform(0.02, 0.09)),
        sharpening=float(rng.uniform(0.0, 0.7)),
        quality=int(rng.integers(60, 96)),
        dirt=int(rng.integers(1 << 30)) if rng.random() < 0.05 else None,
        shutter_s=float(rng.uniform(0.004, 0.012)),
    )


def camera_twist(T_world_cam: Float64Array, T_world_later: Float64Array, interval_s: float) -> Float64Array:
    """Return the (6,) linear and angular velocity of a camera in its optical frame, m/s and rad/s, from two poses."""
    motion = invert(T_world_cam) @ T_world_later
    rotation = motion[:3, :3]
    # For the small turn between two near poses.
    turn = 0.5 * np.array(
        [rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]
    )
    return np.asarray(np.concatenate([motion[:3, 3], turn]) / interval_s)


def expose(
    view: RenderedView,
    weather: Weather,
    settings: CameraSettings,
    rng: np.random.Generator,
    *,
    model: CameraModel | None = None,
    twist: Float64Array | None = None,
) -> UInt8Array:
    """Return the picture (H, W, 3) that the camera delivers.

    Args:
        model: the camera, for motion blur.
        twist: (6,) velocity of the camera, see `camera_twist`; None for at rest.
    """
    light = view.light.copy()
    if weather.rain > 0.0:
        add_streaks(light, weather.rain, rng)
        add_drops(light, weather.rain, rng)
    if settings.dirt is not None:
        add_dirt(light, settings.dirt)
    if model is not None and twist is not None:
        shutter = settings.shutter_s * min(1.0, 0.12 * weather.gain + 0.05)
        light = _moved(light, view.depth, model, np.asarray(twist) * shutter)
    _add_glare(light, settings.glare)
    if settings.blur_px > 0.1:
        light = np.asarray(cv2.GaussianBlur(light, (5, 5) if settings.blur_px > 0.6 else (3, 3), settings.blur_px))
    light = np.asarray(cv2.transform(light, _gains(settings, light)))
    cv2.multiply(light, _vignette(light.shape[0], light.shape[1], settings.vignetting), dst=light)
    sigma = 0.5 * settings.noise * float(np.sqrt(weather.gain))
    root = cv2.sqrt(cv2.max(light, 0.0))
    scale = 255 / _FULL_ROOT
    raw = cv2.addWeighted(root, scale, _noise(light.shape[0], light.shape[1], rng), scale * sigma, 0.0, dtype=cv2.CV_8U)
    picture = cv2.LUT(raw, _tone_curve(round(settings.contrast, 2)))
    if settings.sharpening > 0.0:
        soft = cv2.GaussianBlur(picture, (3, 3), 0.9)
        picture = cv2.addWeighted(picture, 1.0 + settings.sharpening, soft, -settings.sharpening, 0.0)
    return _compressed(np.asarray(picture), settings.quality)


def _moved(light: Float32Array, depth: Float32Array, model: CameraModel, motion: Float64Array) -> Float32Array:
    """Return the light averaged along the way of each pixel while the shutter is open.

    Args:
        motion: (6,) translation and rotation of the camera meanwhile, in its optical frame.
    """
    height, width = depth.shape
    step = 4
    near = np.minimum(depth[::step, ::step], 1e6)
    K = model.intrinsics
    v, u = np.mgrid[0:height:step, 0:width:step].astype(np.float32)
    x, y = (u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1]
    (tx, ty, tz), (wx, wy, wz) = motion[:3], motion[3:]
    along_u = K[0, 0] * ((x * tz - tx) / near + x * y * wx - (1 + x * x) * wy + y * wz)
    along_v = K[1, 1] * ((y * tz - ty) / near + (1 + y * y) * wx - x * y * wy - x * wz)
    flow = np.stack([along_u, along_v], axis=2).astype(np.float32)
    if np.percentile(np.abs(flow).max(axis=2), 90) < 0.8:
        return light
    flow = np.clip(flow, -24.0, 24.0)
    flow = np.asarray(cv2.GaussianBlur(cv2.resize(flow, (width, height)), (9, 9), 3.0))
    pixels = _pixels(height, width)
    blurred = light / 4
    for share in (-0.375, -0.125, 0.125, 0.375):
        places = pixels + np.float32(share) * flow
        taken = cv2.remap(light, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        blurred = cv2.scaleAdd(taken, 0.1875, blurred)
    return np.asarray(blurred)


def _add_glare(light: Float32Array, share: float) -> None:
    """Scatter very bright light around it, near and wide."""
    height, width = light.shape[:2]
    small = cv2.resize(light, (max(width // 8, 1), max(height // 8, 1)), interpolation=cv2.INTER_AREA)
    bright = cv2.subtract(small, 0.9)
    bright = cv2.max(bright, 0.0)
    if float(bright.max()) < 0.02:
        return
    near, wide = (cv2.GaussianBlur(bright, (0, 0), share_of_width * width) for share_of_width in (0.003, 0.015))
    halo = cv2.scaleAdd(wide, 1.5, near)
    scattered = cv2.resize(halo, (width, height), interpolation=cv2.INTER_LINEAR)
    cv2.scaleAdd(scattered, 7.0 * share, light, dst=light)


def _gains(settings: CameraSettings, light: Float32Array) -> Float64Array:
    """Return the (3, 3) matrix of exposure, white balance and saturation."""
    metered = float(np.minimum(light[::8, ::8], 1.5).mean())
    # Meters of cameras even out a part of what the scene differs by.
    exposure = settings.exposure * float(np.clip((_METERED / max(metered, 1e-3)) ** 0.4, 0.65, 1.9))
    grey = np.full((3, 3), 1.0 / 3.0)
    colors = settings.saturation * np.eye(3) + (1.0 - settings.saturation) * grey
    red, blue = settings.balance
    return np.asarray(exposure * np.diag([red, 1.0, blue]) @ colors)


def _compressed(picture: UInt8Array, quality: int) -> UInt8Array:
    """Return the picture after JPEG."""
    data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))


@lru_cache(maxsize=64)
def _tone_curve(contrast: float) -> UInt8Array:
    light = np.linspace(0.0, _FULL_ROOT, 256) ** 2
    shown = to_display(light)
    middle = 0.45
    curved = np.clip(middle + (shown - middle) * contrast, 0.0, 1.0)
    # Contrast above 1 must not cut the shadows off.
    mixed = np.where(shown < middle, np.maximum(curved, 0.55 * shown), curved)
    return np.asarray(255 * mixed + 0.5, dtype=np.uint8)


@lru_cache(maxsize=32)
def _vignette(height: int, width: int, lost: float) -> Float32Array:
    y, x = np.mgrid[-1.0 : 1.0 : height * 1j, -1.0 : 1.0 : width * 1j]
    square = (x * x * width**2 + y * y * height**2) / (width**2 + height**2)
    factor = (1.0 - lost * square * (0.6 + 0.4 * square)).astype(np.float32)
    return np.asarray(np.repeat(factor[..., None], 3, axis=2))


@lru_cache(maxsize=8)
def _pixels(height: int, width: int) -> Float32Array:
    v, u = np.mgrid[0:height, 0:width]
    return np.asarray(np.stack([u, v], axis=2), dtype=np.float32)


@lru_cache(maxsize=1)
def _noise_field() -> Float32Array:
    rng = np.random.default_rng(20)
    field = rng.standard_normal((*_FIELD, 3)).astype(np.float32)
    level = field.mean(axis=2, keepdims=True)
    soft = np.asarray(cv2.GaussianBlur(level, (3, 3), 0.5))[..., None]
    color = np.asarray(cv2.GaussianBlur(field - level, (5, 5), 1.0))
    return np.ascontiguousarray(1.9 * soft + 1.6 * color)


def _noise(height: int, width: int, rng: np.random.Generator) -> Float32Array:
    field = _noise_field()
    row, column = int(rng.integers(_FIELD[0])), int(rng.integers(_FIELD[1]))
    rows, columns = (row + np.arange(height)) % _FIELD[0], (column + np.arange(width)) % _FIELD[1]
    if row + height <= _FIELD[0] and column + width <= _FIELD[1]:
        return field[row : row + height, column : column + width]
    return field.take(rows, axis=0).take(columns, axis=1)
