"""Parametric bodies of the heavy vehicles: bus, box truck, semi-trailer and excavator.

Object frame: origin on the ground below the middle, +x forward, +y left, metres.
"""

from __future__ import annotations

import numpy as np

from lift3d_ros.simulation.cars import (
    DARK,
    HEADLAMP,
    INDICATOR,
    PLATE,
    TAIL_LAMP,
    TRIM,
    WINDOW,
    stations,
    underside,
    wheel,
)
from lift3d_ros.simulation.meshes import (
    Color,
    Finish,
    Material,
    Mesh,
    box,
    combine,
    cylinder,
    extruded,
    loft,
    mirrored,
    placed,
    smoothed,
)

_STEEL = Finish((70, 73, 77), Material.METAL)
_WHEEL = 0.48


def bus(paint: Color, second: Color, length: float = 11.6) -> Mesh:
    """Return a city bus; `second` is the colour of its skirt and back."""
    half, w, height = length / 2, 1.25, 3.08
    body, skirt = Finish(paint, Material.PAINT), Finish(second, Material.PAINT)
    axles, arch = (half - 2.5, -half + 3.1), _WHEEL + 0.08
    pillars = np.arange(half - 1.3, -half + 0.6, -1.42)
    knots = [-half, -half + 0.08, -half + 0.35, half - 0.35, half - 0.08, half]
    edges = [edge for pillar in pillars for edge in (pillar - 0.05, pillar + 0.05)]
    x = stations([*knots, *edges], axles, arch)
    bottom = underside(x, 0.30, axles, arch)
    end = np.interp(np.abs(x), [half - 0.35, half - 0.08, half], [1.0, 0.955, 0.87])
    levels = [bottom, np.maximum(0.42, bottom), 0.0 * x + 1.16, 0.0 * x + 1.26, 0.0 * x + 2.42, 0.0 * x + 2.80]
    widths = [0.97 * w, w, w, w, 0.985 * w, 0.955 * w]
    roof = np.interp(np.abs(x), [half - 0.35, half], [height, height - 0.16])
    levels.append(roof - 0.04)
    widths.append(0.86 * w)
    left = [np.stack([x, width * end, z], axis=1) for width, z in zip(widths, levels, strict=True)]
    spine = [np.stack([x, 0.0 * x, z], axis=1) for z in (bottom, roof)]
    right = [points * [1.0, -1.0, 1.0] for points in reversed(left)]
    sections = np.stack([spine[0], *left, spine[1], *right], axis=1)
    middles = (x[1:] + x[:-1]) / 2
    is_pillar = [bool((np.abs(pillars - middle) < 0.05).any()) or abs(middle) > half - 0.36 for middle in middles]
    is_door = [abs(middle - (half - 0.9)) < 0.5 or abs(middle - (half - 5.2)) < 0.66 for middle in middles]
    strips = (DARK, skirt, skirt, body, WINDOW, body, body, body)

    def finish(row: int, column: int) -> Finish:
        is_right = column >= 8
        strip = 15 - column if is_right else column
        if is_right and is_door[row] and 2 <= strip <= 4 and not is_pillar[row]:
            return WINDOW
        return body if strip == 4 and is_pillar[row] else strips[strip]

    parts = [smoothed(loft(sections, finish), 40.0)]
    for axle in axles:
        parts += [wheel(axle, side * (w - 0.02), _WHEEL, 0.30) for side in (1, -1)]
    parts += [
        box([half + 0.006, 0.0, 1.75], [0.012, 2.04, 1.50], WINDOW, top=(1.0, 0.98)),
        box([half + 0.008, 0.0, 2.70], [0.03, 1.7, 0.26], DARK),
        box([half + 0.012, 0.0, 2.70], [0.03, 1.2, 0.14], INDICATOR),
        box([half + 0.005, 0.0, 0.50], [0.04, 0.52, 0.11], PLATE),
        box([-half - 0.008, 0.0, 2.05], [0.02, 1.7, 0.85], WINDOW),
        box([-half - 0.008, 0.0, 0.85], [0.02, 1.3, 0.5], TRIM),
        mirrored(
            combine(
                [
                    box([half, 0.80, 0.72], [0.05, 0.36, 0.20], HEADLAMP),
                    box([-half, 0.92, 1.1], [0.05, 0.16, 0.5], TAIL_LAMP),
                    box([half + 0.10, 1.10, 2.35], [0.10, 0.14, 0.34], DARK),
                    box([half + 0.03, 1.10, 2.50], [0.16, 0.04, 0.05], DARK),
                ]
            )
        ),
        box([-1.0, 0.0, height + 0.02], [2.4, 1.5, 0.16], body, top=(0.9, 0.85)),
    ]  # fmt: skip
    return combine(parts)


