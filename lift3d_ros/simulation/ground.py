"""Surfaces of a place: asphalt, kerbs, pavements, medians, grass, and the marks painted on the asphalt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lift3d_ros.simulation.layout import Place, Road
from lift3d_ros.simulation.meshes import Color, Finish, Material, Mesh, combine, fan, quads
from lift3d_ros.simulation.paths import Path
from lift3d_ros.types import Float64Array

_STEP_M = 2.0
_LAND_M = 330.0

_Span = tuple[float, float]


@dataclass(frozen=True)
class GroundLook:
    """Finishes of the surfaces of one place."""

    asphalt: Finish
    paving: Finish
    kerb: Finish
    land: Finish
    verge: Finish
    paint: Finish
    middle_paint: Finish
    patch: Finish


_LAND: tuple[Finish, ...] = (
    Finish((92, 118, 58), Material.GRASS), Finish((112, 124, 66), Material.GRASS),
    Finish((138, 126, 84), Material.GRASS), Finish((124, 108, 86), Material.GRASS),
    Finish((84, 104, 62), Material.GRASS),
)  # fmt: skip
_PAVINGS: tuple[Finish, ...] = (
    Finish((158, 153, 144), Material.PAVING), Finish((176, 172, 166), Material.PAVING),
    Finish((150, 132, 118), Material.PAVING), Finish((128, 128, 130), Material.ASPHALT),
    Finish((186, 180, 168), Material.PLASTER), Finish((166, 120, 104), Material.PAVING),
)  # fmt: skip


def random_look(rng: np.random.Generator) -> GroundLook:
    """Return random colours of the ground."""
    tone = float(rng.uniform(78, 132))
    tint = rng.normal(0.0, 2.5, 3)
    worn = float(rng.uniform(150, 235))
    yellow = (214.0, 176.0, 70.0) if rng.random() < 0.5 else (worn, worn, worn - 6)
    return GroundLook(
        asphalt=Finish(_color(tone + tint), Material.ASPHALT),
        paving=_PAVINGS[int(rng.integers(len(_PAVINGS)))],
        kerb=Finish(_color(float(rng.uniform(140, 190)) + tint), Material.PLASTER),
        land=_LAND[int(rng.integers(len(_LAND)))],
        verge=_LAND[int(rng.integers(len(_LAND)))],
        paint=Finish(_color(np.array([worn, worn, worn - 5.0])), Material.ASPHALT),
        middle_paint=Finish(_color(np.array(yellow) * float(rng.uniform(0.8, 1.0))), Material.ASPHALT),
        patch=Finish(_color(tone * float(rng.uniform(0.75, 1.15)) + tint), Material.ASPHALT),
    )


def _color(values: Float64Array) -> Color:
    red, green, blue = np.clip(np.round(values), 0, 255).astype(int).tolist()
    return red, green, blue


def ground(place: Place, look: GroundLook) -> Mesh:
    """Return all solid surfaces in the world frame."""
    parts = []
    for road in place.roads:
        width = (-road.kerb(-1.0), road.kerb(1.0))
        parts.append(_strip(road.path, road.reach, width, 0.0, look.asphalt))
        for sign in (-1.0, 1.0):
            spans = road.spans(sign)
            for span in spans:
                parts += _beside(road, sign, span, look)
        if road.median_m > 1.0:
            parts += _median(road, place, look)
    angle = np.linspace(0.0, 2 * np.pi, 48, endpoint=False)
    middle = place.main.path.points((place.main.reach[0] + place.main.reach[1]) / 2, 0.0)
    rim = np.stack([_LAND_M * np.cos(angle), _LAND_M * np.sin(angle), 0.0 * angle - 0.06], axis=1)
    return combine([*parts, fan(rim + np.array([*middle, 0.0]), look.land)])


def _beside(road: Road, sign: float, span: _Span, look: GroundLook) -> list[Mesh]:
    side, kerb, top = road.side(sign), road.kerb(sign), road.kerb_height
    parts = []
    if side.pavement_m > 0:
        parts.append(_strip(road.path, span, (sign * kerb, sign * (kerb + 0.15)), top, look.kerb))
        parts.append(_strip(road.path, span, (sign * (kerb + 0.15), sign * road.front(sign)), top, look.paving))
        parts.append(_wall(road.path, span, sign * kerb, top, look.kerb))
        parts.append(_strip(road.path, span, (sign * road.front(sign), sign * (road.front(sign) + 14.0)), top - 0.02,
                            look.verge))  # fmt: skip
    else:
        parts.append(_strip(road.path, span, (sign * kerb, sign * (kerb + 14.0)), -0.03, look.verge))
    return parts


def _median(road: Road, place: Place, look: GroundLook) -> list[Mesh]:
    half, parts, spans = road.median_m / 2 - 0.25, [], [road.reach]
    if place.cross_s is not None:
        clear = max(gap[2] - gap[1] for gap in road.gaps) / 2 + 5.0
        spans = [(road.reach[0], place.cross_s - clear), (place.cross_s + clear, road.reach[1])]
    for span in spans:
        if span[1] - span[0] > 2.0:
            parts.append(_strip(road.path, span, (-half, half), 0.14, look.verge))
            parts += [_wall(road.path, span, d, 0.14, look.kerb) for d in (-half, half)]
            parts += [_strip(road.path, span, (d, d * 0.86), 0.145, look.kerb) for d in (-half, half)]
    return parts


def marks(place: Place, look: GroundLook, rng: np.random.Generator) -> tuple[Mesh, ...]:
    """Return the layers in the plane of the asphalt, from below: repairs and covers, then paint."""
    strips = _Strips()
    for number, road in enumerate(place.roads):
        clear = 7.0 if place.crossings else 2.0
        spans = [road.reach] if number else _without(road, clear)
        if number:
            spans = [(road.reach[0] + clear * 0.6, road.reach[1])]
        is_bare = place.kind == "residential" and rng.random() < 0.4
        for span in spans:
            if place.kind != "car_park" and not is_bare:
                _paint_lanes(strips, road, span, look, rng.random() < 0.5)
        for row in road.rows:
            _paint_places(strips, road, row.span, row.d, row.pitch, row.turn, row.kind, look)
        if number and place.kind != "car_park" and not is_bare:
            stop = (road.reach[0] + 2.6, road.reach[0] + 3.0)
            into = -road.traffic  # side of the lanes that lead to the junction
            strips.add(road.path, stop, (0.1 * into, road.edge(into) * into), look.paint)
    road = place.main
    for s in place.crossings:
        width = (-road.kerb(-1.0), road.kerb(1.0))
        if rng.random() < 0.75:
            for d in np.arange(width[0] + 0.35, width[1] - 0.4, 0.95):
                strips.add(road.path, (s - 1.5, s + 1.5), (d, d + 0.5), look.paint)
        else:
            for at in (s - 1.5, s + 1.3):
                strips.add(road.path, (at, at + 0.2), width, look.paint)
    return combine(_repairs(road, look, rng)), strips.mesh()


def _without(road: Road, clear: float) -> list[_Span]:
    """Return the parts of a road away from any opening."""
    spans, start = [], road.reach[0]
    for first, last in sorted({(gap[1], gap[2]) for gap in road.gaps}):
        spans.append((start, first - clear))
        start = last + clear
    spans.append((start, road.reach[1]))
    return [span for span in spans if span[1] - span[0] > 3.0]


class _Strips:
    """Collects painted rectangles along paths, by finish."""

    def __init__(self) -> None:
        self._corners: dict[Finish, list[Float64Array]] = {}

    def add(self, path: Path, s: _Span, d: _Span, finish: Finish) -> None:
        count = max(2, round(abs(s[1] - s[0]) / _STEP_M) + 1)
        along = np.linspace(s[0], s[1], count)
        self.add_many(path, along[:-1], along[1:], d, finish)

    def add_many(self, path: Path, first: Float64Array, last: Float64Array, d: _Span, finish: Finish) -> None:
        """Add rectangles between pairs of s."""
        corners = [path.points(s, offset) for s, offset in ((first, d[0]), (last, d[0]), (last, d[1]), (first, d[1]))]
        flat = np.stack(corners, axis=1)
        self._corners.setdefault(finish, []).append(np.concatenate([flat, np.zeros((*flat.shape[:2], 1))], axis=2))

    def add_quad(self, path: Path, places: list[tuple[float, float]], finish: Finish) -> None:
        flat = path.points(np.array([s for s, _ in places]), np.array([d for _, d in places]))
        self._corners.setdefault(finish, []).append(np.concatenate([flat, np.zeros((4, 1))], axis=1)[None])

    def mesh(self) -> Mesh:
        if not self._corners:  # a speck far below keeps the layer from being empty
            return quads([[[0, 0, -9], [0.01, 0, -9], [0.01, 0.01, -9], [0, 0.01, -9]]], Finish((0, 0, 0)))
        return combine(quads(np.concatenate(parts), finish) for finish, parts in self._corners.items())


def _paint_lanes(strips: _Strips, road: Road, span: _Span, look: GroundLook, is_double: bool) -> None:
    dashes = np.arange(span[0], span[1] - 3.0, 7.5)
    if road.median_m == 0.0:
        if is_double or road.left.lanes > 1:
            for d in (-0.16, 0.06):
                strips.add(road.path, span, (d, d + 0.1), look.middle_paint)
        else:
            strips.add_many(road.path, dashes, dashes + 3.0, (-0.06, 0.06), look.middle_paint)
    for sign in (-1.0, 1.0):
        side = road.side(sign)
        for i in range(1, side.lanes):
            d = sign * (road.median_m / 2 + i * side.lane_m)
            strips.add_many(road.path, dashes, dashes + 3.0, (d - 0.06, d + 0.06), look.paint)
        edge = sign * road.edge(sign)
        if side.shoulder_m > 0.45:
            strips.add(road.path, span, (edge - 0.06, edge + 0.06), look.paint)


def _paint_places(
    strips: _Strips, road: Road, span: _Span, d: float, pitch: float, turn: float, kind: str, look: GroundLook
) -> None:
    borders = np.arange(span[0], span[1] + 0.01, pitch)
    if kind == "parallel":
        strips.add_many(road.path, borders - 0.05, borders + 0.05, (d - 1.1, d + 1.1), look.paint)
        return
    half = 2.4
    slope = 0.0 if kind == "perpendicular" else half / np.tan(turn)
    low, high = borders - slope, borders + slope
    corners = []
    for s, offset in ((low - 0.05, -half), (low + 0.05, -half), (high + 0.05, half), (high - 0.05, half)):
        corners.append(road.path.points(s, d + offset))
    flat = np.stack(corners, axis=1)
    strips._corners.setdefault(look.paint, []).append(np.concatenate([flat, np.zeros((*flat.shape[:2], 1))], axis=2))


def _repairs(road: Road, look: GroundLook, rng: np.random.Generator) -> list[Mesh]:
    """Return patches of other asphalt and manhole covers."""
    parts, width = [], (-road.edge(-1.0) + 0.3, road.edge(1.0) - 0.3)
    cover = Finish((82, 80, 78), Material.ASPHALT)
    period = float(rng.uniform(9.0, 30.0))
    for start in np.arange(road.reach[0] + 2.0, road.reach[1] - period, period):
        s, d = start + rng.uniform(0.0, 5.0), rng.uniform(*width)
        length, across = rng.uniform(1.0, 7.0), min(float(rng.uniform(0.5, 2.2)), width[1] - d + 0.25)
        parts.append(_strip(road.path, (s, s + length), (d, d + across), 0.0, look.patch))
        s, d = start + rng.uniform(0.4 * period, 0.9 * period), rng.uniform(*width)
        angle = np.linspace(0.0, 2 * np.pi, 14, endpoint=False)
        rim = road.path.points(s + 0.33 * np.cos(angle), d + 0.33 * np.sin(angle))
        parts.append(fan(np.concatenate([rim, np.zeros((14, 1))], axis=1), cover))
    return parts


def _strip(path: Path, s: _Span, d: _Span, z: float, finish: Finish) -> Mesh:
    """Return a level strip between two values of s and two of d."""
    count = max(2, round(abs(s[1] - s[0]) / _STEP_M) + 1)
    along = np.linspace(s[0], s[1], count)
    edges = [np.concatenate([path.points(along, offset), np.full((count, 1), z)], axis=1) for offset in d]
    return quads(np.stack([edges[0][:-1], edges[0][1:], edges[1][1:], edges[1][:-1]], axis=1), finish)


def _wall(path: Path, s: _Span, d: float, height: float, finish: Finish) -> Mesh:
    count = max(2, round(abs(s[1] - s[0]) / _STEP_M) + 1)
    foot = path.points(np.linspace(s[0], s[1], count), d)
    rows = [np.concatenate([foot, np.full((count, 1), z)], axis=1) for z in (-0.02, height)]
    return quads(np.stack([rows[0][:-1], rows[0][1:], rows[1][1:], rows[1][:-1]], axis=1), finish)
