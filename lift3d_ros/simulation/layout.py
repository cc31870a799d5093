"""The plan of a place: roads with lanes and parking rows, junctions, pavements, and what may line them.

Right of a road is the side of negative d. Everything is random but has the structure of real places.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from lift3d_ros.simulation.paths import Path
from lift3d_ros.types import Float64Array

PlaceKind = Literal["town", "residential", "avenue", "open_road", "car_park"]
Parking = Literal["none", "parallel", "perpendicular", "diagonal"]
PARKING_DEPTH_M: dict[Parking, float] = {"none": 0.0, "parallel": 2.35, "perpendicular": 5.2, "diagonal": 4.9}
_CROSS_REACH_M = 95.0


@dataclass(frozen=True)
class RoadSide:
    """One half of a road, from its middle outwards, metres."""

    lanes: int
    lane_m: float
    parking: Parking = "none"
    shoulder_m: float = 0.35
    pavement_m: float = 3.0


@dataclass(frozen=True)
class Lane:
    """A lane of a road; `direction` is 1 where traffic moves towards greater s, else -1."""

    d: float
    direction: float
    width: float


@dataclass(frozen=True)
class ParkingRow:
    """Marked places beside each other along a road.

    Args:
        d: middle of the row.
        pitch: length of a place along the road, metres.
        turn: direction of a parked vehicle from that of the road, rad; it may also stand the other way round.
    """

    span: tuple[float, float]
    d: float
    pitch: float
    turn: float
    kind: Parking


@dataclass(frozen=True, eq=False)
class Road:
    """A road along a path.

    Args:
        reach: first and last s at which it is built.
        median_m: width of what divides the directions; 0 for a painted line.
        traffic: -1 where traffic keeps to the right, 1 where it keeps to the left.
        gaps: (side, first s, last s) where another road opens.
        rows: parking places.
    """

    path: Path
    reach: tuple[float, float]
    left: RoadSide
    right: RoadSide
    median_m: float = 0.0
    kerb_height: float = 0.12
    traffic: float = -1.0
    gaps: tuple[tuple[float, float, float], ...] = ()
    rows: tuple[ParkingRow, ...] = field(default=())

    def side(self, sign: float) -> RoadSide:
        """Return the left side for a positive sign, else the right one."""
        return self.left if sign > 0 else self.right

    def edge(self, sign: float) -> float:
        """Return how far the lanes reach to a side, metres."""
        side = self.side(sign)
        return self.median_m / 2 + side.lanes * side.lane_m

    def kerb(self, sign: float) -> float:
        """Return how far the asphalt reaches to a side, metres."""
        side = self.side(sign)
        return self.edge(sign) + PARKING_DEPTH_M[side.parking] + side.shoulder_m

    def front(self, sign: float) -> float:
        """Return how far the pavement reaches to a side, metres."""
        return self.kerb(sign) + self.side(sign).pavement_m

    def lanes(self) -> tuple[Lane, ...]:
        """Return all lanes."""
        lanes = []
        for sign in (-1.0, 1.0):
            side = self.side(sign)
            for i in range(side.lanes):
                d = sign * (self.median_m / 2 + (i + 0.5) * side.lane_m)
                lanes.append(Lane(d, 1.0 if sign == self.traffic else -1.0, side.lane_m))
        return tuple(lanes)

    def is_open(self, sign: float, s: Any, margin: float = 0.0) -> Any:
        """Return whether another road opens to a side at `s`, within a margin in metres."""
        s = np.asarray(s, dtype=np.float64)
        result = np.zeros(s.shape, dtype=bool)
        for side, first, last in self.gaps:
            if side == sign:
                result |= (s > first - margin) & (s < last + margin)
        return result

    def spans(self, sign: float, margin: float = 0.0) -> list[tuple[float, float]]:
        """Return the parts of the road where nothing opens to a side."""
        spans, start = [], self.reach[0]
        for _, first, last in sorted((gap for gap in self.gaps if gap[0] == sign), key=lambda gap: gap[1]):
            spans.append((start, first - margin))
            start = last + margin
        spans.append((start, self.reach[1]))
        return [span for span in spans if span[1] - span[0] > 1.0]

    def surface_z(self, s: Any, d: Any) -> Float64Array:
        """Return the height of the ground at road coordinates: 0, or that of the pavement."""
        s, d = np.broadcast_arrays(np.asarray(s, dtype=np.float64), np.asarray(d, dtype=np.float64))
        is_left = (d > self.kerb(1.0)) & ~self.is_open(1.0, s)
        is_right = (d < -self.kerb(-1.0)) & ~self.is_open(-1.0, s)
        return np.where(is_left | is_right, self.kerb_height, 0.0)


@dataclass(frozen=True, eq=False)
class Place:
    """A whole place; the first road is the one the ego vehicle starts on.

    Args:
        crossings: s of the main road at which people cross it, with the width of the marks in metres.
        cross_s: where the cross road meets the main road; None without one.
        works: span of the main road whose rightmost lane or parking row is closed; None without roadworks.
        works_side: side of the main road that is closed.
    """

    kind: PlaceKind
    roads: tuple[Road, ...]
    crossings: tuple[float, ...] = ()
    cross_s: float | None = None
    works: tuple[float, float] | None = None
    works_side: float = -1.0

    @property
    def main(self) -> Road:
        """The road of the ego vehicle."""
        return self.roads[0]


KINDS: tuple[PlaceKind, ...] = ("town", "residential", "avenue", "open_road", "car_park")
_KIND_SHARES = (0.36, 0.2, 0.18, 0.17, 0.09)
_JUNCTION_SHARES = {"town": 0.65, "residential": 0.5, "avenue": 0.5, "open_road": 0.2, "car_park": 0.1}


def random_kind(rng: np.random.Generator) -> PlaceKind:
    """Return a kind of place."""
    return KINDS[int(rng.choice(len(KINDS), p=_KIND_SHARES))]


def random_place(rng: np.random.Generator, kind: PlaceKind, ahead_m: float) -> Place:
    """Return a random place whose main road reaches well beyond `ahead_m`, the way of the ego vehicle."""
    reach = (-110.0, ahead_m + 110.0)
    path = _main_path(rng, kind, reach)
    left, right, median = _sides(rng, kind)
    traffic = -1.0 if rng.random() < 0.85 else 1.0
    kerb_height = 0.12 if kind != "open_road" else 0.03
    junction = rng.random() < _JUNCTION_SHARES[kind]
    cross_s = float(rng.uniform(14.0, ahead_m + 32.0)) if junction else None
    if junction and rng.random() < 0.15:
        cross_s = float(rng.uniform(-34.0, -8.0))
    gaps: list[tuple[float, float, float]] = []
    cross: list[Road] = []
    if cross_s is not None:
        cross, gaps = _cross_roads(rng, kind, path, cross_s, (left, right, median), traffic, kerb_height)
    works, works_side = None, 1.0 if rng.random() < 0.35 else -1.0
    if rng.random() < 0.4:
        first = float(rng.uniform(-20.0, ahead_m + 25.0))
        works = (first, first + float(rng.uniform(9.0, 26.0)))
        if cross_s is not None and works[0] - 14.0 < cross_s < works[1] + 14.0:
            works = None
    road = Road(path, reach, left, right, median, kerb_height, traffic, tuple(gaps))
    road = Road(path, reach, left, right, median, kerb_height, traffic, tuple(gaps), _rows(rng, road, kind))
    crossings: list[float] = []
    if kind in ("town", "residential", "avenue"):
        if cross_s is not None:
            half = max(gap[2] - gap[1] for gap in gaps) / 2
            crossings += [cross_s - half - 2.4, cross_s + half + 2.4]
        elif rng.random() < 0.6:
            crossings.append(float(rng.uniform(-30.0, ahead_m + 35.0)))
    return Place(kind, (road, *cross), tuple(crossings), cross_s, works, works_side)


def _main_path(rng: np.random.Generator, kind: PlaceKind, reach: tuple[float, float]) -> Path:
    start = (0.0, 0.0, float(rng.uniform(-np.pi, np.pi)))
    if kind == "car_park" or rng.random() < 0.3:
        return Path.bent(start, reach, [[0.0, 0.0]])
    least = {"town": 110.0, "residential": 60.0, "avenue": 140.0, "open_road": 80.0}[kind]
    places = np.arange(reach[0], reach[1] + 60.0, float(rng.uniform(45.0, 90.0)))
    bends = rng.uniform(-1.0, 1.0, len(places)) / least
    if rng.random() < 0.5:
        bends[:] = bends[0]
    return Path.bent(start, reach, np.stack([places, bends], axis=1))


def _sides(rng: np.random.Generator, kind: PlaceKind) -> tuple[RoadSide, RoadSide, float]:
    if kind == "car_park":
        lane = float(rng.uniform(2.9, 3.4))
        parking: Parking = "perpendicular" if rng.random() < 0.65 else "diagonal"
        # Three rows of places with an aisle between them, then a path.
        side = RoadSide(1, lane, parking, 2 * PARKING_DEPTH_M[parking] + 7.0, 2.0)
        return side, side, 0.0
    lanes = {"town": (1, 1, 1, 2), "residential": (1,), "avenue": (2, 2, 3), "open_road": (1, 1, 2)}[kind]
    count = int(rng.choice(lanes))
    lane = float(rng.uniform(2.9, 3.2) if kind == "residential" else rng.uniform(3.2, 3.75))
    median = 0.0
    if kind == "avenue" and rng.random() < 0.55:
        median = float(rng.uniform(1.2, 4.0))
    kinds: tuple[Parking, ...] = ("none", "parallel", "perpendicular", "diagonal")
    chances = {
        "town": (0.22, 0.52, 0.13, 0.13), "residential": (0.25, 0.6, 0.1, 0.05),
        "avenue": (0.5, 0.4, 0.05, 0.05), "open_road": (0.9, 0.1, 0.0, 0.0),
    }[kind]  # fmt: skip
    pair = []
    for _ in range(2):
        parking = kinds[int(rng.choice(4, p=chances))]
        shoulder = float(rng.uniform(0.5, 2.0) if kind == "open_road" else rng.uniform(0.3, 0.7))
        if kind in ("town", "avenue") and rng.random() < 0.2:
            shoulder += 1.5  # room for bicycles
        pavement = 0.0 if kind == "open_road" and rng.random() < 0.7 else float(rng.uniform(2.2, 5.0))
        pair.append(RoadSide(count, lane, parking, shoulder, pavement))
    return pair[0], pair[1], median


def _cross_roads(
    rng: np.random.Generator,
    kind: PlaceKind,
    path: Path,
    cross_s: float,
    main: tuple[RoadSide, RoadSide, float],
    traffic: float,
    kerb_height: float,
) -> tuple[list[Road], list[tuple[float, float, float]]]:
    """Return the one or two arms of the cross road, each starting at the kerb of the main road, and its gaps."""
    lanes = 2 if kind == "avenue" and rng.random() < 0.5 else 1
    lane = float(rng.uniform(2.9, 3.4))
    pavement = 0.0 if min(main[0].pavement_m, main[1].pavement_m) == 0.0 else float(rng.uniform(2.0, 3.5))
    parking: Parking = "parallel" if rng.random() < 0.4 and kind != "open_road" else "none"
    side = RoadSide(lanes, lane, parking, float(rng.uniform(0.3, 0.8)), pavement)
    x, y = path.points(cross_s, 0.0)
    arms = (1.0, -1.0) if rng.random() < 0.6 else ((1.0,) if rng.random() < 0.5 else (-1.0,))
    whole = Road(path, (0.0, 1.0), main[0], main[1], main[2])
    roads, gaps = [], []
    for sign in arms:
        heading = float(path.headings(cross_s)) + sign * np.pi / 2
        start_s = whole.kerb(sign)
        arm = Path.bent((float(x), float(y), heading), (-30.0, _CROSS_REACH_M), [[0.0, 0.0]])
        road = Road(arm, (start_s, _CROSS_REACH_M), side, side, 0.0, kerb_height, traffic)
        # No parking where the vehicles wait.
        if parking != "none":
            span = (start_s + 14.0, _CROSS_REACH_M - 5.0)
            rows = tuple(
                ParkingRow(span, t * (road.edge(t) + side.shoulder_m + 1.17), 6.2, 0.0, "parallel") for t in (-1.0, 1.0)
            )
            road = Road(arm, (start_s, _CROSS_REACH_M), side, side, 0.0, kerb_height, traffic, (), rows)
        half = road.kerb(1.0)
        gaps.append((sign, cross_s - half, cross_s + half))
        roads.append(road)
    return roads, gaps


def _rows(rng: np.random.Generator, road: Road, kind: PlaceKind) -> tuple[ParkingRow, ...]:
    rows = []
    lean = float(rng.uniform(0.7, 1.1))
    for sign in (-1.0, 1.0):
        parking = road.side(sign).parking
        if parking == "none":
            continue
        depth = PARKING_DEPTH_M[parking]
        turn = {"parallel": 0.0, "perpendicular": np.pi / 2, "diagonal": sign * lean}[parking]
        pitch = {"parallel": 6.1, "perpendicular": 2.65, "diagonal": 2.75 / np.sin(lean)}[parking]
        for span in road.spans(sign, 7.0):
            d = road.edge(sign) + depth / 2 + (0.3 if kind == "car_park" else road.side(sign).shoulder_m)
            rows.append(ParkingRow(span, sign * d, pitch, turn, parking))
            if kind == "car_park":
                # The next rows: back to back with the first one, then one across the next aisle.
                further = [sign * (d + offset) for offset in (depth + 0.3, 2 * depth + 6.6)]
                rows += [ParkingRow(span, place, pitch, turn, parking) for place in further]
    return tuple(rows)