def truck(paint: Color, load: Color, length: float = 7.4) -> Mesh:
    """Return a box truck with a cab over its front axle; `load` is the colour of the box."""
    half, w = length / 2, 1.16
    body, cargo = Finish(paint, Material.PAINT), Finish(load, Material.PAINT)
    parts = [
        _cab(half, w, body),
        box([-0.2, 0.0, 0.72], [length - 0.6, 0.9, 0.22], DARK),
        box([-1.0, 0.0, 2.02], [length - 2.0, 2.44, 2.28], cargo),
        box([-1.0, 0.0, 0.86], [length - 2.0, 2.40, 0.09], _STEEL),
        box([-half + 0.06, 0.0, 0.52], [0.08, 2.2, 0.14], _STEEL),
        box([-half - 0.006, 0.0, 2.02], [0.012, 0.03, 2.2], DARK),
        box([-half + 0.02, 0.0, 0.70], [0.04, 0.5, 0.11], PLATE),
        mirrored(box([-0.5, 1.06, 0.56], [2.0, 0.06, 0.36], _STEEL)),
        mirrored(box([-half + 0.02, 0.95, 0.70], [0.05, 0.30, 0.12], TAIL_LAMP)),
    ]
    edges = (-half + 0.02, half - 2.02)
    parts += [mirrored(box([edge, 1.215, 2.02], [0.07, 0.04, 2.28], _STEEL)) for edge in edges]
    for x in (half - 1.05, -half + 1.6):
        parts += [wheel(x, side * (w + 0.01), _WHEEL, 0.30 if x > 0 else 0.52) for side in (1, -1)]
    return combine(parts)


def _cab(front: float, w: float, body: Finish) -> Mesh:
    arch, axle = _WHEEL + 0.07, front - 1.05
    x = stations([front - 1.85, front - 0.70, front - 0.62, front - 0.16, front - 0.05, front], (axle,), arch)
    bottom = underside(x, 0.42, (axle,), arch)
    end = np.interp(x, [front - 0.30, front - 0.05, front], [1.0, 0.95, 0.88])
    screen = np.interp(x, [front - 0.30, front - 0.16, front], [0.0, 0.02, 0.30])
    levels = [bottom, np.maximum(bottom, 0.55), 0 * x + 1.45, 2.28 - screen, 2.55 - screen, 2.68 - screen]
    widths = [0.96 * w, w, w, 0.96 * w, 0.92 * w, 0.80 * w]
    left = [np.stack([x, width * end, z], axis=1) for width, z in zip(widths, levels, strict=True)]
    spine = [np.stack([x, 0.0 * x, z], axis=1) for z in (bottom, 2.70 - screen)]
    sections = np.stack([spine[0], *left, spine[1], *[p * [1.0, -1.0, 1.0] for p in reversed(left)]], axis=1)
    middles = (x[1:] + x[:-1]) / 2
    has_window = [front - 1.30 < middle < front - 0.14 for middle in middles]

    def finish(row: int, column: int) -> Finish:
        strip = 13 - column if column >= 7 else column
        if strip == 0:
            return DARK
        return WINDOW if strip == 3 and has_window[row] else (TRIM if strip == 1 else body)

    fittings = [
        box([front + 0.006, 0.0, 1.83], [0.02, 1.86, 0.72], WINDOW, top=(1.0, 0.97)),
        box([front + 0.006, 0.0, 1.10], [0.02, 1.5, 0.36], DARK),
        box([front - 0.02, 0.0, 0.56], [0.10, 2.0, 0.26], TRIM),
        mirrored(box([front + 0.02, 0.78, 0.80], [0.05, 0.34, 0.18], HEADLAMP)),
        mirrored(box([front - 0.10, w + 0.03, 1.95], [0.10, 0.14, 0.42], DARK)),
        box([front + 0.03, 0.0, 0.62], [0.03, 0.5, 0.11], PLATE),
    ]
    return combine([smoothed(loft(sections, finish), 40.0), *fittings])


