"""Parametric bodies of cars: sedan, hatchback, off-roader and van, from a side profile and a plan.

Object frame: origin on the ground below the middle, +x forward, +y left, metres.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lift3d_ros.simulation.meshes import (
    Color,
    Finish,
    Material,
    Mesh,
    box,
    combine,
    cylinder,
    fan,
    loft,
    mirrored,
    point,
    smoothed,
)
from lift3d_ros.types import Float64Array

TYRE = Finish((24, 24, 26))
RIM = Finish((168, 172, 176), Material.METAL)
DARK = Finish((20, 21, 23))
TRIM = Finish((38, 40, 43), Material.PAINT)
WINDOW = Finish((26, 33, 38), Material.GLASS)
HEADLAMP = Finish((236, 240, 244), Material.LAMP)
TAIL_LAMP = Finish((176, 16, 14), Material.LAMP)
INDICATOR = Finish((232, 130, 24), Material.LAMP)
PLATE = Finish((226, 228, 224))


@dataclass(frozen=True)
class CarShape:
    """Proportions of a car, metres; positions along the car are measured from its nose.

    Args:
        cabin: foot of the windscreen, front and rear end of the roof, foot of the rear window.
        has_rear_windows: False for a panel van, whose sides are closed behind the front doors.
    """

    length: float
    width: float
    height: float
    front_axle: float
    rear_axle: float
    wheel_radius: float
    nose_z: float
    belt_z: float
    tail_z: float
    cabin: tuple[float, float, float, float]
    has_rear_windows: bool = True


SEDAN = CarShape(4.75, 1.84, 1.44, 0.92, 3.72, 0.33, 0.70, 0.94, 0.99, (1.30, 2.05, 3.20, 4.12))
HATCHBACK = CarShape(4.10, 1.78, 1.48, 0.82, 3.40, 0.31, 0.72, 0.95, 0.97, (1.02, 1.72, 3.30, 4.00))
OFF_ROADER = CarShape(4.65, 1.90, 1.72, 0.88, 3.68, 0.37, 0.88, 1.10, 1.12, (1.20, 1.84, 3.95, 4.55))
VAN = CarShape(5.20, 1.98, 2.08, 0.95, 4.05, 0.35, 0.96, 1.18, 1.20, (0.62, 1.42, 4.98, 5.16), has_rear_windows=False)
ESTATE = CarShape(4.80, 1.83, 1.48, 0.92, 3.72, 0.33, 0.72, 0.95, 1.00, (1.30, 2.02, 4.25, 4.68))
COUPE = CarShape(4.45, 1.86, 1.32, 0.90, 3.50, 0.33, 0.64, 0.88, 0.92, (1.42, 2.15, 2.95, 4.05))
CITY_CAR = CarShape(3.60, 1.65, 1.52, 0.66, 3.02, 0.29, 0.76, 0.96, 0.98, (0.72, 1.42, 3.05, 3.52))
MINIVAN = CarShape(4.75, 1.86, 1.75, 0.88, 3.72, 0.34, 0.84, 1.06, 1.08, (0.86, 1.78, 4.20, 4.66))
PICKUP = CarShape(5.35, 1.92, 1.82, 0.98, 4.20, 0.39, 0.98, 1.12, 1.12, (1.45, 2.05, 3.35, 3.48))
CHASSIS_CAB = CarShape(
    6.00, 2.02, 2.20, 0.98, 4.55, 0.36, 1.00, 1.22, 0.72, (0.62, 1.42, 2.28, 2.38), has_rear_windows=False
)
CAR_SHAPES = (SEDAN, HATCHBACK, OFF_ROADER, VAN, ESTATE, COUPE, CITY_CAR, MINIVAN)
_CAR_SHARES = (0.20, 0.17, 0.20, 0.09, 0.10, 0.06, 0.09, 0.09)


def random_car_shape(rng: np.random.Generator) -> CarShape:
    """Return the proportions of a car between and around the known shapes."""
    first = CAR_SHAPES[int(rng.choice(len(CAR_SHAPES), p=_CAR_SHARES))]
    return varied(first, rng)


def varied(shape: CarShape, rng: np.random.Generator) -> CarShape:
    """Return a shape with its proportions changed by some percent."""
    along, low = float(rng.uniform(0.95, 1.06)), float(rng.uniform(0.95, 1.05))
    screen, roof, rear = (float(rng.normal(0.0, spread)) for spread in (0.06, 0.07, 0.10))
    cabin = [distance * along for distance in shape.cabin]
    cabin = [cabin[0] + screen, cabin[1] + screen + roof, cabin[2] + rear, cabin[3] + 0.4 * rear]
    cabin[3] = min(max(cabin[3], cabin[2] + 0.10), shape.length * along - 0.04)
    return replace(
        shape,
        length=shape.length * along,
        width=shape.width * float(rng.uniform(0.97, 1.04)),
        height=shape.height * float(rng.uniform(0.97, 1.04)),
        front_axle=shape.front_axle * along,
        rear_axle=shape.rear_axle * along,
        wheel_radius=shape.wheel_radius * float(rng.uniform(0.95, 1.08)),
        nose_z=shape.nose_z * low,
        belt_z=shape.belt_z * low,
        tail_z=shape.tail_z * low,
        cabin=(cabin[0], cabin[1], cabin[2], cabin[3]),
    )


def wheel(x: float, y: float, radius: float, width: float) -> Mesh:
    """Return a wheel that stands on the ground; `y` is its outer side, whose sign tells the side of the vehicle."""
    side = float(np.sign(y))
    hub = np.array([x, 0.0, radius])
    at = [hub + point(0.0, y - side * depth, 0.0) for depth in (width, 0.0, 0.03, -0.006, -0.012)]
    parts = [
        cylinder(at[0], at[1], radius, TYRE, sides=18),
        cylinder(at[2], at[3], 0.66 * radius, RIM, tip=0.62 * radius, sides=18),
        cylinder(at[2], at[4], 0.20 * radius, TRIM, sides=8),
    ]
    for turn in np.linspace(0.0, 2 * np.pi, 5, endpoint=False):
        direction = np.array([np.cos(turn), 0.0, np.sin(turn)])
        parts.append(
            cylinder(at[4] + 0.30 * radius * direction, at[4] + 0.52 * radius * direction, 0.09 * radius, DARK, sides=5)
        )
    return combine(parts)


def underside(x: Float64Array, sill_z: float, axles: tuple[float, ...], radius: float) -> Float64Array:
    """Return the height of the lower edge of a body at `x`, with an arch of `radius` over each axle at x."""
    edge = np.full(x.shape, sill_z)
    for axle in axles:
        offset = np.abs(x - axle)
        arch = radius - 0.05 + np.sqrt(np.maximum(radius**2 - offset**2, 0.0))
        edge = np.where(offset < radius, np.maximum(edge, arch), edge)
    return edge


def stations(knots: list[float], axles: tuple[float, ...], radius: float) -> Float64Array:
    """Return sorted positions along a body at which its section is given: the knots and the wheel arches."""
    arch = radius * np.cos(np.linspace(0.0, np.pi, 11))
    edges = np.array([-radius - 0.004, radius + 0.004])
    inside = [axle + np.concatenate([edges, arch * 0.998]) for axle in axles]
    return np.asarray(np.unique(np.round(np.concatenate([np.array(knots), *inside]), 4)))


@dataclass(frozen=True)
class CarExtras:
    """What some cars have: a roof in another colour, rails, a taxi sign or a box on the roof, a spare wheel."""

    roof: Color | None = None
    has_rails: bool = False
    has_sign: bool = False
    has_box: bool = False
    has_spare: bool = False


def random_extras(rng: np.random.Generator) -> CarExtras:
    """Return extras; most cars have none."""
    return CarExtras(
        roof=(22, 23, 25) if rng.random() < 0.12 else None,
        has_rails=bool(rng.random() < 0.25),
        has_sign=bool(rng.random() < 0.08),
        has_box=bool(rng.random() < 0.06),
        has_spare=bool(rng.random() < 0.05),
    )


def car(shape: CarShape, paint: Color, extras: CarExtras | None = None) -> Mesh:
    """Return a whole car in the given paint."""
    half = shape.length / 2
    at = [half - distance for distance in shape.cabin]
    axles = (half - shape.front_axle, half - shape.rear_axle)
    body = Finish(paint, Material.PAINT)
    parts = [_lower_body(shape, body, at, axles), _cabin(shape, body, at)]
    for x in axles:
        parts += [wheel(x, side * (shape.width / 2 - 0.02), shape.wheel_radius, 0.23) for side in (1, -1)]
    parts.append(_fittings(shape, body, at))
    if extras is not None:
        parts += _roof_parts(shape, at, extras)
    return combine(parts)


def pickup(shape: CarShape, paint: Color, load: Color | None) -> Mesh:
    """Return a pick-up with an open bed behind its cabin, `load` is the colour of what lies in it."""
    half, w = shape.length / 2, shape.width / 2
    front = half - shape.cabin[3] - 0.10
    length, z = front + half - 0.06, shape.tail_z
    middle, body = (front - half + 0.06) / 2, Finish(paint, Material.PAINT)
    parts = [
        car(shape, paint),
        box([middle, 0.0, z + 0.035], [length - 0.12, 1.56 * w, 0.03], DARK),
        mirrored(box([middle, 0.84 * w, z + 0.09], [length, 0.14, 0.24], body, top=(1.0, 0.6))),
        box([-half + 0.08, 0.0, z + 0.09], [0.10, 1.60 * w, 0.24], body),
        box([front - 0.03, 0.0, z + 0.09], [0.06, 1.60 * w, 0.24], body),
    ]
    if load is not None:
        parts.append(box([middle, 0.0, z + 0.22], [0.7 * length, 1.3 * w, 0.42], Finish(load), top=(0.9, 0.85)))
    return combine(parts)


def _roof_parts(shape: CarShape, at: list[float], extras: CarExtras) -> list[Mesh]:
    length, middle, z = at[1] - at[2], (at[1] + at[2]) / 2, shape.height
    w, parts = shape.width / 2, []
    if extras.roof is not None:
        roof = Finish(extras.roof, Material.PAINT)
        parts.append(box([middle, 0.0, z + 0.012], [0.94 * length, 1.30 * w, 0.02], roof, top=(0.97, 0.95)))
    if extras.has_rails:
        parts.append(mirrored(box([middle, 0.62 * w, z + 0.03], [0.8 * length, 0.04, 0.06], RIM)))
    if extras.has_sign:
        lit = Finish((238, 214, 90), Material.LAMP)
        parts.append(box([middle + 0.3 * length, 0.0, z + 0.08], [0.14, 0.42, 0.14], lit, top=(0.6, 0.8)))
    elif extras.has_box:
        parts.append(box([middle, 0.0, z + 0.20], [0.85 * length, 0.75, 0.34], TRIM, top=(0.9, 0.8)))
    if extras.has_spare:
        end = -shape.length / 2
        parts.append(cylinder([end - 0.16, 0, shape.tail_z - 0.1], [end, 0, shape.tail_z - 0.1], 0.33, TYRE, sides=14))
    return parts


def _top_z(shape: CarShape, at: list[float], x: Float64Array) -> Float64Array:
    half = shape.length / 2
    knots_x = [-half, -half + 0.07, at[3], at[0], half - 0.14, half - 0.03, half]
    knots_z = [shape.tail_z - 0.16, shape.tail_z - 0.02, shape.tail_z, shape.belt_z, shape.nose_z + 0.03]
    return np.asarray(np.interp(x, knots_x, [*knots_z, shape.nose_z - 0.06, shape.nose_z - 0.16]))


def _half_width(shape: CarShape, x: Float64Array) -> Float64Array:
    half = shape.length / 2
    knots = [-half, -half + 0.05, -half + 0.22, -half + 0.7, half - 0.9, half - 0.35, half - 0.10, half]
    widths = np.interp(x, knots, [0.82, 0.90, 0.96, 1.0, 1.0, 0.955, 0.87, 0.74])
    return np.asarray(widths * shape.width / 2)


def _lower_body(shape: CarShape, paint: Finish, at: list[float], axles: tuple[float, ...]) -> Mesh:
    half, arch = shape.length / 2, shape.wheel_radius + 0.05
    knots = [-half, -half + 0.05, -half + 0.12, -half + 0.22, -half + 0.7, at[3], at[0], 0.0]
    x = stations([*knots, half - 0.9, half - 0.35, half - 0.2, half - 0.10, half - 0.03, half], axles, arch)
    bottom, top, w = underside(x, 0.20, axles, arch), _top_z(shape, at, x), _half_width(shape, x)
    bottom = np.where(np.abs(x) > half - 0.06, bottom + 0.10, bottom)
    levels = [bottom + f * (top - bottom) for f in (0.0, 0.10, 0.30, 0.62, 0.86, 0.97)]
    widths = [0.93 * w, 0.975 * w, 0.992 * w, w, 0.972 * w, 0.90 * w]
    left = [np.stack([x, y, z], axis=1) for y, z in zip(widths, levels, strict=True)]
    middle_top = np.stack([x, 0.0 * x, top + 0.025], axis=1)
    middle_bottom = np.stack([x, 0.0 * x, bottom], axis=1)
    flip = np.array([1.0, -1.0, 1.0])
    right = [points * flip for points in reversed(left)]
    sections = np.stack([middle_bottom, *left, middle_top, *right], axis=1)
    strips = (DARK, TRIM, paint, paint, paint, paint, paint, paint, paint, paint, paint, paint, TRIM, DARK)
    strip_at = [0, 1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1, 0]
    skin = loft(sections, lambda _row, column: strips[strip_at[column]], has_caps=False)
    ends = [fan(section, paint) for section in (sections[0], sections[-1])]
    return smoothed(combine([skin, *ends]), 38.0)


def _cabin(shape: CarShape, paint: Finish, at: list[float]) -> Mesh:
    screen, roof_front, roof_rear, window = at
    pillar = roof_front - 0.46 * (roof_front - roof_rear) if shape.has_rear_windows else roof_front - 0.85
    rear_pillar = roof_rear + 0.10 * (roof_front - roof_rear)
    x = np.array([window, roof_rear, rear_pillar, pillar - 0.05, pillar + 0.05, roof_front, screen])
    rise = np.array([0.0, 0.97, 0.985, 1.0, 1.0, 0.985, 0.0])
    base = _top_z(shape, at, x) - 0.03
    foot, roof = 0.90 * shape.width / 2, (0.71 if shape.height < 1.9 else 0.82) * shape.width / 2
    top = base + rise * (shape.height - 0.03 - base)
    ends = np.array([0.72, 1.0, 1.0, 1.0, 1.0, 1.0, 0.86])
    shoulder_y = np.where(rise > 0, roof + 0.05, foot * ends)
    shoulder_z = np.where(rise > 0, top - 0.07, top)
    left = [
        np.stack([x, foot * ends, base], axis=1),
        np.stack([x, shoulder_y, shoulder_z], axis=1),
        np.stack([x, np.where(rise > 0, roof - 0.03, foot * ends * 0.97), top], axis=1),
    ]
    crown = np.stack([x, 0.0 * x, top + 0.03 * (rise > 0)], axis=1)
    sections = np.stack([*left, crown, *[points * [1.0, -1.0, 1.0] for points in reversed(left)]], axis=1)
    solid_sides = {1, 3} if shape.has_rear_windows else {1, 2, 3}

    def finish(row: int, column: int) -> Finish:
        if column in (0, 5):
            if row == 0:
                return WINDOW if shape.has_rear_windows and shape.height < 1.6 else paint
            return paint if row in solid_sides else WINDOW
        return WINDOW if column in (2, 3) and row in (0, 5) else paint

    return smoothed(loft(sections, finish, has_caps=False, is_closed=False), 22.0)


def _fittings(shape: CarShape, paint: Finish, at: list[float]) -> Mesh:
    half, w, nose, tail = shape.length / 2, shape.width / 2, shape.nose_z, shape.tail_z
    lamps = combine(
        [
            box([half - 0.110, 0.66 * w, nose - 0.16], [0.22, 0.34, 0.18], TRIM, top=(0.7, 0.94)),
            box([half - 0.100, 0.66 * w, nose - 0.16], [0.22, 0.28, 0.12], HEADLAMP, top=(0.7, 0.94)),
            box([-half + 0.09, 0.72 * w, tail - 0.20], [0.16, 0.30, 0.16], TAIL_LAMP),
            box([-half + 0.10, 0.80 * w, tail - 0.34], [0.16, 0.14, 0.07], INDICATOR),
            box([at[0] - 0.25, w - 0.05, shape.belt_z + 0.08], [0.12, 0.17, 0.13], paint),
            box([at[0] - 0.315, w - 0.05, shape.belt_z + 0.08], [0.012, 0.14, 0.10], WINDOW),
        ]
    )
    handles = [box([x, w - 0.022, shape.belt_z - 0.14], [0.16, 0.03, 0.028], TRIM) for x in (at[1] - 0.75, at[1] - 1.6)]
    parts = [
        mirrored(combine([lamps, *handles])),
        box([half - 0.025, 0.0, nose - 0.19], [0.06, 0.90 * w, 0.12], DARK),
        box([half - 0.04, 0.0, 0.36], [0.09, 1.15 * w, 0.12], TRIM),
        box([half + 0.002, 0.0, 0.48], [0.02, 0.50, 0.105], PLATE),
        box([-half + 0.015, 0.0, 0.38], [0.06, 1.35 * w, 0.16], TRIM),
        box([-half + 0.002, 0.0, tail - 0.34], [0.02, 0.50, 0.105], PLATE),
    ]
    return combine(parts)
