"""Random changes of a training sample: of its pictures, of the vehicle's frame, and of its calibrations.

Here they are drawn and applied to matrices and boxes; :mod:`pictures` applies them to pixels on the device. A change
holds for all frames of a sequence. Everything is drawn from a generator of its own for each sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lift3d_ros.training.dfa3d.settings import AugmentationSettings
from lift3d_ros.types import Float64Array

# Luminance, and two axes of colour (YIQ).
_YIQ_FROM_RGB = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_RGB_FROM_YIQ = np.linalg.inv(_YIQ_FROM_RGB)


@dataclass(frozen=True, eq=False)
class SampleChange:
    """What is changed in the frames of one sample; N cameras.

    Args:
        T_changed_base: (4, 4) maps points of the base frame to the changed one; turned, mirrored and scaled.
        scale: of lengths.
        warps: (N, 3, 3) homogeneous pixels of the prepared picture to those of the changed one.
        wrong_calibration: (N, 3, 3) pixels of the changed picture to where the calibration expects them.
        is_kept: (N,) bool, False for a camera that is missing.
        colors: (N, 3, 4) RGB in 0..255 and 1 to changed RGB.
        noise: (N,) standard deviation, 0..255.
        blur: (N,) 0..1.
        grid: (N, 4) period and size of cut-out squares, and where the first one starts (x, y), px; period 0: none.
    """

    T_changed_base: Float64Array
    scale: float
    warps: Float64Array
    wrong_calibration: Float64Array
    is_kept: np.ndarray[tuple[int], np.dtype[np.bool_]]
    colors: Float64Array
    noise: Float64Array
    blur: Float64Array
    grid: Float64Array


def draw_change(
    settings: AugmentationSettings, num_cameras: int, width: int, height: int, rng: np.random.Generator
) -> SampleChange:
    """Draw the changes of one sample.

    Args:
        width, height: of the prepared pictures, px.
    """
    T_changed_base, scale, is_mirrored = _draw_frame(settings, rng)
    flips = rng.random(num_cameras) < settings.picture_flip
    # In a mirrored world every camera sees a mirrored picture, which keeps its projection that of a real camera.
    warps = np.stack([_draw_warp(settings, flip != is_mirrored, width, height, rng) for flip in flips])
    wrong = np.tile(np.eye(3), (num_cameras, 1, 1))
    zoom = 1.0 + settings.calibration_focal * rng.standard_normal(num_cameras)
    wrong[:, 0, 0] = wrong[:, 1, 1] = zoom
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    offset = settings.calibration_px * rng.standard_normal((num_cameras, 2))
    wrong[:, :2, 2] = middle * (1.0 - zoom[:, None]) + offset
    is_kept = np.ones(num_cameras, dtype=bool)
    if rng.random() < settings.drops_camera and num_cameras > 1:
        is_kept[rng.integers(num_cameras)] = False
    return SampleChange(
        T_changed_base,
        scale,
        warps,
        wrong,
        is_kept,
        _draw_colors(settings, num_cameras, rng),
        settings.noise * rng.random(num_cameras) ** 2,
        np.where(rng.random(num_cameras) < settings.blur, rng.random(num_cameras), 0.0),
        _draw_grid(settings, num_cameras, height, rng),
    )


def change_projections(image_from_base: Float64Array, change: SampleChange) -> Float64Array:
    """Return (N, 4, 4) projections of the changed frame into the changed pictures.

    Depth grows with the scale of the world, pixels do not.
    """
    count = len(image_from_base)
    pixels = np.tile(np.eye(4), (count, 1, 1))
    pixels[:, :3, :3] = change.scale * (change.wrong_calibration[:count] @ change.warps[:count])
    return np.asarray(pixels @ image_from_base @ np.linalg.inv(change.T_changed_base))


def change_motion(T_before_now: Float64Array, change: SampleChange) -> Float64Array:
    """Return the motion (4, 4) between two frames as the changed frames see it."""
    return np.asarray(change.T_changed_base @ T_before_now @ np.linalg.inv(change.T_changed_base))


def change_boxes(
    centers: Float64Array, sizes: Float64Array, yaws: Float64Array, velocities: Float64Array, change: SampleChange
) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    """Return centers, sizes, yaws and velocities of boxes in the changed frame."""
    linear = change.T_changed_base[:3, :3]
    heading = np.stack([np.cos(yaws), np.sin(yaws)], axis=-1) @ linear[:2, :2].T
    return (
        centers @ linear.T + change.T_changed_base[:3, 3],
        sizes * change.scale,
        np.arctan2(heading[:, 1], heading[:, 0]),
        velocities @ linear[:2, :2].T,
    )


def _draw_frame(settings: AugmentationSettings, rng: np.random.Generator) -> tuple[Float64Array, float, bool]:
    angle = np.deg2rad(settings.turn_deg) * rng.uniform(-1.0, 1.0)
    scale = float(rng.uniform(*settings.scale))
    swaps_front, swaps_sides = rng.random(2) < (settings.flip_x, settings.flip_y)
    c, s = np.cos(angle), np.sin(angle)
    mirror = np.diag([-1.0 if swaps_front else 1.0, -1.0 if swaps_sides else 1.0, 1.0])
    matrix = np.eye(4)
    matrix[:3, :3] = scale * np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ mirror
    return matrix, scale, bool(swaps_front != swaps_sides)


def _draw_warp(
    settings: AugmentationSettings, flip: bool, width: int, height: int, rng: np.random.Generator
) -> Float64Array:
    zoom = rng.uniform(*settings.zoom)
    angle = np.deg2rad(settings.roll_deg) * rng.uniform(-1.0, 1.0)
    shift = settings.shift * rng.uniform(-1.0, 1.0, 2) * (width, height)
    c, s = zoom * np.cos(angle), zoom * np.sin(angle)
    mirrored = -1.0 if flip else 1.0
    warp = np.array([[c * mirrored, -s, 0.0], [s * mirrored, c, 0.0], [0.0, 0.0, 1.0]])
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    warp[:2, 2] = middle + shift - warp[:2, :2] @ middle
    return warp


def _draw_colors(settings: AugmentationSettings, num_cameras: int, rng: np.random.Generator) -> Float64Array:
    """Draw exposure for the whole sample, and half as much again for each camera."""

    def spread(amount: float) -> Float64Array:
        return np.asarray(amount * (rng.uniform(-1, 1) + 0.5 * rng.uniform(-1, 1, num_cameras)) / 1.5)

    brightness, contrast = 1.0 + spread(settings.brightness), 1.0 + spread(settings.contrast)
    saturation, hue = 1.0 + spread(settings.saturation), np.deg2rad(spread(settings.hue_deg))
    tint = 1.0 + settings.tint * rng.uniform(-1, 1, (num_cameras, 3))
    turned = np.zeros((num_cameras, 3, 3))
    turned[:, 0, 0] = 1.0
    turned[:, 1, 1] = turned[:, 2, 2] = saturation * np.cos(hue)
    turned[:, 2, 1] = saturation * np.sin(hue)
    turned[:, 1, 2] = -turned[:, 2, 1]
    mix = _RGB_FROM_YIQ @ turned @ _YIQ_FROM_RGB
    gain = (brightness * contrast)[:, None, None]
    offset = np.broadcast_to((1.0 - contrast)[:, None, None] * 110.0, (num_cameras, 3, 1))
    return np.concatenate([gain * tint[:, :, None] * mix, offset], axis=-1)


def _draw_grid(settings: AugmentationSettings, num_cameras: int, height: int, rng: np.random.Generator) -> Float64Array:
    period = height * rng.uniform(0.3, 0.9, num_cameras)
    size = period * rng.uniform(0.25, 0.5, num_cameras)
    start = period[:, None] * rng.random((num_cameras, 2))
    is_cut = rng.random(num_cameras) < settings.grid_mask
    return np.column_stack([np.where(is_cut, period, 0.0), size, start])
