"""Parametric construction machines: excavators, wheel loader, roller, crane, dozer, dumper and fork lift.

Object frame: origin on the ground below the middle, +x forward, +y left, metres.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np

from lift3d_ros.simulation.cars import DARK, HEADLAMP, TAIL_LAMP, TYRE, WINDOW
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
    placed,
    point,
)
from lift3d_ros.simulation.trucks import STEEL, cab, load_body
from lift3d_ros.types import Float64Array

_PAINTS: tuple[Color, ...] = (
    (232, 170, 30), (236, 140, 24), (226, 190, 40), (214, 90, 30), (196, 200, 196), (190, 40, 34), (90, 130, 70),
)  # fmt: skip


def random_machine(rng: np.random.Generator) -> Mesh:
    """Return a machine of a random kind and size."""
    makers: tuple[Callable[[np.random.Generator, Finish], Mesh], ...] = (
        _excavator, _wheel_loader, _roller, _crane, _dozer, _dumper, _fork_lift,
    )  # fmt: skip
    maker = makers[int(rng.choice(7, p=[0.30, 0.19, 0.12, 0.11, 0.09, 0.11, 0.08]))]
    paint = Finish(_PAINTS[int(rng.choice(7, p=[0.3, 0.2, 0.2, 0.1, 0.08, 0.06, 0.06]))], Material.PAINT)
    mesh = maker(rng, paint)
    lower, upper = mesh.bounds
    return placed(mesh, [-(lower[0] + upper[0]) / 2, 0.0, 0.0])


def _big_wheel(x: float, y: float, radius: float, width: float, paint: Finish) -> Mesh:
    side = float(np.sign(y))
    outer, inner = point(x, y, radius), point(x, y - side * width, radius)
    hub = point(x, y + side * 0.01, radius)
    return combine(
        [
            cylinder(inner, outer, radius, TYRE, sides=16),
            cylinder(outer - point(0.0, side * 0.05, 0.0), hub, 0.55 * radius, paint, sides=14),
        ]
    )


def _crawler(length: float, gauge: float, height: float, width: float) -> Mesh:
    half = length / 2
    profile = [
        [-half, 0.55 * height], [-0.84 * half, 0.12 * height], [-0.72 * half, 0.0], [0.72 * half, 0.0],
        [0.84 * half, 0.12 * height], [half, 0.55 * height], [0.88 * half, height], [-0.88 * half, height],
    ]  # fmt: skip
    track = placed(extruded(profile, width, DARK), [0.0, gauge, 0.0])
    y = gauge + width / 2
    rollers = [
        cylinder([x, y - 0.1, 0.45 * height], [x, y + 0.02, 0.45 * height], 0.27 * height, STEEL, sides=8)
        for x in np.linspace(-0.72 * half, 0.72 * half, 4)
    ]
    return mirrored(combine([track, *rollers]))


def _limb(points: list[Float64Array], thickness: list[float], width: float, paint: Finish) -> list[Mesh]:
    """Return a boom through points in the plane y = 0, thicker or thinner at each."""
    parts = []
    for (a, b), (first, last) in zip(pairwise(points), pairwise(thickness), strict=True):
        axis = (b - a) / np.linalg.norm(b - a)
        normal = np.array([-axis[2], 0.0, axis[0]])
        outline = [a + normal * first / 2, b + normal * last / 2, b - normal * last / 2, a - normal * first / 2]
        parts.append(extruded([[p[0], p[2]] for p in outline], width, paint))
    return parts


def _excavator(rng: np.random.Generator, paint: Finish) -> Mesh:
    scale, u = float(rng.uniform(0.62, 1.15)), rng.uniform
    lift, reach, fold = float(u(0.5, 1.15)), float(u(2.3, 3.0)), float(u(-2.2, -1.4))
    root = point(0.3, 0.0, 1.35)
    bend = root + 1.3 * point(np.cos(lift + 0.35), 0.0, np.sin(lift + 0.35))
    tip = bend + (reach - 1.0) * point(np.cos(lift - 0.35), 0.0, np.sin(lift - 0.35))
    wrist = tip + 1.7 * point(np.cos(lift + fold), 0.0, np.sin(lift + fold))
    wrist[2] = max(wrist[2], 0.55)
    shape = ((-0.1, 0.25), (0.3, 0.15), (0.4, -0.25), (0.05, -0.5), (-0.45, -0.4), (-0.1, -0.1))
    bucket = extruded([[wrist[0] + dx, wrist[2] + dz] for dx, dz in shape], 0.75, STEEL)
    upper = [
        box([-0.55, 0.0, 1.15], [2.5, 2.0, 0.65], paint, top=(0.96, 0.97)),
        box([-1.3, 0.0, 1.65], [1.0, 1.9, 0.45], paint, top=(0.85, 0.92)),
        box([0.0, 0.58, 2.05], [1.2, 0.8, 1.2], WINDOW, top=(0.80, 0.92)),
        box([-0.03, 0.58, 2.68], [1.1, 0.82, 0.08], paint),
        mirrored(box([-1.82, 0.65, 1.3], [0.03, 0.3, 0.14], TAIL_LAMP)),
        *_limb([root, bend, tip], [0.34, 0.40, 0.26], 0.3, paint),
        *_limb([tip, wrist], [0.30, 0.2], 0.24, paint),
        bucket,
        cylinder(root + point(0.35, 0.0, 0.0), (bend + tip) / 2, 0.07, STEEL, sides=6),
        cylinder(bend + point(0.0, 0.0, 0.25), tip + point(0.0, 0.0, 0.15), 0.06, STEEL, sides=6),
    ]
    turned = placed(combine(upper), [0.0, 0.0, 0.0], float(rng.choice([0.0, 0.0, 0.25, -0.35])))
    if rng.random() < 0.25:
        base = [_big_wheel(x, side * 1.2, 0.48, 0.4, paint) for x in (-1.2, 1.2) for side in (1, -1)]
        base.append(box([0.0, 0.0, 0.65], [3.0, 1.5, 0.4], DARK))
    else:
        base = [_crawler(3.2, 0.95, 0.75, 0.5), box([0.0, 0.0, 0.6], [1.8, 1.5, 0.45], DARK)]
    mesh = combine([*base, turned])
    return replace(mesh, positions=(mesh.positions * scale).astype(np.float32))


def _wheel_loader(rng: np.random.Generator, paint: Finish) -> Mesh:
    scale, raised = float(rng.uniform(0.75, 1.1)), float(rng.uniform(0.0, 1.4))
    tilt = 0.3 + 0.5 * raised
    shoulder, fork = point(0.7, 0.0, 1.6), point(2.4, 0.0, 0.55 + raised)
    arms = [
        placed(mesh, [0.0, y, 0.0]) for y in (-0.5, 0.5) for mesh in _limb([shoulder, fork], [0.34, 0.26], 0.16, paint)
    ]
    x, z, rise = fork[0], fork[2], 0.4 * tilt
    scoop = [[x, z - 0.35], [x + 1.0, z - 0.45 + rise], [x + 0.9, z - 0.3 + rise]]
    scoop += [[x + 0.3, z + 0.1], [x + 0.5, z + 0.6], [x + 0.1, z + 0.5]]
    parts = [
        box([-1.6, 0.0, 1.35], [1.9, 1.5, 0.85], paint, top=(0.92, 0.85)),
        box([-2.45, 0.0, 1.05], [0.35, 1.7, 0.6], DARK),
        box([-0.25, 0.0, 1.15], [0.9, 1.4, 0.5], paint),
        box([-0.25, 0.0, 2.15], [1.15, 1.3, 1.5], WINDOW, top=(0.85, 0.9)),
        box([-0.25, 0.0, 2.95], [1.25, 1.35, 0.10], paint),
        box([0.85, 0.0, 1.05], [1.2, 0.8, 0.8], paint),
        *arms,
        extruded(scoop, 2.5, STEEL if rng.random() < 0.6 else paint),
        mirrored(box([-2.5, 0.6, 1.5], [0.05, 0.2, 0.12], TAIL_LAMP)),
        mirrored(box([0.5, 0.5, 2.7], [0.1, 0.16, 0.12], HEADLAMP)),
    ]
    parts += [_big_wheel(x, side * 1.25, 0.72, 0.55, paint) for x in (-1.5, 1.15) for side in (1, -1)]
    mesh = combine(parts)
    return replace(mesh, positions=(mesh.positions * scale).astype(np.float32))


def _roller(rng: np.random.Generator, paint: Finish) -> Mesh:
    scale, has_two = float(rng.uniform(0.7, 1.15)), bool(rng.random() < 0.5)
    drum = cylinder([1.5, -0.95, 0.65], [1.5, 0.95, 0.65], 0.65, STEEL, sides=20)
    parts = [
        drum,
        mirrored(box([1.35, 1.03, 0.75], [1.7, 0.10, 0.25], paint)),
        box([0.55, 0.0, 0.95], [0.5, 1.9, 0.5], paint),
        box([-0.9, 0.0, 1.15], [2.0, 1.5, 0.75], paint, top=(0.9, 0.9)),
        box([0.0, 0.0, 1.45], [0.6, 0.5, 0.7], DARK),
        box([-0.1, 0.0, 2.5], [1.5, 1.5, 0.08], paint),
        *[cylinder([x, y, 1.2], [x, y, 2.5], 0.04, DARK, sides=6) for x in (-0.7, 0.5) for y in (-0.65, 0.65)],
        mirrored(box([-1.9, 0.5, 1.2], [0.04, 0.2, 0.12], TAIL_LAMP)),
    ]
    if has_two:
        parts.append(cylinder([-1.3, -0.95, 0.65], [-1.3, 0.95, 0.65], 0.65, STEEL, sides=20))
    else:
        parts += [_big_wheel(-1.1, side * 1.0, 0.62, 0.45, paint) for side in (1, -1)]
    mesh = combine(parts)
    return replace(mesh, positions=(mesh.positions * scale).astype(np.float32))


def _crane(rng: np.random.Generator, paint: Finish) -> Mesh:
    length, lift = float(rng.uniform(8.5, 12.0)), float(rng.uniform(0.05, 0.5))
    half = length / 2
    root = point(-half + 2.0, 0.0, 2.3)
    tip = root + (length - 1.5) * point(np.cos(lift), 0.0, np.sin(lift))
    middle = (root + tip) / 2
    parts = [
        cab(half, 1.2, paint, 0.5, 2.6),
        box([-0.6, 0.0, 1.0], [length - 1.8, 2.3, 0.5], paint),
        box([-half + 2.2, 0.0, 1.75], [3.0, 2.2, 1.0], paint, top=(0.9, 0.9)),
        box([-half + 3.2, 0.85, 2.2], [1.2, 0.75, 1.1], WINDOW, top=(0.8, 0.9)),
        *_limb([root, middle], [0.75, 0.7], 0.6, paint),
        *_limb([middle, tip], [0.55, 0.45], 0.45, paint),
        cylinder([tip[0], 0, tip[2]], [tip[0], 0, tip[2] - 1.0], 0.03, DARK, sides=4),
        box([tip[0], 0.0, tip[2] - 1.1], [0.25, 0.25, 0.35], STEEL),
        mirrored(box([-half - 0.02, 0.9, 0.9], [0.06, 0.3, 0.14], TAIL_LAMP)),
    ]
    for x in (half - 1.05, half - 2.7, -half + 2.6, -half + 1.2):
        parts += [_big_wheel(x, side * 1.22, 0.52, 0.4, STEEL) for side in (1, -1)]
    return combine(parts)


def _dozer(rng: np.random.Generator, paint: Finish) -> Mesh:
    scale = float(rng.uniform(0.75, 1.1))
    parts = [
        _crawler(3.3, 0.85, 0.95, 0.55),
        box([0.6, 0.0, 1.15], [1.9, 1.1, 0.9], paint, top=(0.95, 0.85)),
        box([-0.75, 0.0, 1.05], [1.2, 1.5, 0.7], paint),
        box([-0.6, 0.0, 2.0], [1.3, 1.4, 1.3], WINDOW, top=(0.85, 0.9)),
        box([-0.6, 0.0, 2.7], [1.4, 1.5, 0.1], paint),
        mirrored(box([1.3, 1.05, 0.5], [1.9, 0.14, 0.22], paint)),
        extruded([[2.2, 0.05], [2.45, 0.0], [2.3, 0.6], [2.45, 1.2], [2.3, 1.2], [2.12, 0.6]], 3.0, paint),
        cylinder([1.2, 0.3, 1.6], [1.2, 0.3, 2.3], 0.06, DARK, sides=6),
    ]
    mesh = combine(parts)
    return replace(mesh, positions=(mesh.positions * scale).astype(np.float32))


def _dumper(rng: np.random.Generator, paint: Finish) -> Mesh:
    length, w = float(rng.uniform(7.0, 9.0)), 1.3
    half, radius = length / 2, float(rng.uniform(0.55, 0.8))
    color = (int(paint.color[0]), int(paint.color[1]), int(paint.color[2]))
    parts = [
        cab(half, w, paint, radius, 3.0),
        box([-0.3, 0.0, radius + 0.35], [length - 1.0, 1.0, 0.3], DARK),
        *load_body(rng, "tipper", (-half + 0.05, half - 2.1), w, radius + 0.6, color),
    ]
    for x in (half - 1.05, -half + 2.6, -half + 1.1):
        parts += [_big_wheel(x, side * (w + 0.1), radius, 0.5, paint) for side in (1, -1)]
    return combine(parts)


def _fork_lift(rng: np.random.Generator, paint: Finish) -> Mesh:
    scale, raised = float(rng.uniform(0.9, 1.3)), float(rng.uniform(0.1, 1.2))
    parts = [
        box([-0.35, 0.0, 0.75], [1.7, 1.15, 0.75], paint, top=(0.92, 0.9)),
        box([-0.35, 0.0, 1.25], [0.55, 0.6, 0.5], DARK),
        box([-0.15, 0.0, 2.12], [1.2, 1.05, 0.06], DARK),
        *[cylinder([x, y, 1.0], [x, y, 2.1], 0.035, DARK, sides=6) for x in (-0.7, 0.4) for y in (-0.48, 0.48)],
        mirrored(box([0.62, 0.3, 1.15], [0.12, 0.10, 2.2], STEEL)),
        mirrored(box([1.15, 0.25, raised], [1.0, 0.12, 0.05], STEEL)),
        box([0.7, 0.0, raised + 0.3], [0.05, 0.9, 0.6], STEEL),
    ]
    if rng.random() < 0.5:
        parts.append(box([1.2, 0.0, raised + 0.45], [0.9, 1.0, 0.8], Finish((150, 112, 70))))
    parts += [_big_wheel(x, side * 0.6, 0.32, 0.25, paint) for x in (-0.85, 0.35) for side in (1, -1)]
    mesh = combine(parts)
    return replace(mesh, positions=(mesh.positions * scale).astype(np.float32))
