"""The road: positions along a curved centre line, and the surfaces and marks of a street with one cross street.

Road coordinates are s, metres along the centre line, and d, metres to its left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.rotations import yaw_matrix
from lift3d_ros.simulation.meshes import Finish, Material, Mesh, combine, fan, quads
from lift3d_ros.types import Float64Array

ASPHALT = Finish((112, 112, 114), Material.ASPHALT)
PAVING = Finish((158, 153, 144), Material.PAVING)
KERB = Finish((172, 170, 164), Material.PLASTER)
GRASS = Finish((92, 118, 58), Material.GRASS)
_PAINT = Finish((226, 226, 220), Material.ASPHALT)
_YELLOW = Finish((214, 176, 70), Material.ASPHALT)
_PATCH = Finish((98, 98, 101), Material.ASPHALT)
_COVER = Finish((82, 80, 78), Material.ASPHALT)
_STEP_M = 2.0

_Span = tuple[float, float]


@dataclass(frozen=True)
class CenterLine:
    """A circular arc (or a straight line) in the ground plane of the world.

    Args:
        curvature: 1/m, positive bends to the left.
        start: x, y in metres and heading in rad at s = 0.
    """

    curvature: float
    start: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def heading(self, s: Any) -> Any:
        """Return the direction of the line at `s`, rad."""
        return self.start[2] + self.curvature * np.asarray(s, dtype=np.float64)

    def points(self, s: Any, d: Any) -> Float64Array:
        """Return world points (..., 2) at road coordinates."""
        s, d = np.broadcast_arrays(np.asarray(s, dtype=np.float64), np.asarray(d, dtype=np.float64))
        turn = self.curvature * s
        # The chord of an arc, written so that it stays exact for a straight line.
        chord, middle = s * np.sinc(turn / (2 * np.pi)), self.start[2] + turn / 2
        x = self.start[0] + chord * np.cos(middle) - d * np.sin(self.heading(s))
        y = self.start[1] + chord * np.sin(middle) + d * np.cos(self.heading(s))
        return np.stack([x, y], axis=-1)

    def pose(self, s: float, d: float, turn: float = 0.0, z: float = 0.0) -> Float64Array:
        """Return T_world_object of an object that stands at (s, d), turned by `turn` from the road's direction."""
        return make_transform(yaw_matrix(float(self.heading(s)) + turn), [*self.points(s, d), z])


@dataclass(frozen=True)
class CrossSection:
    """Widths of a street, from the centre line to one side, metres; both sides are equal."""

    lane: float
    kerb: float
    pavement: float
    kerb_height: float = 0.12


MAIN = CrossSection(lane=3.5, kerb=5.8, pavement=9.2)
CROSS = CrossSection(lane=3.3, kerb=4.0, pavement=7.2)


def cross_line(line: CenterLine, s: float) -> CenterLine:
    """Return the straight street that crosses `line` at `s` from right to left."""
    x, y = line.points(s, 0.0)
    return CenterLine(0.0, (float(x), float(y), float(line.heading(s)) + np.pi / 2))


def ground(line: CenterLine, reach: tuple[float, float], cross_s: float) -> Mesh:
    """Return asphalt, kerbs, pavements and grass.

    Args:
        reach: first and last s of the main street.
        cross_s: where the cross street meets it.
    """
    across, low, high = cross_line(line, cross_s), *reach
    gap = (cross_s - CROSS.kerb, cross_s + CROSS.kerb)
    lawn_gap = (cross_s - CROSS.pavement, cross_s + CROSS.pavement)
    parts = [_flat(line, (low, high), (-MAIN.kerb, MAIN.kerb), 0.0, ASPHALT)]
    for span in ((low, gap[0]), (gap[1], high)):
        parts += _pavements(line, span, MAIN)
    for span in ((low, lawn_gap[0]), (lawn_gap[1], high)):
        for side in (-1.0, 1.0):
            parts.append(_flat(line, span, (side * MAIN.pavement, side * 45.0), MAIN.kerb_height - 0.03, GRASS))
    for span in ((-110.0, -MAIN.kerb), (MAIN.kerb, 110.0)):
        parts.append(_flat(across, span, (-CROSS.kerb, CROSS.kerb), 0.0, ASPHALT))
        parts += _pavements(across, span, CROSS)
    angle = np.linspace(0.0, 2 * np.pi, 64, endpoint=False)
    rim = np.stack([340 * np.cos(angle), 340 * np.sin(angle), 0.0 * angle - 0.08], axis=1)
    return combine([*parts, fan(rim, GRASS)])


def marks(line: CenterLine, reach: tuple[float, float], cross_s: float, rng: np.random.Generator) -> tuple[Mesh, ...]:
    """Return the layers in the plane of the asphalt, from below: repairs and covers, then paint."""
    paint = [_flat(on, s, d, 0.0, finish) for on, s, d, finish in _painted(line, reach, cross_s)]
    return combine(_repairs(line, reach, rng)), combine(paint)


