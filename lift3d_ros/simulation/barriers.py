"""Parametric barriers and traffic cones.

Object frame: origin on the ground below the middle; the long side of a barrier lies along y, as in nuScenes; metres.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lift3d_ros.simulation.meshes import (
    Color,
    Finish,
    Material,
    Mesh,
    box,
    combine,
    cylinder,
    extruded,
    mirrored,
)

_ORANGE, _WHITE, _RED = (236, 92, 24), (238, 238, 234), (196, 34, 30)
_METAL = Finish((150, 152, 154), Material.METAL)
_RUBBER = Finish((40, 40, 42))


def random_cone(rng: np.random.Generator) -> Mesh:
    """Return a traffic cone, a drum or a marker post."""
    base: Color = ((236, 92, 24), (226, 70, 30), (240, 120, 40), (210, 200, 60))[
        int(rng.choice(4, p=[0.5, 0.25, 0.15, 0.1]))
    ]
    kind = int(rng.choice(4, p=[0.62, 0.14, 0.12, 0.12]))
    if kind == 1:
        return _drum(float(rng.uniform(0.85, 1.15)), base)
    if kind == 2:
        return _post(float(rng.uniform(0.7, 1.1)), base)
    height = float(rng.uniform(0.32, 0.5) if kind == 3 else rng.uniform(0.55, 0.95))
    return _cone(height, base, int(rng.integers(0, 3)), float(rng.uniform(0.19, 0.26)))


def _cone(height: float, base: Color, bands: int, slim: float) -> Mesh:
    edges = np.linspace(0.05, 1.0, 2 * bands + 2) * height
    radii = np.interp(edges, [0.05 * height, height], [slim * height + 0.02, 0.028])
    parts = [box([0.0, 0.0, 0.02], [0.52 * height + 0.06, 0.52 * height + 0.06, 0.04], _RUBBER, top=(0.92, 0.92))]
    for i in range(2 * bands + 1):
        finish = Finish(_WHITE if i % 2 else base)
        parts.append(cylinder([0, 0, edges[i]], [0, 0, edges[i + 1]], radii[i], finish, tip=radii[i + 1], sides=14))
    return combine(parts)


def _drum(height: float, base: Color) -> Mesh:
    edges = np.linspace(0.08, height, 6)
    parts = [cylinder([0, 0, 0], [0, 0, 0.08], 0.34, _RUBBER, sides=16)]
    for i in range(5):
        radius = 0.30 - 0.012 * i
        parts.append(
            cylinder([0, 0, edges[i]], [0, 0, edges[i + 1]], radius, Finish(_WHITE if i % 2 else base), sides=16)
        )
    return combine(parts)


def _post(height: float, base: Color) -> Mesh:
    edges = np.linspace(0.06, height, 6)
    parts = [cylinder([0, 0, 0], [0, 0, 0.06], 0.19, _RUBBER, sides=12)]
    parts += [
        cylinder([0, 0, edges[i]], [0, 0, edges[i + 1]], 0.05, Finish(_WHITE if i % 2 else base), sides=10)
        for i in range(5)
    ]
    return combine(parts)


def random_barrier(rng: np.random.Generator) -> Mesh:
    """Return a barrier of a random kind."""
    makers: tuple[Callable[[np.random.Generator], Mesh], ...] = (_jersey, _boards, _fence, _plastic, _trestle)
    return makers[int(rng.choice(5, p=[0.3, 0.22, 0.18, 0.18, 0.12]))](rng)


def _jersey(rng: np.random.Generator) -> Mesh:
    width, height = float(rng.uniform(1.5, 3.2)), float(rng.uniform(0.75, 1.0))
    foot, tone = float(rng.uniform(0.24, 0.32)), int(rng.integers(140, 205))
    half = [[foot, 0.0], [foot, 0.12 * height], [0.55 * foot, 0.4 * height], [0.33 * foot, height]]
    profile = [*half, *[[-x, z] for x, z in reversed(half)]]
    parts = [extruded(profile, width, Finish((tone, tone - 2, tone - 6), Material.PLASTER))]
    if rng.random() < 0.5:
        reflector = Finish(_ORANGE)
        parts += [box([0.0, y, height + 0.04], [0.09, 0.09, 0.08], reflector) for y in (-0.4 * width, 0.4 * width)]
    return combine(parts)


def _boards(rng: np.random.Generator) -> Mesh:
    width, height = float(rng.uniform(1.5, 2.5)), float(rng.uniform(0.9, 1.1))
    first: Color = (_RED, _ORANGE)[int(rng.integers(2))]
    parts = [mirrored(combine([
        box([0.0, 0.44 * width, 0.03], [0.56, 0.20, 0.06], _RUBBER),
        box([0.0, 0.44 * width, height / 2], [0.05, 0.05, height], _METAL),
    ]))]  # fmt: skip
    count = max(5, round(width / 0.25))
    step = width / count
    for z in (height - 0.12, height - 0.5)[: int(rng.integers(1, 3))]:
        for i in range(count):
            y = (i + 0.5) * step - width / 2
            parts.append(box([0.0, y, z], [0.035, step, 0.22], Finish(_WHITE if i % 2 else first)))
    if rng.random() < 0.5:
        lamp = Finish((236, 160, 30), Material.LAMP)
        parts += [box([0.0, y, height + 0.07], [0.08, 0.14, 0.14], lamp) for y in (-0.42 * width, 0.42 * width)]
    return combine(parts)


def _fence(rng: np.random.Generator) -> Mesh:
    width, height = float(rng.uniform(2.0, 2.6)), float(rng.uniform(1.0, 1.2))
    parts = [
        *[cylinder([0, -width / 2, z], [0, width / 2, z], 0.02, _METAL, sides=6) for z in (0.22, height)],
        *[cylinder([0, y, 0.05], [0, y, height], 0.02, _METAL, sides=6) for y in (-width / 2, width / 2)],
        *[box([0, y, 0.03], [0.55, 0.06, 0.05], _METAL) for y in (-0.42 * width, 0.42 * width)],
        *[cylinder([0, y, 0.22], [0, y, height], 0.009, _METAL, sides=4) for y in np.linspace(-0.45, 0.45, 14) * width],
    ]
    if rng.random() < 0.35:
        cloth = Finish(((60, 110, 80), (200, 60, 40), (60, 90, 150))[int(rng.integers(3))])
        parts.append(box([0.015, 0.0, 0.62 * height], [0.01, 0.96 * width, 0.55 * height], cloth))
    return combine(parts)


def _plastic(rng: np.random.Generator) -> Mesh:
    width, height = float(rng.uniform(1.0, 2.1)), float(rng.uniform(0.7, 1.0))
    color: Color = (_RED, _WHITE, _ORANGE, (220, 190, 50))[int(rng.integers(4))]
    half = [[0.25, 0.0], [0.25, 0.25 * height], [0.14, 0.5 * height], [0.11, height]]
    profile = [*half, *[[-x, z] for x, z in reversed(half)]]
    slots = [box([0.0, y, 0.68 * height], [0.32, 0.14 * width, 0.12], _RUBBER) for y in (-0.22 * width, 0.22 * width)]
    return combine([extruded(profile, width, Finish(color)), *slots])


def _trestle(rng: np.random.Generator) -> Mesh:
    """Return a striped bar on two pairs of crossed legs."""
    width, height = float(rng.uniform(1.6, 2.6)), float(rng.uniform(0.85, 1.05))
    parts = [
        cylinder([x, y, 0.0], [-0.2 * x, y, height], 0.022, _METAL, sides=6)
        for y in (-0.4 * width, 0.4 * width)
        for x in (-0.32, 0.32)
    ]
    count = max(6, round(width / 0.22))
    step = width / count
    for i in range(count):
        y = (i + 0.5) * step - width / 2
        parts.append(box([0.0, y, height - 0.1], [0.04, step, 0.24], Finish(_WHITE if i % 2 else _ORANGE)))
    return combine(parts)
