"""Parametric trucks and trailers: a cab or a drawbar, a chassis, and one of many bodies on it.

Object frame: origin on the ground below the middle, +x forward, +y left, metres.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, TypeVar

import numpy as np

from lift3d_ros.simulation.cars import (
    CHASSIS_CAB,
    DARK,
    HEADLAMP,
    INDICATOR,
    PICKUP,
    PLATE,
    TAIL_LAMP,
    TRIM,
    WINDOW,
    car,
    pickup,
    stations,
    underside,
    varied,
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

Body = Literal["box", "curtain", "flat", "tank", "tipper", "refuse", "mixer", "none"]
_Kind = TypeVar("_Kind")
# How often each kind comes; "none" is the tractor of a semi-trailer.
_TRUCKS: Mapping[Body | Literal["pickup", "box van", "light"], float] = {
    "box": 0.16, "curtain": 0.08, "flat": 0.08, "tank": 0.06, "tipper": 0.08, "refuse": 0.08, "mixer": 0.04,
    "none": 0.08, "pickup": 0.12, "box van": 0.14, "light": 0.08,
}  # fmt: skip
_LIGHT_BODIES: Mapping[Body, float] = {"box": 0.45, "curtain": 0.15, "flat": 0.25, "refuse": 0.15}
_BOX_VANS: Mapping[Literal["goods", "people", "flat"], float] = {"goods": 0.4, "people": 0.4, "flat": 0.2}
_TRAILERS: Mapping[Body | Literal["small", "caravan"], float] = {
    "box": 0.19, "curtain": 0.12, "flat": 0.12, "tank": 0.09, "tipper": 0.08, "small": 0.20, "caravan": 0.20,
}  # fmt: skip
STEEL = Finish((70, 73, 77), Material.METAL)
_ALUMINIUM = Finish((176, 180, 184), Material.METAL)
_WOOD = Finish((120, 88, 58))
_LOADS: tuple[Color, ...] = ((120, 82, 50), (150, 140, 120), (92, 96, 100), (70, 100, 130), (150, 60, 50))


def random_truck(rng: np.random.Generator, paint: Color, second: Color) -> Mesh:
    """Return a truck of a random kind; `second` is the colour of its body."""
    kind = _drawn(rng, _TRUCKS)
    if kind == "light":
        small = _drawn(rng, _LIGHT_BODIES)
        return truck(rng, small, paint, second, float(rng.uniform(5.2, 6.8)), 1, is_light=True)
    if kind == "box van":
        return box_van(rng, paint, second)
    if kind == "pickup":
        load = _LOADS[int(rng.integers(len(_LOADS)))] if rng.random() < 0.4 else None
        return pickup(varied(PICKUP, rng), paint, load)
    if kind == "none":
        return truck(rng, kind, paint, second, float(rng.uniform(5.6, 6.8)), 2)
    length = float(rng.uniform(6.0, 9.8) if kind in ("box", "curtain", "flat") else rng.uniform(6.6, 8.8))
    return truck(rng, kind, paint, second, length, 2 if length > 8.2 or kind in ("mixer", "tipper") else 1)


def _drawn(rng: np.random.Generator, shares: Mapping[_Kind, float]) -> _Kind:
    return list(shares)[int(rng.choice(len(shares), p=list(shares.values())))]


def truck(
    rng: np.random.Generator,
    body: Body,
    paint: Color,
    second: Color,
    length: float,
    rear_axles: int,
    *,
    is_light: bool = False,
) -> Mesh:
    """Return a truck with its cab over the front axle; a light one is as wide and high as a van."""
    half, w, radius = length / 2, float(rng.uniform(1.05, 1.22)), float(rng.uniform(0.42, 0.52))
    lacquer = Finish(paint, Material.PAINT)
    is_high = body == "none" or rng.random() < 0.3
    height = 3.15 if is_high else float(rng.uniform(2.5, 2.8))
    if is_light:
        w, radius, height = 0.9 * w, 0.8 * radius, float(rng.uniform(2.0, 2.3))
    parts = [cab(half, w, lacquer, radius, height)]
    parts += [
        box([-0.2, 0.0, 0.78], [length - 0.6, 0.9, 0.24], DARK),
        box([-half + 0.06, 0.0, 0.52], [0.08, 1.9 * w, 0.14], STEEL),
        box([-half + 0.02, 0.0, 0.70], [0.04, 0.5, 0.11], PLATE),
        mirrored(box([-half + 0.02, 0.82 * w, 0.74], [0.05, 0.30, 0.12], TAIL_LAMP)),
    ]
    if body == "none":
        parts.append(box([-half + 1.6, 0.0, 1.02], [1.3, 0.9, 0.16], STEEL))
        parts.append(mirrored(cylinder([half - 2.2, 0.8 * w, 0.6], [half - 3.0, 0.8 * w, 0.6], 0.3, _ALUMINIUM)))
    else:
        parts += load_body(rng, body, (-half + 0.02, half - 2.0), w, 0.92, second)
        parts.append(mirrored(box([-0.4, 0.92 * w, 0.58], [0.28 * length, 0.06, 0.36], STEEL)))
    rear = [-half + 1.55 + 1.32 * i for i in range(rear_axles)]
    for x in (half - 1.05, *rear):
        parts += [wheel(x, side * (w + 0.01), radius, 0.30 if x > 0 else 0.50) for side in (1, -1)]
    return combine(parts)


def box_van(rng: np.random.Generator, paint: Color, second: Color) -> Mesh:
    """Return a truck with the front of a van: a delivery box, a removal van, an ambulance, a motor home, a flat bed."""
    shape = varied(CHASSIS_CAB, rng)
    stretch = float(rng.uniform(-0.7, 0.9))
    shape = replace(shape, length=shape.length + stretch, rear_axle=shape.rear_axle + 0.7 * stretch)
    half, w, floor = shape.length / 2, shape.width / 2, shape.tail_z + 0.03
    back = half - shape.cabin[3] - 0.03
    wide = w + float(rng.uniform(0.0, 0.16))
    kind = _drawn(rng, _BOX_VANS)
    parts = [car(shape, paint), mirrored(box([-half + 0.02, 0.85 * w, floor - 0.2], [0.06, 0.24, 0.12], TAIL_LAMP))]
    if kind == "flat":
        return combine([*parts, *load_body(rng, kind, (-half, back), w, floor, second)])
    lacquer = Finish(paint if rng.random() < 0.5 else second, Material.PAINT)
    top = floor + float(rng.uniform(1.4, 2.3))
    # Some bodies reach forward over the roof of the cab.
    nose = back + (float(rng.uniform(0.5, 1.5)) if top > shape.height + 0.35 and rng.random() < 0.6 else 0.0)
    profile = [
        [-half, floor],
        [-half, top],
        [nose, top],
        [nose, shape.height + 0.03],
        [back, shape.height],
        [back, floor],
    ]
    parts.append(extruded(profile, 2 * wide, lacquer))
    parts.append(box([-half - 0.006, 0.0, (floor + top) / 2], [0.012, 0.03, top - floor - 0.2], DARK))
    length, middle = back + half, (back - half) / 2
    if kind == "people":
        stripe = Finish(_LOADS[int(rng.integers(len(_LOADS)))], Material.PAINT)
        parts += _wall(length, middle, wide, float(rng.uniform(1.1, 1.4)), float(rng.uniform(0.12, 0.4)), stripe)
        for x in middle + length * rng.uniform(-0.35, 0.35, int(rng.integers(1, 4))):
            parts += _wall(float(rng.uniform(0.5, 1.1)), float(x), wide, 1.75, 0.45, WINDOW)
        if rng.random() < 0.4:
            lamp = Finish((40, 70, 190), Material.LAMP) if rng.random() < 0.7 else INDICATOR
            parts.append(box([back + 0.5, 0.0, shape.height + 0.08], [0.3, 1.2, 0.14], lamp))
    elif rng.random() < 0.4:
        mark = Finish(_LOADS[int(rng.integers(len(_LOADS)))], Material.PAINT)
        parts += _wall(0.5 * length, middle, wide, (floor + top) / 2 + 0.1, 0.5, mark)
    return combine(parts)


def _wall(length: float, x: float, w: float, z: float, height: float, finish: Finish) -> list[Mesh]:
    return [mirrored(box([x, w + 0.005, z], [length, 0.02, height], finish))]


def load_body(
    rng: np.random.Generator, body: Body, span: tuple[float, float], w: float, floor: float, color: Color
) -> list[Mesh]:
    """Return what stands on a chassis between two x, above `floor`."""
    low, high = span
    length, middle = high - low, (low + high) / 2
    lacquer = Finish(color, Material.PAINT)
    top = float(rng.uniform(1.9, 2.7))
    z = floor + top / 2
    if body in ("box", "curtain"):
        wide = 2 * w + 0.12
        parts = [
            box([middle, 0.0, z], [length, wide, top], lacquer),
            box([middle, 0.0, floor - 0.04], [length, wide - 0.04, 0.10], STEEL),
            box([low - 0.006, 0.0, z], [0.012, 0.03, top - 0.1], DARK),
        ]
        ribs = [low + 0.05, high - 0.05] if body == "box" else np.arange(low + 0.3, high, 0.9).tolist()
        parts += [mirrored(box([x, wide / 2 + 0.005, z], [0.06, 0.03, top], STEEL)) for x in ribs]
        if rng.random() < 0.35:
            mark = Finish(_LOADS[int(rng.integers(len(_LOADS)))], Material.PAINT)
            parts.append(mirrored(box([middle, wide / 2, z + 0.2], [0.5 * length, 0.02, 0.35 * top], mark)))
        return parts
    if body == "tank":
        radius = min(w, 1.05)
        shell = Finish(color, Material.PAINT) if rng.random() < 0.5 else _ALUMINIUM
        center = floor + radius + 0.1
        tank = cylinder([low + 0.1, 0, center], [high - 0.1, 0, center], radius, shell, sides=16)
        lids = [cylinder([x, 0, center], [x, 0, center + radius + 0.12], 0.24, STEEL, sides=8) for x in
                np.linspace(low + 1.0, high - 1.0, 3)]  # fmt: skip
        rails = mirrored(box([middle, 0.5 * w, floor + 0.02], [length, 0.2, 0.18], STEEL))
        return [tank, *lids, rails]
    if body == "tipper":
        sides = mirrored(box([middle, w - 0.04, floor + 0.55], [length, 0.08, 1.0], lacquer))
        ends = [box([x, 0.0, floor + 0.55], [0.08, 2 * w, 1.0], lacquer) for x in (low + 0.04, high - 0.04)]
        visor = box([high + 0.35, 0.0, floor + 1.08], [0.9, 2 * w, 0.07], lacquer)
        load = Finish(_LOADS[int(rng.integers(3))], Material.PLASTER)
        heap = box([middle, 0.0, floor + 0.6], [length - 0.2, 2 * w - 0.2, 1.0], load, top=(0.45, 0.35))
        places = np.arange(low + 0.4, high, 0.9).tolist()
        uprights = [mirrored(box([x, w + 0.02, floor + 0.5], [0.08, 0.06, 0.9], lacquer)) for x in places]
        return [sides, *ends, visor, heap, *uprights]
    if body == "refuse":
        profile = [
            [low, floor - 0.2],
            [low - 0.0, floor + 1.2],
            [low + 0.7, floor + 2.3],
            [high, floor + 2.3],
            [high, floor],
        ]
        return [
            extruded(profile, 2 * w, lacquer),
            box([low + 0.1, 0.0, floor + 0.4], [0.5, 1.7 * w, 0.9], DARK),
        ]
    if body == "mixer":
        axis = [[low + 0.3, 0.0, floor + 1.75], [middle, 0.0, floor + 1.25], [high - 0.2, 0.0, floor + 1.05]]
        return [
            cylinder(axis[0], axis[1], 0.55, lacquer, tip=1.1, sides=14),
            cylinder(axis[1], axis[2], 1.1, lacquer, tip=0.6, sides=14),
            mirrored(box([low + 0.5, 0.5, floor + 0.8], [0.14, 0.14, 1.6], STEEL)),
            box([low + 0.05, 0.0, floor + 1.1], [0.5, 0.6, 0.9], STEEL, top=(0.6, 1.3)),
        ]
    parts = [
        box([middle, 0.0, floor], [length, 2 * w, 0.14], _WOOD),
        box([high, 0.0, floor + 0.55], [0.08, 2 * w, 1.1], STEEL),
    ]
    choice = int(rng.integers(4))
    if choice == 0:
        logs = [
            (y, 0.25 + 0.42 * row)
            for row, ys in enumerate(((-0.8, -0.4, 0.0, 0.4, 0.8), (-0.6, -0.2, 0.2, 0.6)))
            for y in ys
        ]
        parts += [
            cylinder([low + 0.2, y, floor + z], [high - 0.3, y, floor + z], 0.21, _WOOD, sides=8) for y, z in logs
        ]
    elif choice == 1:
        parts.append(box([middle, 0.0, floor + 1.35], [min(length - 0.4, 6.0), 2 * w - 0.04, 2.5], lacquer))
    elif choice == 2:
        for x in np.arange(low + 0.8, high - 0.6, 1.35):
            load = Finish(_LOADS[int(rng.integers(len(_LOADS)))])
            parts.append(box([x, 0.0, floor + 0.55], [1.1, 1.7 * w, float(rng.uniform(0.5, 1.0))], load))
    return parts


def cab(front: float, w: float, body: Finish, radius: float, height: float) -> Mesh:
    """Return a cab over the axle whose front is at x = `front`."""
    arch, axle = radius + 0.07, front - 1.05
    x = stations([front - 1.85, front - 0.70, front - 0.62, front - 0.16, front - 0.05, front], (axle,), arch)
    bottom = underside(x, 0.42, (axle,), arch)
    end = np.interp(x, [front - 0.30, front - 0.05, front], [1.0, 0.95, 0.88])
    screen = np.interp(x, [front - 0.30, front - 0.16, front], [0.0, 0.02, 0.30])
    belt = 1.45 + 0.3 * (height - 2.7)
    eaves = min(belt + 0.83, height - 0.22)
    levels = [bottom, np.maximum(bottom, 0.55), 0 * x + belt, eaves - screen, height - 0.15 - screen]
    levels.append(height - 0.02 - screen)
    widths = [0.96 * w, w, w, 0.96 * w, 0.92 * w, 0.80 * w]
    left = [np.stack([x, width * end, z], axis=1) for width, z in zip(widths, levels, strict=True)]
    spine = [np.stack([x, 0.0 * x, z], axis=1) for z in (bottom, height - screen)]
    sections = np.stack([spine[0], *left, spine[1], *[p * [1.0, -1.0, 1.0] for p in reversed(left)]], axis=1)
    middles = (x[1:] + x[:-1]) / 2
    has_window = [front - 1.30 < middle < front - 0.14 for middle in middles]

    def finish(row: int, column: int) -> Finish:
        strip = 13 - column if column >= 7 else column
        if strip == 0:
            return DARK
        return WINDOW if strip == 3 and has_window[row] else (TRIM if strip == 1 else body)

    fittings = [
        box(
            [front + 0.006, 0.0, (belt + eaves) / 2 - 0.035],
            [0.02, 1.60 * w, eaves - belt - 0.11],
            WINDOW,
            top=(1.0, 0.97),
        ),
        box([front + 0.006, 0.0, 1.10], [0.02, 1.30 * w, 0.36], DARK),
        box([front - 0.02, 0.0, 0.56], [0.10, 1.72 * w, 0.26], TRIM),
        mirrored(box([front + 0.02, 0.67 * w, 0.80], [0.05, 0.34, 0.18], HEADLAMP)),
        mirrored(box([front - 0.10, w + 0.03, belt + 0.50], [0.10, 0.14, 0.42], DARK)),
        box([front + 0.03, 0.0, 0.62], [0.03, 0.5, 0.11], PLATE),
    ]
    return combine([smoothed(loft(sections, finish), 40.0), *fittings])


def random_trailer(rng: np.random.Generator, paint: Color) -> Mesh:
    """Return a trailer of a random kind."""
    kind = _drawn(rng, _TRAILERS)
    if kind == "small":
        return _small_trailer(rng, paint)
    if kind == "caravan":
        return _caravan(rng, paint)
    length = float(rng.uniform(6.0, 13.4) if kind != "tipper" else rng.uniform(6.0, 9.0))
    half, w, floor = length / 2, float(rng.uniform(1.12, 1.22)), float(rng.uniform(1.05, 1.25))
    parts = load_body(rng, kind, (-half + 0.05, half - 0.05), w, floor, paint)
    parts += [
        box([0.0, 0.0, floor - 0.14], [length - 0.1, 1.6, 0.2], STEEL),
        box([-half + 0.03, 0.0, 0.60], [0.08, 1.9 * w, 0.14], STEEL),
        mirrored(box([0.6, 0.9 * w, 0.62], [0.3 * length, 0.05, 0.10], STEEL)),
        mirrored(box([-half - 0.005, 0.78 * w, floor - 0.1], [0.04, 0.34, 0.13], TAIL_LAMP)),
        mirrored(box([half - 2.0, 0.62 * w, 0.50], [0.14, 0.14, 1.0], STEEL)),
        mirrored(box([half - 2.0, 0.62 * w, 0.03], [0.34, 0.34, 0.06], STEEL)),
    ]
    for i in range(3 if length > 10 else 2):
        parts += [wheel(-half + 1.1 + 1.25 * i, side * (w + 0.01), 0.46, 0.5) for side in (1, -1)]
    return combine(parts)


def _small_trailer(rng: np.random.Generator, paint: Color) -> Mesh:
    is_closed = rng.random() < 0.4
    length, w = (
        float(rng.uniform(2.0, 4.6 if is_closed else 3.4)),
        float(rng.uniform(0.65, 1.05 if is_closed else 0.95)),
    )
    half, lacquer = length / 2, Finish(paint, Material.PAINT)
    height = float(rng.uniform(1.3, 2.0) if is_closed else rng.uniform(0.4, 1.3))
    axles = [-0.3] if length < 3.2 else [-0.65, 0.05]
    parts = [
        box([-0.3, 0.0, 0.55 + height / 2], [length, 2 * w, height], lacquer),
        box([half + 0.25, 0.0, 0.46], [1.1, 0.08, 0.08], STEEL),
        cylinder([half + 0.4, 0, 0.05], [half + 0.4, 0, 0.5], 0.05, STEEL, sides=6),
        mirrored(box([-half - 0.3, 0.8 * w, 0.5], [0.04, 0.22, 0.1], TAIL_LAMP)),
        *[mirrored(box([x, w + 0.12, 0.62], [0.75, 0.22, 0.05], DARK)) for x in axles],
    ]
    if is_closed:
        parts.append(box([-half - 0.306, 0.0, 0.55 + height / 2], [0.012, 0.03, height - 0.1], DARK))
        if rng.random() < 0.5:
            parts += _wall(0.25 * length, 0.15 * length - 0.3, w, 0.3 + height, 0.35, WINDOW)
    parts += [wheel(x, side * (w + 0.2), 0.3, 0.18) for x in axles for side in (1, -1)]
    return combine(parts)


def _caravan(rng: np.random.Generator, paint: Color) -> Mesh:
    length, w, height = float(rng.uniform(3.8, 7.6)), float(rng.uniform(1.0, 1.2)), float(rng.uniform(2.3, 2.75))
    half = length / 2
    shell = Finish((232, 230, 222) if rng.random() < 0.5 else paint, Material.PAINT)
    stripe = Finish(_LOADS[int(rng.integers(len(_LOADS)))], Material.PAINT)
    front, rear = float(rng.uniform(0.15, 0.7)), float(rng.uniform(0.05, 0.6))  # how far the roof ends before the walls
    profile = [
        [-half + 0.08, 0.55],
        [-half, 1.2],
        [-half + 0.3 * rear, 0.5 * (height + 1.3)],
        [-half + rear, height],
        [half - front, height],
        [half - 0.2 * front, 0.5 * (height + 1.3)],
        [half, 1.3],
        [half - 0.1, 0.5],
    ]
    parts = [
        extruded(profile, 2 * w, shell),
        *_wall(length - 0.3, 0.0, w, float(rng.uniform(0.75, 1.15)), float(rng.uniform(0.1, 0.5)), stripe),
        box([0.22 * length, -w - 0.002, 1.35], [0.6, 0.02, 1.6], Finish((210, 208, 200), Material.PAINT)),
        box([half - 0.3 * front - 0.05, 0.0, 1.75], [0.30, 1.4 * w, 0.5], WINDOW, top=(0.4, 1.0)),
        box([half + 0.45, 0.0, 0.5], [1.3, 0.1, 0.1], STEEL),
        cylinder([half + 0.7, 0, 0.05], [half + 0.7, 0, 0.5], 0.05, STEEL, sides=6),
        mirrored(box([-half + 0.02, 0.75 * w, 0.8], [0.14, 0.25, 0.3], TAIL_LAMP)),
    ]
    for x in length * rng.uniform(-0.38, 0.38, int(rng.integers(1, 4))):
        parts += _wall(float(rng.uniform(0.5, 1.3)), float(x), w, float(rng.uniform(1.6, 1.75)), 0.5, WINDOW)
    axles = [-0.1] if length < 5.8 else [-0.5, 0.25]
    parts += [wheel(x, side * (w + 0.01), 0.32, 0.2) for x in axles for side in (1, -1)]
    return placed(combine(parts), [-0.4, 0.0, 0.0])