def _painted(line: CenterLine, reach: _Span, cross_s: float) -> Iterator[tuple[CenterLine, _Span, _Span, Finish]]:
    """Yield the painted strips: line they follow, range of s, range of d, finish."""
    across = cross_line(line, cross_s)
    clear = (cross_s - CROSS.kerb - 6.2, cross_s + CROSS.kerb + 6.2)
    for span in ((reach[0], clear[0]), (clear[1], reach[1])):
        for start in np.arange(span[0], span[1] - 3.0, 6.0):
            yield line, (start, start + 3.0), (-0.07, 0.07), _YELLOW
        for side in (-1.0, 1.0):
            yield line, span, (side * MAIN.lane - 0.05, side * MAIN.lane + 0.05), _PAINT
            for start in np.arange(span[0] + 3.0, span[1], 6.4):
                yield line, (start, start + 0.1), (side * MAIN.lane, side * MAIN.kerb), _PAINT
    for start in (cross_s - CROSS.kerb - 4.6, cross_s + CROSS.kerb + 1.6):
        for d in np.arange(-MAIN.kerb + 0.35, MAIN.kerb - 0.5, 0.9):
            yield line, (start, start + 3.0), (d, d + 0.45), _PAINT
    yield line, (clear[0], clear[0] + 0.35), (-MAIN.lane, -0.1), _PAINT
    yield line, (clear[1] - 0.35, clear[1]), (0.1, MAIN.lane), _PAINT
    for direction in (-1.0, 1.0):
        stop = (direction * (MAIN.kerb + 1.0), direction * (MAIN.kerb + 1.4))
        yield across, stop, (0.1 * direction, CROSS.kerb * direction), _PAINT
        for start in np.arange(MAIN.kerb + 3.0, 90.0, 6.0):
            yield across, (direction * start, direction * (start + 3.0)), (-0.06, 0.06), _PAINT


def _flat(line: CenterLine, s: tuple[float, float], d: tuple[float, float], z: float, finish: Finish) -> Mesh:
    """Return a level strip between two values of s and two of d."""
    count = max(2, round(abs(s[1] - s[0]) / _STEP_M) + 1)
    along = np.linspace(s[0], s[1], count)
    edges = [np.concatenate([line.points(along, offset), np.full((count, 1), z)], axis=1) for offset in d]
    return quads(np.stack([edges[0][:-1], edges[0][1:], edges[1][1:], edges[1][:-1]], axis=1), finish)


def _pavements(line: CenterLine, span: tuple[float, float], section: CrossSection) -> list[Mesh]:
    parts = []
    for side in (-1.0, 1.0):
        inner, top = side * (section.kerb + 0.16), section.kerb_height
        parts.append(_flat(line, span, (side * section.kerb, inner), top, KERB))
        parts.append(_flat(line, span, (inner, side * section.pavement), top, PAVING))
        along = np.linspace(*span, max(2, round(abs(span[1] - span[0]) / _STEP_M) + 1))
        foot = line.points(along, side * section.kerb)
        wall = [np.concatenate([foot, np.full((len(foot), 1), z)], axis=1) for z in (0.0, top)]
        parts.append(quads(np.stack([wall[0][:-1], wall[0][1:], wall[1][1:], wall[1][:-1]], axis=1), KERB))
    return parts


def _repairs(line: CenterLine, reach: tuple[float, float], rng: np.random.Generator) -> list[Mesh]:
    """Return patches of newer asphalt and manhole covers."""
    parts = []
    for start in np.arange(reach[0] + 6.0, reach[1] - 12.0, 13.0):
        s, d = start + rng.uniform(0.0, 6.0), rng.uniform(-4.6, 3.0)
        length, width = rng.uniform(1.5, 6.0), rng.uniform(0.7, 1.6)
        parts.append(_flat(line, (s, s + length), (d, d + width), 0.0, _PATCH))
        s, d = start + rng.uniform(7.0, 12.0), rng.uniform(-3.0, 3.0)
        angle = np.linspace(0.0, 2 * np.pi, 18, endpoint=False)
        rim = line.points(s + 0.33 * np.cos(angle), d + 0.33 * np.sin(angle))
        parts.append(fan(np.concatenate([rim, np.zeros((18, 1))], axis=1), _COVER))
    return parts


@dataclass(frozen=True)
class Road:
    """A main street along `line` from `reach[0]` to `reach[1]`, and a cross street at `cross_s`."""

    line: CenterLine
    reach: tuple[float, float]
    cross_s: float

    @property
    def cross(self) -> CenterLine:
        """The straight line of the cross street; its s grows to the left of the main street."""
        return cross_line(self.line, self.cross_s)

    def surface_z(self, s: Any, d: Any) -> Any:
        """Return the height of the ground at road coordinates of the main street: 0, or that of the pavement."""
        is_pavement = (np.abs(d) > MAIN.kerb) & (np.abs(np.asarray(s) - self.cross_s) > CROSS.kerb)
        return np.where(is_pavement, MAIN.kerb_height, 0.0)
