"""Rain and dirt before the sensor: streaks in the air, drops and dirt on the lens."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from lift3d_ros.types import Float32Array


def add_streaks(light: Float32Array, rain: float, rng: np.random.Generator) -> None:
    """Draw falling drops as bright, blurred streaks into `light` (H, W, 3)."""
    height, width = light.shape[:2]
    count = int(rain * 260 * width / 704)
    mask = np.zeros((height, width), dtype=np.uint8)
    slant = float(rng.normal(0.0, 0.12))
    x, y = rng.uniform(-20, width + 20, count), rng.uniform(-30, height, count)
    # Near drops leave long, faint streaks; far ones short ones.
    length = height * rng.uniform(0.02, 0.11, count)
    strength = (rng.uniform(0.2, 1.0, count) * 150).astype(int)
    for x0, y0, run, value in zip(x, y, length, strength, strict=True):
        end = (int(x0 + slant * run), int(y0 + run))
        cv2.line(mask, (int(x0), int(y0)), end, int(value), 1, cv2.LINE_AA)
    mask = np.asarray(cv2.GaussianBlur(mask, (3, 5), 0.6))
    glow = cv2.resize(cv2.resize(light, (8, 4), interpolation=cv2.INTER_AREA), (width, height))
    share = cv2.cvtColor(cv2.multiply(mask, 0.45 / 255, dtype=cv2.CV_32F), cv2.COLOR_GRAY2RGB)
    cv2.add(light, cv2.multiply(share, cv2.subtract(1.25 * glow, 0.7 * light)), dst=light)


def add_drops(light: Float32Array, rain: float, rng: np.random.Generator) -> None:
    """Put drops on the lens: each shows a small, blurred, upside-down picture of what lies around it."""
    height, width = light.shape[:2]
    small = cv2.resize(light, (max(width // 4, 1), max(height // 4, 1)), interpolation=cv2.INTER_AREA)
    source = cv2.GaussianBlur(small, (0, 0), 1.5)
    for _ in range(int(rng.poisson(9 * rain))):
        radius = float(np.clip(width * 0.008 * np.exp(rng.normal(0.0, 0.5)), 3.0, width * 0.035))
        tall = radius * float(rng.uniform(1.0, 1.3))
        u, v = float(rng.uniform(radius, width - radius)), float(rng.uniform(tall, height - tall))
        left, right = max(int(u - radius) - 2, 0), min(int(u + radius) + 3, width)
        top, bottom = max(int(v - tall) - 2, 0), min(int(v + tall) + 3, height)
        if right - left < 4 or bottom - top < 4:
            continue
        reach = 3.0 * radius / 4
        rows = slice(max(int(v / 4 - reach), 0), max(int(v / 4 + reach), 2))
        columns = slice(max(int(u / 4 - reach), 0), max(int(u / 4 + reach), 2))
        image = cv2.resize(source[rows, columns][::-1, ::-1], (right - left, bottom - top))
        y, x = np.mgrid[top:bottom, left:right]
        away = np.sqrt(((x - u) / radius) ** 2 + ((y - v) / tall) ** 2).astype(np.float32)
        share = (np.clip((1.0 - away) * 2.5, 0.0, 0.9))[..., None]
        image *= (1.0 - 0.45 * np.clip(away, 0.0, 1.0) ** 4)[..., None]
        patch = light[top:bottom, left:right]
        patch += share * (image - patch)


def add_dirt(light: Float32Array, seed: int) -> None:
    """Put the dirt of a seed on the lens; it takes light and adds a little that it scatters."""
    height, width = light.shape[:2]
    share = _dirt(seed, height, width)
    scattered = 0.45 * light[::16, ::16].mean(axis=(0, 1))
    light *= 1.0 - share
    light += share * scattered.astype(np.float32)


@lru_cache(maxsize=16)
def _dirt(seed: int, height: int, width: int) -> Float32Array:
    rng = np.random.default_rng(seed)
    fine = cv2.resize(rng.random((27, 48)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    wide = cv2.resize(rng.random((4, 6)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    share = np.clip((0.45 * fine + 0.55 * wide - 0.62) * 2.2, 0.0, 0.5)
    spots = np.zeros((height, width), dtype=np.float32)
    for _ in range(int(rng.integers(4, 20))):
        at = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(spots, at, int(width * rng.uniform(0.002, 0.008)) + 1, float(rng.uniform(0.3, 0.8)), -1, cv2.LINE_AA)
    spots = cv2.GaussianBlur(spots, (0, 0), width * 0.003)
    return np.asarray(np.maximum(share, spots)[..., None], dtype=np.float32)
