"""Parametric things without a label: trees, hedges, lamp posts, signs, traffic lights, shelters, benches and bins.

Local frame: origin on the ground, +x along the road, z up, metres.
"""

from __future__ import annotations

import numpy as np

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
    quads,
    smoothed,
    unit_sphere,
)
from lift3d_ros.types import Float64Array

LAMP_REACH_M = 1.65
"""How far the head of a street lamp hangs over the road."""

_IRON = Finish((62, 66, 68), Material.METAL)
_STEEL = Finish((140, 144, 146), Material.METAL)
_GLASS = Finish((120, 140, 146), Material.GLASS)
_WOOD = Finish((126, 88, 56))
_LEAVES: tuple[Color, ...] = ((84, 118, 48), (70, 104, 50), (104, 130, 54), (62, 96, 56))


def tree(rng: np.random.Generator, *, height: float | None = None) -> Mesh:
    """Return a broad-leaved tree, 5 to 8 m tall unless `height` is given."""
    height = float(rng.uniform(5.2, 7.8)) if height is None else height
    bark = Finish((92, 74, 58), Material.PLASTER)
    leaves = Finish(_LEAVES[int(rng.integers(len(_LEAVES)))], Material.FOLIAGE)
    crown_z, crown_r = 0.68 * height, 0.24 * height
    parts = [cylinder([0, 0, 0], [0, 0, 0.6 * height], 0.026 * height, bark, tip=0.014 * height, sides=9)]
    parts.append(_blob(np.array([0.0, 0.0, crown_z]), np.array([crown_r, crown_r, 0.26 * height]), leaves, rng))
    for turn in np.arange(5) * 2 * np.pi / 5 + rng.uniform(0.0, 1.2):
        at = np.array([np.cos(turn), np.sin(turn), 0.0]) * crown_r * 0.62
        at[2] = crown_z + height * rng.uniform(-0.12, 0.14)
        parts.append(cylinder([0, 0, 0.40 * height], at, 0.010 * height, bark, sides=5))
        parts.append(_blob(at, np.array([0.6, 0.6, 0.56]) * crown_r * rng.uniform(0.85, 1.15), leaves, rng))
    return combine(parts)


def grove(rng: np.random.Generator) -> Mesh:
    """Return a few plain trees and bushes within seven metres, to be seen from afar."""
    bark, parts = Finish((92, 74, 58), Material.PLASTER), []
    for _ in range(int(rng.integers(3, 8))):
        x, y = rng.uniform(-5.5, 5.5, 2).tolist()
        height = float(rng.uniform(2.0, 9.0))
        leaves = Finish(_LEAVES[int(rng.integers(len(_LEAVES)))], Material.FOLIAGE)
        crown = np.array([0.28, 0.28, 0.36]) * height
        parts.append(cylinder([x, y, 0], [x, y, 0.5 * height], 0.03 * height, bark, sides=5, has_caps=False))
        parts.append(_blob(np.array([x, y, 0.66 * height]), crown, leaves, rng, rings=6, sides=8))
    return combine(parts)


def _blob(
    center: Float64Array,
    radii: Float64Array,
    finish: Finish,
    rng: np.random.Generator,
    *,
    rings: int = 8,
    sides: int = 11,
) -> Mesh:
    """Return an ellipsoid with a rough surface."""
    rough = rng.uniform(0.84, 1.14, (rings + 1, sides, 1))
    rough[[0, -1]] = 1.0
    points = unit_sphere(rings, sides)[:, :-1] * rough * radii + center
    return smoothed(loft(points, finish, has_caps=False), 50.0)


def hedge(length: float, rng: np.random.Generator) -> Mesh:
    """Return a hedge along x."""
    leaves = Finish(_LEAVES[int(rng.integers(len(_LEAVES)))], Material.FOLIAGE)
    along = np.linspace(-length / 2, length / 2, max(3, round(length / 0.6)))
    outline = np.array([[-0.34, 0.0], [-0.40, 0.5], [-0.32, 1.0], [0.0, 1.12], [0.32, 1.0], [0.40, 0.5], [0.34, 0.0]])
    rough = rng.uniform(0.9, 1.1, (len(along), len(outline), 1))
    section = outline[None] * rough
    points = np.concatenate([np.broadcast_to(along[:, None, None], (*section.shape[:2], 1)), section], axis=2)
    return loft(points, leaves)