def trailer(paint: Color, length: float = 10.2) -> Mesh:
    """Return a parked box semi-trailer that stands on its landing gear."""
    half, body = length / 2, Finish(paint, Material.PAINT)
    parts = [
        box([0.0, 0.0, 2.42], [length, 2.48, 2.56], body),
        box([0.0, 0.0, 1.06], [length - 0.1, 2.30, 0.16], _STEEL),
        box([-half + 0.03, 0.0, 0.60], [0.08, 2.3, 0.14], _STEEL),
        mirrored(box([0.6, 1.10, 0.62], [3.2, 0.05, 0.10], _STEEL)),
        mirrored(box([-half - 0.005, 0.95, 0.98], [0.04, 0.34, 0.13], TAIL_LAMP)),
        mirrored(box([half - 2.3, 0.75, 0.50], [0.14, 0.14, 1.0], _STEEL)),
        mirrored(box([half - 2.3, 0.75, 0.03], [0.34, 0.34, 0.06], _STEEL)),
        box([-half - 0.006, 0.0, 2.42], [0.012, 0.03, 2.5], DARK),
        mirrored(box([-half - 0.010, 0.5, 2.42], [0.02, 0.04, 2.5], _STEEL)),
    ]
    for x in (-half + 1.1, -half + 2.35):
        parts += [wheel(x, side * 1.22, _WHEEL, 0.52) for side in (1, -1)]
    ribs = np.linspace(-half + 0.1, half - 0.1, 7)
    parts += [mirrored(box([x, 1.245, 2.42], [0.05, 0.02, 2.5], _STEEL)) for x in ribs]
    return combine(parts)


def excavator(paint: Color) -> Mesh:
    """Return a small excavator on tracks with its bucket near the ground ahead."""
    body = Finish(paint, Material.PAINT)
    track_profile = [[-1.25, 0.35], [-1.05, 0.08], [-0.9, 0.0], [0.9, 0.0], [1.05, 0.08], [1.25, 0.35], [1.1, 0.62]]
    track = placed(extruded([*track_profile, [-1.1, 0.62]], 0.42, DARK), [-0.6, 0.84, 0.0])
    rollers = [cylinder([x - 0.6, 0.84, 0.3], [x - 0.6, 1.07, 0.3], 0.17, _STEEL) for x in np.linspace(-0.9, 0.9, 4)]
    boom = extruded(
        [[0.1, 1.3], [0.9, 2.75], [1.5, 3.0], [2.2, 2.55], [2.15, 2.3], [1.5, 2.65], [1.15, 2.45], [0.5, 1.2]],
        0.26,
        body,
    )
    arm = extruded([[2.0, 2.75], [2.35, 2.75], [2.75, 1.15], [2.55, 1.05]], 0.20, body)
    bucket = extruded(
        [[2.45, 1.20], [2.80, 1.10], [2.95, 0.55], [2.55, 0.28], [2.20, 0.42], [2.55, 0.70]], 0.62, _STEEL
    )
    parts = [
        mirrored(combine([track, *rollers])),
        box([-0.6, 0.0, 0.55], [1.6, 1.3, 0.4], DARK),
        box([-0.85, 0.0, 1.10], [2.3, 1.9, 0.7], body, top=(0.96, 0.97)),
        box([-1.45, 0.0, 1.62], [1.0, 1.8, 0.36], body, top=(0.85, 0.92)),
        box([-0.25, 0.55, 2.00], [1.15, 0.78, 1.15], WINDOW, top=(0.80, 0.92)),
        box([-0.28, 0.55, 2.60], [1.05, 0.80, 0.08], body),
        mirrored(box([-2.01, 0.6, 1.2], [0.03, 0.3, 0.14], TAIL_LAMP)),
        boom,
        arm,
        bucket,
        cylinder([0.6, 0.0, 1.35], [1.3, 0.0, 2.35], 0.07, _STEEL),
        cylinder([1.6, 0.0, 3.0], [2.15, 0.0, 2.85], 0.06, _STEEL),
    ]  # fmt: skip
    return placed(combine(parts), [-0.45, 0.0, 0.0])
