"""Objects made from random parameters: boxes, turned shapes, mugs, bottles, tables, chairs, lamps and others.

Training adds them to meshes of folders: they have the symmetries of everyday objects in many more proportions.
"""

from __future__ import annotations

import colorsys
import dataclasses
from collections.abc import Callable

import numpy as np

from lift3d_ros.simulation.meshes import (
    Finish,
    Mesh,
    box,
    combine,
    cylinder,
    ellipsoid,
    loft,
    placed,
    ring,
    smoothed,
)
from lift3d_ros.types import Float64Array

_SIDES = 20


def made_object(rng: np.random.Generator) -> Mesh:
    """Return a random object, its longest side 1 and its middle at the origin."""
    make = _MAKERS[int(rng.integers(len(_MAKERS)))]
    mesh = make(rng)
    lower, upper = mesh.bounds
    positions = (mesh.positions - 0.5 * (lower + upper)) / float((upper - lower).max())
    return dataclasses.replace(mesh, positions=positions.astype(np.float32))


def _finish(rng: np.random.Generator) -> Finish:
    """Return a random colour; one of three is grey or nearly so."""
    saturation = rng.uniform(0.0, 0.12) if rng.uniform() < 0.33 else rng.uniform(0.25, 0.9)
    red, green, blue = colorsys.hsv_to_rgb(rng.uniform(), saturation, rng.uniform(0.15, 1.0))
    return Finish((int(255 * red), int(255 * green), int(255 * blue)))