def lamp_post(height: float = 6.8) -> Mesh:
    """Return a street lamp whose arm reaches to +y."""
    arm = [0.0, 1.5, height]
    return combine(
        [
            cylinder([0, 0, 0], [0, 0, 1.0], 0.09, _IRON, sides=8),
            cylinder([0, 0, 1.0], [0, 0, height - 0.2], 0.06, _IRON, tip=0.045, sides=8),
            cylinder([0, 0, height - 0.25], arm, 0.035, _IRON, sides=6),
            box([0.0, 1.65, height - 0.02], [0.26, 0.62, 0.10], _IRON, top=(0.7, 0.9)),
            box([0.0, 1.65, height - 0.08], [0.20, 0.50, 0.03], Finish((236, 236, 226), Material.LAMP)),
        ]
    )


def sign(kind: int) -> Mesh:
    """Return a traffic sign that faces -x: 0 no parking, 1 crossing, 2 warning, 3 speed limit."""
    post = cylinder([0, 0, 0], [0, 0, 2.75], 0.032, _STEEL, sides=7)
    red, blue, white, dark = Finish((190, 30, 30)), Finish((30, 80, 170)), Finish((240, 240, 238)), Finish((30, 30, 32))
    if kind == 1:
        plates = [box([-0.045, 0, 2.45], [0.02, 0.62, 0.62], blue), box([-0.06, 0, 2.42], [0.01, 0.26, 0.40], white)]
    elif kind == 2:
        plates = [_triangle(-0.045, 0.40, red), _triangle(-0.055, 0.27, white)]
        plates.append(box([-0.06, 0, 2.40], [0.01, 0.06, 0.18], dark))
    else:
        inner = white if kind == 3 else blue
        plates = [_disc(-0.045, 0.32, red), _disc(-0.055, 0.25, inner)]
        mark = box([0, 0, 0], [0.01, 0.24, 0.20], dark) if kind == 3 else box([0, 0, 0], [0.01, 0.48, 0.05], red)
        plates.append(placed(mark, [-0.062, 0.0, 2.45]))
    return combine([post, *plates])


def _disc(x: float, radius: float, finish: Finish) -> Mesh:
    return cylinder([x, 0, 2.45], [x - 0.012, 0, 2.45], radius, finish, sides=20)


def _triangle(x: float, size: float, finish: Finish) -> Mesh:
    corners = [[x, -size, 2.45 - 0.58 * size], [x, size, 2.45 - 0.58 * size], [x, 0, 2.45 + 1.1 * size]]
    return quads([[*corners, corners[0]]], finish)


def traffic_light() -> Mesh:
    """Return a traffic light that faces -x and shows green."""
    parts = [cylinder([0, 0, 0], [0, 0, 3.4], 0.06, _IRON, sides=8), box([-0.10, 0, 2.95], [0.20, 0.30, 0.95], _IRON)]
    for z, color in ((3.25, (70, 20, 18)), (2.95, (80, 64, 20)), (2.65, (60, 230, 120))):
        material = Material.LAMP if z < 2.7 else Material.MATTE
        parts.append(cylinder([-0.2, 0, z], [-0.225, 0, z], 0.10, Finish(color, material), sides=12))
    return combine(parts)


def shelter() -> Mesh:
    """Return a bus shelter that is open to +y."""
    posts = [box([x, y, 1.2], [0.08, 0.08, 2.4], _IRON) for x in (-1.8, 1.8) for y in (-0.6, 0.6)]
    panes = [box([0.0, -0.6, 1.35], [3.5, 0.02, 1.9], _GLASS), box([-1.8, 0.0, 1.35], [0.02, 1.1, 1.9], _GLASS)]
    return combine(
        [
            *posts,
            *panes,
            box([0.0, 0.05, 2.46], [4.0, 1.6, 0.12], _IRON),
            box([0.0, -0.35, 0.48], [2.4, 0.36, 0.06], _WOOD),
            box([1.8, 0.0, 1.3], [0.08, 1.0, 1.7], Finish((214, 120, 60))),
        ]
    )


