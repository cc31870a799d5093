"""Parametric buses: city bus, coach, minibus, double-decker and articulated bus.

Object frame: origin on the ground below the middle, +x forward, +y left, metres.
"""

from __future__ import annotations

from dataclasses import dataclass

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
from lift3d_ros.simulation.meshes import Color, Finish, Material, Mesh, box, combine, loft, mirrored, placed, smoothed


@dataclass(frozen=True)
class BusShape:
    """Proportions of a bus, metres.

    Args:
        windows: lower and upper edge of each row of windows, one or two rows.
        pitch: between two pillars.
        joint: length of the rear part behind the bellows; 0 for a bus in one piece.
    """

    length: float
    width: float = 2.50
    height: float = 3.08
    wheel_radius: float = 0.48
    windows: tuple[tuple[float, float], ...] = ((1.26, 2.42),)
    pitch: float = 1.42
    joint: float = 0.0


def random_bus_shape(rng: np.random.Generator) -> BusShape:
    """Return a shape of one of the kinds of buses."""
    kind, u = int(rng.choice(5, p=[0.46, 0.16, 0.14, 0.12, 0.12])), rng.uniform
    if kind == 0:
        return BusShape(float(u(10.4, 12.4)), height=float(u(2.9, 3.2)), pitch=float(u(1.2, 1.9)))
    if kind == 1:  # coach: high floor
        low = float(u(1.55, 1.8))
        return BusShape(
            float(u(11.0, 13.2)), height=float(u(3.4, 3.8)), windows=((low, low + 1.15),), pitch=float(u(1.6, 2.2))
        )
    if kind == 2:
        return BusShape(
            float(u(6.2, 8.2)), float(u(2.05, 2.3)), float(u(2.55, 2.9)), 0.40, ((1.15, 2.1),), float(u(1.1, 1.5))
        )
    if kind == 3:
        return BusShape(float(u(9.8, 11.4)), height=float(u(4.1, 4.4)), windows=((1.15, 2.0), (2.6, 3.55)))
    return BusShape(float(u(16.8, 18.4)), height=float(u(2.95, 3.2)), joint=float(u(6.2, 7.0)))


def bus(shape: BusShape, paint: Color, second: Color) -> Mesh:
    """Return a bus; `second` is the colour of its skirt."""
    if not shape.joint:
        return _body(shape, shape.length, paint, second, has_front=True, has_back=True)
    gap = 1.1
    first = shape.length - shape.joint - gap
    bellows = _bellows(shape, gap)
    return combine(
        [
            placed(
                _body(shape, first, paint, second, has_front=True, has_back=False), [(shape.length - first) / 2, 0, 0]
            ),
            placed(
                _body(shape, shape.joint, paint, second, has_front=False, has_back=True),
                [(shape.joint - shape.length) / 2, 0, 0],
            ),
            placed(bellows, [shape.joint + gap / 2 - shape.length / 2, 0, 0]),
        ]
    )


def _bellows(shape: BusShape, length: float) -> Mesh:
    cloth, ribs = Finish((52, 54, 58)), Finish((34, 35, 38))
    w, h = 0.94 * shape.width, shape.height - 0.55
    parts = [box([0.0, 0.0, 0.42 + h / 2], [length, w, h], cloth)]
    parts += [box([x, 0.0, 0.42 + h / 2], [0.08, w + 0.08, h + 0.06], ribs) for x in np.linspace(-0.4, 0.4, 5) * length]
    return combine(parts)


