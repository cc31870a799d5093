"""Parametric people: walking, standing and sitting pedestrians, and riders without their vehicle.

Object frame: origin on the ground below the middle, +x forward, +y left, metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np

from lift3d_ros.simulation.cars import DARK
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
    smoothed,
)
from lift3d_ros.types import Float64Array

Wear = Literal["trousers", "skirt", "coat"]
Stance = Literal["upright", "sitting", "phone", "waving", "bending"]
STANCES: tuple[Stance, ...] = get_args(Stance)

STRIDE_M = 1.35
"""Distance walked in one full cycle of both legs by a person of average height."""


@dataclass(frozen=True)
class Look:
    """What a person looks like; `height` in metres, colours in sRGB; `girth` is a factor across the height."""

    height: float
    skin: Color
    hair: Color
    top: Color
    trousers: Color
    shoes: Color
    has_backpack: bool = False
    helmet: Color | None = None
    wear: Wear = "trousers"
    bag: Color | None = None
    has_hat: bool = False
    girth: float = 1.0


# Stand for the colours of a figure until a look is given.
_PLAIN = Look(1.78, skin=(1, 0, 0), hair=(2, 0, 0), top=(3, 0, 0), trousers=(4, 0, 0), shoes=(5, 0, 0))


def pedestrian(look: Look, phase: float | None, stance: Stance = "upright") -> Mesh:
    """Return a person; `phase` is the part (0..1) of the walking cycle, None for one who stays in a `stance`."""
    figure = _figure(phase, stance, look.has_backpack, look.wear, look.has_hat, look.height < 1.45)
    colors = figure.colors.copy()
    for part in ("skin", "hair", "top", "trousers", "shoes"):
        colors[figure.colors[:, 0] == getattr(_PLAIN, part)[0], :3] = getattr(look, part)
    scale = look.height / _PLAIN.height
    size = np.array([look.girth * scale, look.girth * scale, scale], dtype=np.float32)
    mesh = Mesh(figure.positions * size, figure.normals, colors)
    if look.helmet is not None:
        top = float(figure.positions[:, 2].max()) * scale
        shell = ellipsoid([0.02, 0.0, top - 0.08], [0.14, 0.12, 0.11], Finish(look.helmet, Material.PAINT))
        mesh = combine([mesh, shell])
    if look.bag is not None and stance != "sitting":
        mesh = combine([mesh, _bag(look.bag, look.height)])
    return mesh


def _bag(color: Color, height: float) -> Mesh:
    """Return a bag in the right hand of small people, else a suitcase or a bag that hangs."""
    y, z = -0.30 * height / 1.75, 0.36 * height
    return combine(
        [
            box([0.02, y, z - 0.16], [0.34, 0.13, 0.32], Finish(color), top=(0.85, 0.7)),
            box([0.02, y, z + 0.06], [0.03, 0.03, 0.14], DARK),
        ]
    )


@lru_cache(maxsize=512)
def _figure(phase: float | None, stance: Stance, has_backpack: bool, wear: Wear, has_hat: bool, is_child: bool) -> Mesh:
    """Return a person of average height in the colours of `_PLAIN`; made once, as it has many parts."""
    look = _PLAIN
    swing = 0.0 if phase is None else 2 * np.pi * phase
    stride = 0.0 if phase is None else 1.0
    hips, lean = np.array([0.0, 0.0, 0.92]), 0.02 * stride
    if stance == "bending":
        lean = 0.34
    if stance == "sitting":
        hips = np.array([0.0, 0.0, 0.46])
    shoulders = hips + point(lean, 0.0, float(np.sqrt(0.25 - lean**2)))
    head = shoulders + point(0.02 + 0.3 * lean, 0.0, 0.225)
    parts = [_torso(look, hips, shoulders), _head(look, head)]
    if is_child:  # the head of a child is larger
        grown = parts[1]
        shift = head.astype(np.float32)
        parts[1] = Mesh((grown.positions - shift) * np.float32(1.25) + shift, grown.normals, grown.colors)
    if has_hat:
        parts.append(cylinder(head + point(0, 0, 0.05), head + point(0, 0, 0.15), 0.11, Finish(look.shoes), tip=0.09))
        parts.append(cylinder(head + point(0, 0, 0.05), head + point(0, 0, 0.06), 0.16, Finish(look.shoes)))
    for side, turn in ((1.0, swing), (-1.0, swing + np.pi)):
        thigh = stride * 0.40 * np.sin(turn)
        # The knee bends while its leg swings forward, which is when the thigh angle grows.
        shin = thigh - stride * (0.10 + 0.75 * max(0.0, float(np.cos(turn))) ** 2)
        if stance == "sitting":
            thigh, shin = 1.45, 0.05
        hip = hips + point(0.0, 0.09 * side, 0.0)
        knee = hip + 0.43 * _hanging(thigh)
        ankle = knee + 0.42 * _hanging(shin)
        parts += _leg(look, hip, knee, ankle, 0.6 * shin if stance != "sitting" else 0.0)
        upper, lower = -0.42 * stride * np.sin(turn), -0.42 * stride * np.sin(turn) + 0.12 + 0.28 * stride
        if stance == "sitting":
            upper, lower = 0.5, 1.3
        elif stance == "phone" and side < 0:
            upper, lower = 0.55, 2.2
        elif stance == "waving" and side > 0:
            upper, lower = 2.3, 2.9
        elif stance == "bending":
            upper, lower = 0.6, 0.8
        shoulder = shoulders + point(0.0, 0.185 * side, -0.065)
        elbow = shoulder + 0.29 * _hanging(upper) + point(0.0, 0.03 * side, 0.0)
        parts += _arm(look, shoulder, elbow, elbow + 0.25 * _hanging(lower))
    if wear != "trousers" and stance not in ("sitting", "bending"):
        parts.append(_skirt(look, hips, wear))
    if has_backpack:
        back = (hips + shoulders) / 2 + point(-0.17 - 0.3 * lean, 0.0, 0.06)
        parts.append(box(back, [0.16, 0.28, 0.40], Finish(look.shoes), top=(0.7, 0.8)))
    body = combine(parts)
    low = float(body.positions[:, 2].min())
    return placed(body, [0.0, 0.0, -low])


def _skirt(look: Look, hips: Float64Array, wear: Wear) -> Mesh:
    """Return a skirt or the lower part of a coat."""
    angle = np.linspace(0.0, 2 * np.pi, 12, endpoint=False)
    outline = np.stack([np.cos(angle), np.sin(angle), 0.0 * angle], axis=1)
    drops, radii = (
        ((0.10, -0.12, -0.42), (0.15, 0.19, 0.27)) if wear == "skirt" else ((0.2, -0.1, -0.46), (0.16, 0.2, 0.22))
    )
    sections = [hips + point(0, 0, drop) + outline * [0.8 * r, r, 0.0] for drop, r in zip(drops, radii, strict=True)]
    return smoothed(
        loft(np.stack(sections), Finish(look.trousers if wear == "skirt" else look.top), has_caps=False), 60.0
    )


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


def rider(look: Look, seat: Any, lean: float, hands: Any, feet: Any) -> list[Mesh]:
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
