"""Parametric bicycles, scooters and motorcycles, with and without their riders.

Object frame: origin on the ground below the middle, +x forward, +y left, metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lift3d_ros.simulation.cars import DARK, HEADLAMP, TAIL_LAMP, TYRE
from lift3d_ros.simulation.meshes import (
    Color,
    Finish,
    Material,
    Mesh,
    box,
    combine,
    cylinder,
    ellipsoid,
    extruded,
    placed,
    point,
    ring,
)
from lift3d_ros.simulation.people import Look, rider

_CHROME = Finish((150, 154, 158), Material.METAL)
_FRONT_AXLE, _REAR_AXLE = 0.52, -0.52


@dataclass(frozen=True)
class BicycleParts:
    """What makes bicycles differ: a low step-through frame, mudguards, a basket, a child seat, the wheels' radius."""

    is_step_through: bool = False
    has_guards: bool = False
    basket: Color | None = None
    has_seat: bool = False
    radius: float = 0.34


def bicycle(frame: Color, look: Look | None, extras: BicycleParts | None = None) -> Mesh:
    """Return a bicycle, with its rider where a look is given."""
    extras = extras or BicycleParts()
    paint, radius = Finish(frame, Material.PAINT), extras.radius
    crank, saddle, head = np.array([-0.08, 0.0, 0.29]), np.array([-0.25, 0.0, 0.92]), np.array([0.36, 0.0, 0.88])
    parts = []
    for x in (_FRONT_AXLE, _REAR_AXLE):
        parts.append(ring([x, 0.0, radius], radius, 0.045, TYRE, sides=22))
        parts.append(cylinder([x, -0.04, radius], [x, 0.04, radius], 0.035, _CHROME, sides=6))
        for turn in np.linspace(0.0, np.pi, 5, endpoint=False):
            spoke = (radius - 0.03) * np.array([np.cos(turn), 0.0, np.sin(turn)])
            hub = np.array([x, 0.0, radius])
            parts.append(cylinder(hub - spoke, hub + spoke, 0.005, _CHROME, sides=3))
    rear, front = np.array([_REAR_AXLE, 0.0, radius]), np.array([_FRONT_AXLE, 0.0, radius])
    seat_end = crank + 0.80 * (saddle - crank)
    lower_head = head + 0.22 * (front - head)
    upper = crank + 0.45 * (saddle - crank) if extras.is_step_through else seat_end
    for start, end in ((crank, seat_end), (crank, lower_head), (upper, head), (crank, rear), (seat_end, rear)):
        parts.append(cylinder(start, end, 0.021, paint, sides=6))
    grip = head + point(0.02, 0.0, 0.16)
    parts += [
        cylinder(front, head, 0.02, paint, sides=6),
        cylinder(head, grip, 0.018, _CHROME, sides=6),
        cylinder(grip - point(0.0, 0.27, 0.0), grip + point(0.0, 0.27, 0.0), 0.018, DARK, sides=6),
        cylinder(seat_end, saddle, 0.016, _CHROME, sides=6),
        box(saddle + point(0.0, 0.0, 0.02), [0.26, 0.14, 0.05], DARK, top=(1.0, 0.8)),
        cylinder(crank - point(0.0, 0.06, 0.0), crank + point(0.0, 0.06, 0.0), 0.09, DARK, sides=10),
        box(head + point(0.08, 0.0, -0.02), [0.05, 0.06, 0.06], HEADLAMP),
        box(rear + point(-0.32, 0.0, 0.2), [0.03, 0.05, 0.06], TAIL_LAMP),
    ]
    if extras.has_guards:
        parts += [box(axle + point(-0.05, 0.0, radius + 0.02), [0.5, 0.06, 0.02], paint) for axle in (front, rear)]
        parts.append(box(rear + point(0.0, 0.0, radius + 0.09), [0.42, 0.14, 0.025], _CHROME))
    if extras.basket is not None:
        parts.append(box(head + point(0.22, 0.0, 0.06), [0.30, 0.36, 0.24], Finish(extras.basket), top=(1.1, 1.1)))
    if extras.has_seat:
        parts.append(box(rear + point(0.02, 0.0, radius + 0.38), [0.32, 0.32, 0.55], Finish(frame), top=(0.7, 0.9)))
    if look is not None:
        feet = [crank + point(0.05, 0.12, -0.10), crank + point(0.02, 0.12, 0.22)]
        parts += rider(look, saddle + point(-0.02, 0.0, 0.10), 0.50, grip + point(0.0, 0.25, 0.03), feet)
    return combine(parts)