def _body(shape: BusShape, length: float, paint: Color, second: Color, *, has_front: bool, has_back: bool) -> Mesh:
    half, w, height, radius = length / 2, shape.width / 2, shape.height, shape.wheel_radius
    body, skirt = Finish(paint, Material.PAINT), Finish(second, Material.PAINT)
    overhang = 2.5 if length > 9 else 0.17 * length + 0.4
    front, rear = (half - overhang,) if has_front else (), (-half + 1.2 * overhang,)
    axles, arch = front + rear, radius + 0.08
    pillars = np.arange(half - 1.3, -half + 0.6, -shape.pitch)
    knots = [-half, -half + 0.08, -half + 0.35, half - 0.35, half - 0.08, half]
    edges = [edge for pillar in pillars for edge in (pillar - 0.05, pillar + 0.05)]
    x = stations([*knots, *edges], axles, arch)
    bottom = underside(x, 0.30, axles, arch)
    end = np.ones(len(x))
    if has_front:
        end = np.where(x > 0, np.interp(x, [half - 0.35, half - 0.08, half], [1.0, 0.955, 0.87]), end)
    if has_back:
        end = np.where(x < 0, np.interp(-x, [half - 0.35, half - 0.08, half], [1.0, 0.955, 0.87]), end)
    heights, is_window = [0.42, shape.windows[0][0] - 0.10], [False, False]
    for low, high in shape.windows:
        heights += [low, high]
        is_window += [False, True]
    heights.append(height - 0.28)
    is_window.append(False)
    levels = [bottom, *[np.maximum(z, bottom) for z in heights]]
    widths = [0.97 * w, *[w] * (len(heights) - 1), 0.955 * w]
    roof = np.interp(np.abs(x), [half - 0.35, half], [height, height - 0.16])
    levels.append(roof - 0.04)
    widths.append(0.86 * w)
    left = [np.stack([x, width * end, z], axis=1) for width, z in zip(widths, levels, strict=True)]
    spine = [np.stack([x, 0.0 * x, z], axis=1) for z in (bottom, roof)]
    right = [points * [1.0, -1.0, 1.0] for points in reversed(left)]
    sections = np.stack([spine[0], *left, spine[1], *right], axis=1)
    middles = (x[1:] + x[:-1]) / 2
    is_pillar = [bool((np.abs(pillars - m) < 0.05).any()) or abs(m) > half - 0.36 for m in middles]
    doors = [half - 0.9, half - 0.45 * length] if has_front else [half - 0.5 * length]
    is_door = [any(abs(m - door) < 0.62 for door in doors) for m in middles]
    # Strips from the middle of the floor up to that of the roof.
    strips = [DARK, skirt, skirt]
    strips += [WINDOW if window else body for window in is_window[2:]]
    strips += [body, body]
    count = len(strips)

    def finish(row: int, column: int) -> Finish:
        is_right = column >= count
        strip = 2 * count - 1 - column if is_right else column
        if is_right and is_door[row] and 2 <= strip <= 4 and not is_pillar[row]:
            return WINDOW
        return body if strips[strip] is WINDOW and is_pillar[row] else strips[strip]

    parts = [smoothed(loft(sections, finish), 40.0)]
    for axle in axles:
        parts += [wheel(axle, side * (w - 0.02), radius, 0.30) for side in (1, -1)]
    parts += _front(shape, half) if has_front else []
    parts += _back(shape, half) if has_back else []
    if len(shape.windows) == 1 and length > 6:
        parts.append(box([-1.0, 0.0, height + 0.02], [2.4, 1.5, 0.16], body, top=(0.9, 0.85)))
    return combine(parts)


def _front(shape: BusShape, half: float) -> list[Mesh]:
    w, height = shape.width / 2, shape.height
    low, high = shape.windows[0]
    sign_z = height - 0.38
    parts = [
        box([half + 0.006, 0.0, (low + high) / 2 - 0.1], [0.012, 1.62 * w, high - low + 0.3], WINDOW, top=(1.0, 0.98)),
        box([half + 0.008, 0.0, sign_z], [0.03, 1.36 * w, 0.26], DARK),
        box([half + 0.012, 0.0, sign_z], [0.03, 0.96 * w, 0.14], INDICATOR),
        box([half + 0.005, 0.0, 0.50], [0.04, 0.52, 0.11], PLATE),
        mirrored(box([half, 0.64 * w, 0.72], [0.05, 0.36, 0.20], HEADLAMP)),
        mirrored(box([half + 0.10, 0.88 * w, high - 0.1], [0.10, 0.14, 0.34], DARK)),
        mirrored(box([half + 0.03, 0.88 * w, high + 0.06], [0.16, 0.04, 0.05], DARK)),
    ]
    if len(shape.windows) > 1:
        low, high = shape.windows[1]
        parts.append(box([half + 0.006, 0.0, (low + high) / 2], [0.012, 1.62 * w, high - low], WINDOW))
    return parts


def _back(shape: BusShape, half: float) -> list[Mesh]:
    w = shape.width / 2
    low, high = shape.windows[-1]
    return [
        box([-half - 0.008, 0.0, (low + high) / 2 + 0.1], [0.02, 1.36 * w, 0.75 * (high - low)], WINDOW),
        box([-half - 0.008, 0.0, 0.85], [0.02, 1.04 * w, 0.5], TRIM),
        mirrored(box([-half, 0.74 * w, 1.1], [0.05, 0.16, 0.5], TAIL_LAMP)),
    ]


def random_bus_paints(rng: np.random.Generator) -> tuple[Color, Color]:
    """Return colours of the body and of the skirt."""
    pairs: tuple[tuple[Color, Color], ...] = (
        ((236, 236, 230), (30, 98, 158)), ((214, 176, 40), (70, 70, 74)), ((178, 34, 36), (230, 230, 226)),
        ((228, 232, 230), (36, 130, 92)), ((226, 226, 222), (90, 94, 100)), ((40, 92, 150), (232, 232, 228)),
        ((238, 190, 40), (30, 30, 34)), ((60, 130, 110), (226, 230, 226)), ((190, 196, 202), (150, 40, 60)),
    )  # fmt: skip
    return pairs[int(rng.integers(len(pairs)))]