def bench() -> Mesh:
    """Return a bench that faces +y."""
    planks = [box([0.0, y, 0.46], [1.7, 0.12, 0.04], _WOOD) for y in (-0.16, 0.0, 0.16)]
    backs = [box([0.0, -0.27, z], [1.7, 0.04, 0.12], _WOOD) for z in (0.66, 0.84)]
    legs = [box([x, 0.0, 0.22], [0.06, 0.40, 0.44], _IRON) for x in (-0.7, 0.7)]
    return combine([*planks, *backs, *legs])


def bin_() -> Mesh:
    """Return a litter bin."""
    green = Finish((46, 84, 62))
    return combine(
        [
            cylinder([0, 0, 0.08], [0, 0, 0.86], 0.23, green, tip=0.26, sides=12),
            cylinder([0, 0, 0.86], [0, 0, 0.93], 0.27, _IRON, sides=12),
        ]
    )


def hydrant() -> Mesh:
    """Return a fire hydrant."""
    red = Finish((186, 36, 30), Material.PAINT)
    return combine(
        [
            cylinder([0, 0, 0], [0, 0, 0.55], 0.12, red, sides=10),
            ellipsoid([0, 0, 0.58], [0.13, 0.13, 0.14], red),
            cylinder([0, -0.2, 0.42], [0, 0.2, 0.42], 0.055, red, sides=8),
        ]
    )


def bollard() -> Mesh:
    """Return a bollard."""
    return combine(
        [
            cylinder([0, 0, 0], [0, 0, 0.88], 0.055, _IRON, sides=8),
            cylinder([0, 0, 0.74], [0, 0, 0.80], 0.058, Finish((220, 220, 216)), sides=8),
        ]
    )


def cabinet() -> Mesh:
    """Return a switch cabinet."""
    grey = Finish((150, 156, 150), Material.PLASTER)
    return combine(
        [
            box([0, 0, 0.62], [1.1, 0.42, 1.16], grey),
            box([0, 0, 1.23], [1.16, 0.48, 0.06], grey),
            box([0, 0.215, 0.65], [0.02, 0.01, 1.0], _IRON),
        ]
    )


def crate() -> Mesh:
    """Return a parcel or crate on the ground."""
    return combine(
        [
            box([0, 0, 0.28], [0.62, 0.46, 0.56], Finish((168, 128, 84))),
            box([0, 0, 0.565], [0.08, 0.46, 0.01], Finish((206, 188, 150))),
        ]
    )


def guard_rail() -> Mesh:
    """Return four metres of steel guard rail along x."""
    posts = [box([x, 0.06, 0.35], [0.08, 0.08, 0.7], _STEEL) for x in (-1.0, 1.0)]
    rails = [box([0.0, 0.0, z], [4.02, 0.04, 0.13], _STEEL) for z in (0.52, 0.68)]
    return combine([*posts, *rails, box([0.0, 0.02, 0.60], [4.02, 0.03, 0.06], _STEEL)])


def skyline(rng: np.random.Generator) -> Mesh:
    """Return far woods and houses around the scene, which hide the edge of the ground."""
    parts = []
    for turn in np.arange(0.0, 2 * np.pi, 0.075):
        at = 300.0 * np.array([np.cos(turn), np.sin(turn)])
        height = float(rng.uniform(9.0, 19.0))
        if rng.random() < 0.7:
            finish = Finish(_LEAVES[int(rng.integers(len(_LEAVES)))], Material.FOLIAGE)
            parts.append(
                _blob(
                    np.array([*at, 0.35 * height]), np.array([15.0, 15.0, 0.75 * height]), finish, rng, rings=5, sides=8
                )
            )
        else:
            wall = Finish((180, 170, 156), Material.PLASTER)
            parts.append(placed(box([0, 0, height / 2], [14.0, 22.0, height], wall), [*at, 0.0], float(turn)))
    return combine(parts)