def _turned(profile: Float64Array, finishes: list[Finish]) -> Mesh:
    """Return what a lathe makes of a profile (N, 2) of radius and height, from below; bands have the finishes."""
    angle = np.linspace(0.0, 2.0 * np.pi, _SIDES, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    sections = [np.column_stack([radius * circle, np.full(_SIDES, height)]) for radius, height in profile]
    rows = len(profile) - 1
    return smoothed(loft(np.stack(sections), lambda row, column: finishes[row * len(finishes) // rows]), 50.0)


def _lathe(rng: np.random.Generator) -> Mesh:
    heights = np.linspace(0.0, rng.uniform(0.5, 2.5), 13)
    waves = sum(
        rng.normal(0.0, 0.25 / n) * np.sin(n * np.linspace(0.0, np.pi, 13) + rng.uniform(0, 6)) for n in (1, 2, 3)
    )
    radii = np.maximum(0.5 + waves, 0.06)
    return _turned(np.column_stack([radii, heights]), [_finish(rng) for _ in range(int(rng.integers(1, 4)))])


def _bottle(rng: np.random.Generator) -> Mesh:
    body, shoulder, neck = rng.uniform(0.8, 1.8), rng.uniform(0.15, 0.5), rng.uniform(0.2, 0.6)
    width, mouth = rng.uniform(0.3, 0.5), rng.uniform(0.1, 0.22)
    heights = np.cumsum([0.0, 0.05, body, shoulder, neck, 0.01, 0.15, 0.01])
    radii = [0.9 * width, width, width, mouth, mouth, 1.3 * mouth, 1.3 * mouth, 0.02]
    glass, label, cap = _finish(rng), _finish(rng), _finish(rng)
    return _turned(np.column_stack([radii, heights]), [glass, label, glass, glass, glass, cap, cap])


def _hollow(rng: np.random.Generator, height: float, low: float, high: float) -> Mesh:
    """Return a vessel that is open above."""
    wall = rng.uniform(0.03, 0.08)
    steps = np.linspace(0.0, 1.0, 7)
    bulge = rng.uniform(-0.1, 0.15) * np.sin(np.pi * steps)
    outer = np.column_stack([low + (high - low) * steps + bulge, height * steps])
    inner = outer[::-1] - np.array([wall, 0.0])
    inner[-1, 1] = wall
    return _turned(np.concatenate([outer, inner]), [_finish(rng), _finish(rng)])


def _mug(rng: np.random.Generator) -> Mesh:
    height, radius = rng.uniform(0.7, 1.2), rng.uniform(0.35, 0.5)
    cup = _hollow(rng, height, radius * rng.uniform(0.8, 1.0), radius)
    handle = ring((0.0, 0.0, 0.0), 0.32 * height, rng.uniform(0.07, 0.13), _finish(rng))
    return combine([cup, placed(handle, (radius + 0.14 * height, 0.0, 0.5 * height))])


def _bowl(rng: np.random.Generator) -> Mesh:
    return _hollow(rng, rng.uniform(0.15, 0.7), rng.uniform(0.2, 0.4), rng.uniform(0.5, 0.8))


def _box(rng: np.random.Generator) -> Mesh:
    size = rng.uniform(0.2, 1.0, 3)
    parts = [box((0.0, 0.0, 0.0), size, _finish(rng))]
    for _ in range(int(rng.integers(0, 4))):  # labels, lids, doors
        axis, side = int(rng.integers(3)), float(rng.choice([-1.0, 1.0]))
        plate = size * rng.uniform(0.3, 0.95, 3)
        plate[axis] = 0.03
        center = np.zeros(3)
        center[axis] = side * 0.5 * size[axis]
        parts.append(box(center, plate, _finish(rng)))
    return combine(parts)


def _blocks(rng: np.random.Generator) -> Mesh:
    parts, height = [], 0.0
    for _ in range(int(rng.integers(2, 5))):
        size = rng.uniform(0.2, 1.0, 3) * (1.0, 1.0, 0.6)
        center = (*rng.uniform(-0.15, 0.15, 2), height + 0.5 * size[2])
        if rng.uniform() < 0.5:
            parts.append(box(center, size, _finish(rng), top=(rng.uniform(0.5, 1.0), rng.uniform(0.5, 1.0))))
        else:
            x, y, _ = center
            foot, tip = (x, y, height), (x, y, height + size[2])
            radius = 0.5 * float(size[0])
            parts.append(cylinder(foot, tip, radius, _finish(rng), tip=radius * rng.uniform(0.3, 1.0), sides=_SIDES))
        height += float(size[2])
    return combine(parts)


def _table(rng: np.random.Generator) -> Mesh:
    length, width, height = rng.uniform(0.6, 1.6), rng.uniform(0.5, 1.0), rng.uniform(0.3, 1.0)
    top, thickness = _finish(rng), rng.uniform(0.04, 0.12)
    parts = [box((0.0, 0.0, height), (length, width, thickness), top), *_legs(rng, length, width, height)]
    if rng.uniform() < 0.3:
        parts.append(box((0.0, 0.0, 0.4 * height), (0.95 * length, 0.95 * width, 0.04), top))
    return combine(parts)


def _chair(rng: np.random.Generator) -> Mesh:
    width, depth, height = rng.uniform(0.5, 0.8), rng.uniform(0.5, 0.7), rng.uniform(0.35, 0.6)
    finish, back = _finish(rng), rng.uniform(0.4, 0.9)
    parts = [box((0.0, 0.0, height), (depth, width, rng.uniform(0.05, 0.15)), finish)]
    parts += _legs(rng, depth, width, height)
    parts.append(box((-0.5 * depth, 0.0, height + 0.5 * back), (0.08, width, back), _finish(rng)))
    if rng.uniform() < 0.4:
        for side in (-0.5, 0.5):
            parts.append(box((0.0, side * width, height + 0.2), (depth, 0.08, 0.4), finish))
    return combine(parts)


def _legs(rng: np.random.Generator, length: float, width: float, height: float) -> list[Mesh]:
    thickness, finish = rng.uniform(0.05, 0.12), _finish(rng)
    x, y = 0.5 * (length - thickness), 0.5 * (width - thickness)
    corners = [(sx * x, sy * y) for sx in (-1, 1) for sy in (-1, 1)]
    return [box((cx, cy, 0.5 * height), (thickness, thickness, height), finish) for cx, cy in corners]


def _lamp(rng: np.random.Generator) -> Mesh:
    height, finish = rng.uniform(0.6, 1.6), _finish(rng)
    foot = cylinder((0, 0, 0), (0, 0, 0.06), rng.uniform(0.2, 0.35), finish, sides=_SIDES)
    pole = cylinder((0, 0, 0), (0, 0, height), rng.uniform(0.03, 0.08), finish)
    low = rng.uniform(0.25, 0.45)
    shade = cylinder(
        (0, 0, height), (0, 0, height + rng.uniform(0.25, 0.5)), low, _finish(rng), tip=low * rng.uniform(0.4, 1.0),
        sides=_SIDES,
    )  # fmt: skip
    return combine([foot, pole, shade])


def _figure(rng: np.random.Generator) -> Mesh:
    """Return rounded bodies in one another: toys, fruit, animals."""
    parts = [ellipsoid((0, 0, 0), rng.uniform(0.25, 0.6, 3), _finish(rng), rings=10, sides=16)]
    for _ in range(int(rng.integers(0, 5))):
        direction = rng.normal(size=3)
        center = 0.4 * direction / np.linalg.norm(direction)
        radii = rng.uniform(0.08, 0.3, 3)
        parts.append(ellipsoid(center, radii, _finish(rng), rings=8, sides=14))
        mirror = center * (1.0, -1.0, 1.0)
        parts.append(ellipsoid(mirror, radii, _finish(rng), rings=8, sides=14))
    return combine(parts)


def _tool(rng: np.random.Generator) -> Mesh:
    """Return a handle with a head, lying or standing."""
    length, radius = rng.uniform(0.6, 1.2), rng.uniform(0.03, 0.09)
    handle = cylinder((0, 0, 0), (length, 0, 0), radius, _finish(rng), tip=radius * rng.uniform(0.6, 1.4))
    if rng.uniform() < 0.5:
        head = box((length, 0, 0), (rng.uniform(0.1, 0.3), rng.uniform(0.1, 0.5), rng.uniform(0.05, 0.2)), _finish(rng))
    else:
        head = ellipsoid((length, 0, 0), rng.uniform(0.06, 0.25, 3), _finish(rng), rings=8, sides=14)
    return placed(combine([handle, head]), (0, 0, 0), 0.0, float(rng.choice([0.0, -0.5 * np.pi, 0.4])))


def _shelf(rng: np.random.Generator) -> Mesh:
    width, depth, height = rng.uniform(0.5, 1.2), rng.uniform(0.25, 0.5), rng.uniform(0.5, 1.6)
    finish, thickness = _finish(rng), 0.05
    count = int(rng.integers(2, 6))
    parts = [box((0, 0, z), (depth, width, thickness), finish) for z in np.linspace(0.0, height, count)]
    parts += [box((0, side * width, 0.5 * height), (depth, thickness, height), finish) for side in (-0.5, 0.5)]
    if rng.uniform() < 0.6:
        parts.append(box((-0.5 * depth, 0, 0.5 * height), (thickness, width, height), _finish(rng)))
    return combine(parts)


_MAKERS: tuple[Callable[[np.random.Generator], Mesh], ...] = (
    _lathe, _bottle, _mug, _bowl, _box, _blocks, _table, _chair, _lamp, _figure, _tool, _shelf,
)  # fmt: skip
