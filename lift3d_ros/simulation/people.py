"""Parametric people: walking and standing pedestrians, and riders with their bicycle or motorcycle.

Object frame: origin on the ground below the middle, +x forward, +y left, metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

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
    loft,
    placed,
    point,
    ring,
    smoothed,
)
from lift3d_ros.types import Float64Array

STRIDE_M = 1.35
"""Distance walked in one full cycle of both legs by a person of average height."""

_CHROME = Finish((150, 154, 158), Material.METAL)
_FRONT_AXLE, _REAR_AXLE = 0.52, -0.52


@dataclass(frozen=True)
class Look:
    """What a person looks like; `height` in metres, colours in sRGB."""

    height: float
    skin: Color
    hair: Color
    top: Color
    trousers: Color
    shoes: Color
    has_backpack: bool = False
    helmet: Color | None = None


# Stand for the colours of a figure until a look is given.
_PLAIN = Look(1.78, skin=(1, 0, 0), hair=(2, 0, 0), top=(3, 0, 0), trousers=(4, 0, 0), shoes=(5, 0, 0))


def pedestrian(look: Look, phase: float | None) -> Mesh:
    """Return a person; `phase` is the part (0..1) of the walking cycle, None for one who stands."""
    figure = _figure(phase, look.has_backpack)
    colors = figure.colors.copy()
    for part in ("skin", "hair", "top", "trousers", "shoes"):
        colors[figure.colors[:, 0] == getattr(_PLAIN, part)[0], :3] = getattr(look, part)
    return Mesh(figure.positions * np.float32(look.height / _PLAIN.height), figure.normals, colors)


@lru_cache(maxsize=64)
def _figure(phase: float | None, has_backpack: bool) -> Mesh:
    """Return a person of average height in the colours of `_PLAIN`; made once, as it has many parts."""
    look = _PLAIN
    swing = 0.0 if phase is None else 2 * np.pi * phase
    stride = 0.0 if phase is None else 1.0
    hips, shoulders = np.array([0.0, 0.0, 0.92]), np.array([0.02 * stride, 0.0, 1.42])
    parts = [_torso(look, hips, shoulders), _head(look, shoulders + point(0.02, 0.0, 0.225))]
    for side, turn in ((1.0, swing), (-1.0, swing + np.pi)):
        thigh = stride * 0.40 * np.sin(turn)
        # The knee bends while its leg swings forward, which is when the thigh angle grows.
        shin = thigh - stride * (0.10 + 0.75 * max(0.0, float(np.cos(turn))) ** 2)
        hip = hips + point(0.0, 0.09 * side, 0.0)
        knee = hip + 0.43 * _hanging(thigh)
        ankle = knee + 0.42 * _hanging(shin)
        parts += _leg(look, hip, knee, ankle, 0.6 * shin)
        upper, lower = -0.42 * stride * np.sin(turn), -0.42 * stride * np.sin(turn) + 0.12 + 0.28 * stride
        shoulder = shoulders + point(0.0, 0.185 * side, -0.065)
        elbow = shoulder + 0.29 * _hanging(upper) + point(0.0, 0.03 * side, 0.0)
        parts += _arm(look, shoulder, elbow, elbow + 0.25 * _hanging(lower))
    if has_backpack:
        parts.append(box([-0.17, 0.0, 1.22], [0.16, 0.28, 0.40], Finish(look.shoes), top=(0.7, 0.8)))
    body = combine(parts)
    low = float(body.positions[:, 2].min())
    return placed(body, [0.0, 0.0, -low])


def _hanging(angle: float) -> Float64Array:
    """Return the direction of a limb that hangs down, swung forward by `angle`."""
    return np.array([np.sin(angle), 0.0, -np.cos(angle)])


def _torso(look: Look, hips: Any, shoulders: Any) -> Mesh:
    """Return trunk and neck between the middle of the hips and that of the shoulders."""
    levels = np.array([-0.08, 0.06, 0.30, 0.55, 0.82, 0.98, 1.06])
    deep = np.array([0.095, 0.115, 0.105, 0.125, 0.12, 0.085, 0.05])
    wide = np.array([0.155, 0.175, 0.155, 0.185, 0.215, 0.185, 0.06])
    angle = np.linspace(0.0, 2 * np.pi, 12, endpoint=False)
    middles = hips + levels[:, None] * (np.asarray(shoulders) - hips)
    outline = np.stack([np.cos(angle), np.sin(angle), 0.0 * angle], axis=1)
    sections = middles[:, None] + outline[None] * np.stack([deep, wide, 0 * deep], axis=1)[:, None]
    trunk = loft(sections, lambda row, _column: Finish(look.trousers if row == 0 else look.top))
    neck = cylinder(shoulders, np.asarray(shoulders) + point(0.02, 0.0, 0.13), 0.055, Finish(look.skin), sides=8)
    return combine([smoothed(trunk, 60.0), neck])


def _head(look: Look, center: Any) -> Mesh:
    center = np.asarray(center, dtype=np.float64)
    parts = [
        ellipsoid(center, [0.095, 0.078, 0.118], Finish(look.skin), rings=8),
        box(center + point(0.095, 0.0, -0.01), [0.03, 0.024, 0.035], Finish(look.skin)),
    ]
    if look.helmet is None:
        parts.append(ellipsoid(center + point(-0.02, 0.0, 0.028), [0.094, 0.086, 0.108], Finish(look.hair), rings=8))
    else:
        parts.append(
            ellipsoid(
                center + point(-0.01, 0.0, 0.035), [0.135, 0.108, 0.125], Finish(look.helmet, Material.PAINT), rings=8
            )
        )
    return combine(parts)


def _leg(look: Look, hip: Any, knee: Any, ankle: Any, tilt: float) -> list[Mesh]:
    trousers = Finish(look.trousers)
    shoe = placed(
        box([0.065, 0.0, -0.035], [0.26, 0.09, 0.085], Finish(look.shoes), top=(0.72, 0.85)), ankle, 0.0, -tilt
    )
    return [
        cylinder(hip, knee, 0.088, trousers, tip=0.064, has_caps=False),
        ellipsoid(knee, [0.064, 0.064, 0.064], trousers, rings=4, sides=8),
        cylinder(knee, ankle, 0.064, trousers, tip=0.048, has_caps=False),
        shoe,
    ]


def _arm(look: Look, shoulder: Any, elbow: Any, wrist: Any) -> list[Mesh]:
    sleeve = Finish(look.top)
    return [
        ellipsoid(shoulder, [0.062, 0.058, 0.062], sleeve, rings=6, sides=8),
        cylinder(shoulder, elbow, 0.056, sleeve, tip=0.046, sides=8, has_caps=False),
        cylinder(elbow, wrist, 0.046, sleeve, tip=0.036, sides=8, has_caps=False),
        ellipsoid(wrist, [0.045, 0.036, 0.055], Finish(look.skin), rings=4, sides=6),
    ]


def _rider(look: Look, seat: Any, lean: float, hands: Any, feet: Any) -> list[Mesh]:
    """Return a seated person; `hands` and `feet` (3,) are on the left, the right ones mirror them."""
    seat, hands = np.asarray(seat, dtype=np.float64), np.asarray(hands, dtype=np.float64)
    shoulders = seat + 0.50 * np.array([np.sin(lean), 0.0, np.cos(lean)])
    parts = [_torso(look, seat, shoulders), _head(look, shoulders + point(0.06, 0.0, 0.20))]
    for side, foot in zip((1.0, -1.0), np.asarray(feet, dtype=np.float64), strict=True):
        hip, hand = seat + point(0.0, 0.09 * side, 0.0), hands * [1.0, side, 1.0]
        ankle = foot * [1.0, side, 1.0]
        parts += _leg(look, hip, _joint(hip, ankle, 0.44, [1.0, 0.15 * side, 0.4]), ankle, 0.0)
        shoulder = shoulders + point(0.0, 0.185 * side, -0.065)
        parts += _arm(look, shoulder, _joint(shoulder, hand, 0.30, [-0.3, 0.6 * side, -0.8]), hand)
    return parts


def _joint(start: Float64Array, end: Float64Array, length: float, towards: Any) -> Float64Array:
    """Return knee or elbow between `start` and `end` for two bones of `length`, bent `towards` a direction."""
    middle, axis = (start + end) / 2, end - start
    bend = np.asarray(towards, dtype=np.float64)
    bend = bend - axis * (bend @ axis) / max(float(axis @ axis), 1e-9)
    height = np.sqrt(max(length**2 - float(axis @ axis) / 4, 0.0))
    return np.asarray(middle + height * bend / np.linalg.norm(bend))


def bicycle(frame: Color, look: Look | None) -> Mesh:
    """Return a bicycle, with its rider where a look is given."""
    paint, radius = Finish(frame, Material.PAINT), 0.34
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
    for start, end in ((crank, seat_end), (crank, lower_head), (seat_end, head), (crank, rear), (seat_end, rear)):
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
    if look is not None:
        feet = [crank + point(0.05, 0.12, -0.10), crank + point(0.02, 0.12, 0.22)]
        parts += _rider(look, saddle + point(-0.02, 0.0, 0.10), 0.50, grip + point(0.0, 0.25, 0.03), feet)
    return combine(parts)


def motorcycle(paint: Color, look: Look | None) -> Mesh:
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
    if look is not None:
        feet = [[-0.12, 0.19, 0.36], [-0.12, 0.19, 0.36]]
        parts += _rider(look, [-0.26, 0.0, 0.94], 0.30, grip + point(0.0, 0.34, 0.02), feet)
    return combine(parts)