def scooter(paint: Color, look: Look | None, has_case: bool) -> Mesh:
    """Return a motor scooter, with its rider where a look is given."""
    body, radius = Finish(paint, Material.PAINT), 0.22
    parts = []
    for x in (0.62, -0.60):
        parts.append(ring([x, 0.0, radius], radius, 0.11, TYRE, sides=18))
        parts.append(cylinder([x, -0.05, radius], [x, 0.05, radius], 0.12, _CHROME, sides=10))
    shield = [[0.62, 0.30], [0.40, 0.30], [0.30, 0.98], [0.42, 1.0]]
    rear = [[-0.92, 0.45], [-0.2, 0.38], [-0.15, 0.72], [-0.85, 0.80]]
    parts += [
        extruded(shield, 0.40, body),
        extruded(rear, 0.34, body),
        box([0.10, 0.0, 0.30], [0.62, 0.34, 0.10], DARK),
        box([-0.48, 0.0, 0.84], [0.70, 0.30, 0.12], DARK, top=(0.95, 0.8)),
        box([0.62, 0.0, 0.48], [0.30, 0.16, 0.05], body),
        cylinder([0.34, -0.32, 1.06], [0.34, 0.32, 1.06], 0.02, DARK, sides=6),
        cylinder([0.62, 0.0, radius], [0.36, 0.0, 1.05], 0.035, DARK, sides=6),
        ellipsoid([0.47, 0.0, 0.86], [0.07, 0.09, 0.08], HEADLAMP),
        box([-0.93, 0.0, 0.66], [0.03, 0.18, 0.08], TAIL_LAMP),
    ]
    if has_case:
        parts.append(box([-0.86, 0.0, 1.12], [0.42, 0.44, 0.42], Finish(paint)))
    if look is not None:
        feet = [[0.18, 0.14, 0.40], [0.18, 0.14, 0.40]]
        parts += rider(look, [-0.30, 0.0, 0.98], 0.08, [0.34, 0.30, 1.08], feet)
    return combine(parts)


def motorcycle(paint: Color, look: Look | None, has_cases: bool = False) -> Mesh:
    """Return a motorcycle, with its rider where a look is given."""
    body, radius = Finish(paint, Material.PAINT), 0.31
    front, rear, head = np.array([0.72, 0.0, radius]), np.array([-0.70, 0.0, radius]), np.array([0.42, 0.0, 0.92])
    parts = []
    for axle in (front, rear):
        parts.append(ring(axle, radius, 0.13, TYRE, sides=22))
        parts.append(cylinder(axle - point(0.0, 0.03, 0.0), axle + point(0.0, 0.03, 0.0), 0.19, _CHROME, sides=14))
    for side in (-0.08, 0.08):
        shift = np.array([0.0, side, 0.0])
        parts.append(cylinder(front + shift, head + shift, 0.027, _CHROME, sides=6))
        parts.append(cylinder(rear + shift, np.array([-0.05, side, 0.45]), 0.03, DARK, sides=6))
    grip = head + point(-0.12, 0.0, 0.12)
    tank = placed(ellipsoid([0.0, 0.0, 0.0], [0.30, 0.15, 0.16], body), [0.14, 0.0, 0.86], 0.0, 0.12)
    parts += [
        tank,
        box([0.02, 0.0, 0.50], [0.52, 0.30, 0.40], Finish((58, 60, 64), Material.METAL), top=(0.85, 0.8)),
        box([-0.38, 0.0, 0.82], [0.72, 0.26, 0.11], DARK, top=(0.96, 0.85)),
        box([-0.68, 0.0, 0.84], [0.34, 0.20, 0.13], body, top=(0.8, 0.8)),
        box([-0.86, 0.0, 0.83], [0.04, 0.16, 0.07], TAIL_LAMP),
        box([-0.93, 0.0, 0.62], [0.02, 0.19, 0.13], Finish((226, 228, 224))),
        cylinder([-0.2, -0.16, 0.36], [-0.92, -0.17, 0.44], 0.055, _CHROME, sides=8),
        cylinder(grip - point(0.0, 0.36, 0.0), grip + point(0.0, 0.36, 0.0), 0.019, DARK, sides=6),
        ellipsoid(head + point(0.10, 0.0, -0.04), [0.09, 0.09, 0.09], HEADLAMP),
        box(head + point(0.06, 0.0, 0.12), [0.05, 0.28, 0.20], Finish((60, 70, 78), Material.GLASS), top=(1.0, 0.7)),
        box(front + point(0.0, 0.0, radius + 0.03), [0.34, 0.12, 0.03], body),
    ]
    if has_cases:
        parts += [box([-0.62, y, 0.70], [0.46, 0.22, 0.34], DARK, top=(0.9, 0.9)) for y in (-0.28, 0.28)]
        parts.append(box([-0.86, 0.0, 1.06], [0.36, 0.42, 0.30], DARK, top=(0.85, 0.85)))
    if look is not None:
        feet = [[-0.12, 0.19, 0.36], [-0.12, 0.19, 0.36]]
        parts += rider(look, [-0.26, 0.0, 0.94], 0.30, grip + point(0.0, 0.34, 0.02), feet)
    return combine(parts)
