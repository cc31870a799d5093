"""Clouds of everyday things made of simple bodies, with the part of each point: labelled data without a download.

Every thing stands upright (z up) with its front along x; sizes, and what a thing has, are drawn. Letters: N things,
P points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.datasets.point_cloud_changes import to_unit_sphere
from lift3d_ros.types import Float32Array, Float64Array

_DENSE = 4  # points drawn on all surfaces, for each that is kept


@dataclass(frozen=True, eq=False)
class PartSet:
    """Clouds with parts.

    Args:
        points: (N, P, 3), each cloud in the unit sphere.
        parts: (N, P) index into `part_names`.
        categories: (N,) index into `category_names`.
        part_names: of all categories, each as ``category/part``.
    """

    points: Float32Array
    parts: NDArray[np.int64]
    categories: NDArray[np.int64]
    category_names: tuple[str, ...]
    part_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.points)

    def parts_of(self, category: int) -> tuple[int, ...]:
        """Return the parts that things of a category can have."""
        prefix = f"{self.category_names[category]}/"
        return tuple(number for number, name in enumerate(self.part_names) if name.startswith(prefix))


@dataclass(frozen=True, eq=False)
class _Body:
    """A surface: its area, and how points on it are drawn."""

    part: str
    area: float
    draw: Callable[[np.random.Generator, int], Float64Array]


def make_parts(count: int, num_points: int, seed: int) -> PartSet:
    """Make things of all categories in turn, the same ones for the same seed.

    Args:
        num_points: of each cloud.
    """
    categories = tuple(_THINGS)
    names = tuple(f"{category}/{part}" for category, (parts, _) in _THINGS.items() for part in parts)
    points = np.empty((count, num_points, 3), np.float32)
    parts = np.empty((count, num_points), np.int64)
    for row in range(count):
        rng = np.random.default_rng((seed, row))
        category = categories[row % len(categories)]
        drawn = [(f"{category}/{body.part}", body) for body in _THINGS[category][1](rng)]
        areas = np.array([body.area for _, body in drawn])
        shares = rng.multinomial(_DENSE * num_points, areas / areas.sum())
        placed = np.concatenate([body.draw(rng, share) for (_, body), share in zip(drawn, shares, strict=True)])
        owners = np.repeat([names.index(name) for name, _ in drawn], shares)
        kept = rng.permutation(len(placed))[:num_points]
        points[row], parts[row] = placed[kept], owners[kept]
    return PartSet(to_unit_sphere(points), parts, np.arange(count) % len(categories), categories, names)


def _box(part: str, center: tuple[float, float, float], size: tuple[float, float, float]) -> _Body:
    extent = np.array(size)
    faces = np.array([extent[1] * extent[2], extent[0] * extent[2], extent[0] * extent[1]])

    def draw(rng: np.random.Generator, count: int) -> Float64Array:
        place = rng.uniform(-0.5, 0.5, (count, 3))
        axis = rng.choice(3, count, p=faces / faces.sum())
        place[np.arange(count), axis] = rng.choice((-0.5, 0.5), count)
        return np.asarray(center + place * extent)

    return _Body(part, float(2.0 * faces.sum()), draw)


def _cone(part: str, bottom: tuple[float, float, float], height: float, low: float, high: float) -> _Body:
    """Make the side of an upright cone between two radii, with both its ends; equal radii make a cylinder."""
    slope = float(np.hypot(height, high - low))
    areas = np.array([np.pi * (low + high) * slope, np.pi * low**2, np.pi * high**2])

    def draw(rng: np.random.Generator, count: int) -> Float64Array:
        surface = rng.choice(3, count, p=areas / areas.sum())
        up = np.where(surface == 0, rng.random(count), surface - 1.0)
        outer = low + (high - low) * up
        radius = np.where(surface == 0, outer, outer * np.sqrt(rng.random(count)))
        angle = rng.uniform(0.0, 2.0 * np.pi, count)
        return np.asarray(bottom + np.stack([radius * np.cos(angle), radius * np.sin(angle), height * up], axis=1))

    return _Body(part, float(areas.sum()), draw)


def _handle(part: str, center: tuple[float, float, float], radius: float, thickness: float) -> _Body:
    """Make half a ring in the plane of x and z, open towards -x."""

    def draw(rng: np.random.Generator, count: int) -> Float64Array:
        along, around = rng.uniform(-np.pi / 2, np.pi / 2, count), rng.uniform(0.0, 2.0 * np.pi, count)
        reach = radius + thickness * np.cos(around)
        ring = np.stack([reach * np.cos(along), thickness * np.sin(around), reach * np.sin(along)], axis=1)
        return np.asarray(center + ring)

    return _Body(part, 2.0 * np.pi**2 * radius * thickness, draw)


def _table(rng: np.random.Generator) -> list[_Body]:
    length, width, height = rng.uniform(0.8, 1.6), rng.uniform(0.5, 1.0), rng.uniform(0.4, 0.9)
    top, leg = rng.uniform(0.03, 0.1), rng.uniform(0.04, 0.1)
    if rng.random() < 0.3:
        foot = rng.uniform(0.2, 0.35)
        legs = [_cone("leg", (0, 0, 0), height, leg, leg), _cone("leg", (0, 0, 0), 0.04, foot, 0.8 * foot)]
    else:
        legs = [
            _box("leg", (x * (length - leg) / 2, y * (width - leg) / 2, height / 2), (leg, leg, height))
            for x in (-1, 1)
            for y in (-1, 1)
        ]
    return [_box("top", (0, 0, height + top / 2), (length, width, top)), *legs]


def _chair(rng: np.random.Generator) -> list[_Body]:
    side, height = rng.uniform(0.4, 0.6), rng.uniform(0.35, 0.55)
    back, leg, thick = rng.uniform(0.35, 0.7), rng.uniform(0.03, 0.06), rng.uniform(0.03, 0.09)
    bodies = [_box("seat", (0, 0, height), (side, side, thick))]
    bodies += [
        _box("leg", (x * (side - leg) / 2, y * (side - leg) / 2, height / 2), (leg, leg, height))
        for x in (-1, 1)
        for y in (-1, 1)
    ]
    bodies.append(_box("back", ((thick - side) / 2, 0, height + back / 2), (thick, side, back)))
    if rng.random() < 0.4:
        bodies += [_box("arm", (0, y * (side - leg) / 2, height + 0.4 * back), (0.8 * side, leg, leg)) for y in (-1, 1)]
    return bodies


def _mug(rng: np.random.Generator) -> list[_Body]:
    radius, height = rng.uniform(0.3, 0.5), rng.uniform(0.6, 1.2)
    ring = rng.uniform(0.2, 0.4) * height
    high = radius * rng.uniform(0.9, 1.3)
    return [
        _cone("body", (0, 0, 0), height, radius, high),
        _handle("handle", (0.95 * (radius + high) / 2, 0, rng.uniform(0.45, 0.55) * height), ring, 0.07),
    ]


def _bottle(rng: np.random.Generator) -> list[_Body]:
    radius, height = rng.uniform(0.2, 0.35), rng.uniform(0.6, 1.1)
    neck, shoulder, cap = rng.uniform(0.06, 0.1), rng.uniform(0.1, 0.25), rng.uniform(0.05, 0.12)
    length = rng.uniform(0.1, 0.35)
    return [
        _cone("body", (0, 0, 0), height, radius, radius),
        _cone("neck", (0, 0, height), shoulder, radius, neck),
        _cone("neck", (0, 0, height + shoulder), length, neck, neck),
        _cone("cap", (0, 0, height + shoulder + length), cap, 1.25 * neck, 1.25 * neck),
    ]


def _lamp(rng: np.random.Generator) -> list[_Body]:
    base, height, pole = rng.uniform(0.2, 0.4), rng.uniform(0.6, 1.3), rng.uniform(0.02, 0.05)
    shade, low = rng.uniform(0.25, 0.5), rng.uniform(0.25, 0.45)
    return [
        _cone("base", (0, 0, 0), 0.06, base, 0.8 * base),
        _cone("pole", (0, 0, 0.06), height, pole, pole),
        _cone("shade", (0, 0, 0.06 + 0.8 * height), shade, low, rng.uniform(0.3, 0.9) * low),
    ]


def _hammer(rng: np.random.Generator) -> list[_Body]:
    length, grip = rng.uniform(0.8, 1.3), rng.uniform(0.03, 0.06)
    head, thick = rng.uniform(0.3, 0.55), rng.uniform(0.1, 0.18)
    return [
        _cone("handle", (0, 0, 0), length, grip, grip),
        _box("head", (rng.uniform(-0.1, 0.1), 0, length), (head, thick, thick)),
    ]


_THINGS: Mapping[str, tuple[tuple[str, ...], Callable[[np.random.Generator], list[_Body]]]] = {
    "table": (("top", "leg"), _table),
    "chair": (("seat", "leg", "back", "arm"), _chair),
    "mug": (("body", "handle"), _mug),
    "bottle": (("body", "neck", "cap"), _bottle),
    "lamp": (("base", "pole", "shade"), _lamp),
    "hammer": (("handle", "head"), _hammer),
}
"""Category -> names of its parts, and how one is made."""
