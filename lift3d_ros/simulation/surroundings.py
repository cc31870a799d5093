"""What lines a place and carries no label: houses, trees, hedges, lamps, signs, furniture and clutter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from lift3d_ros.simulation import ready_made, scenery
from lift3d_ros.simulation.layout import Place, Road
from lift3d_ros.simulation.mesh_library import MeshLibrary
from lift3d_ros.simulation.meshes import Mesh, combine, placed
from lift3d_ros.simulation.occupancy import Occupancy
from lift3d_ros.simulation.weather import Lamp, street_lamp
from lift3d_ros.types import Float64Array, UInt8Array

_TILE_M = 40.0
_LAMP_Z_M = 6.75
_BESIDE_EGO_M = 1.3


_Part = tuple[float, float, Mesh]
"""A thing in the world frame, and x and y of its place."""


class Surroundings:
    """Builds the unlabelled part of one scene."""

    def __init__(
        self,
        rng: np.random.Generator,
        place: Place,
        occupancy: Occupancy,
        ego_way: Occupancy,
        library: MeshLibrary | None,
        near_span: tuple[float, float],
    ) -> None:
        """Take what is needed to keep clear of objects; details are left out beyond `near_span` of the main road."""
        self._rng, self._place, self._occupancy, self._library = rng, place, occupancy, library
        self._ego_way = ego_way
        self._near = near_span
        self._parts: list[_Part] = []
        self.lamps: list[Lamp] = []
        self._is_warm = bool(rng.random() < 0.6)
        self._tree_share = float(rng.uniform(0.3, 1.0))

    def meshes(self) -> tuple[Mesh, ...]:
        """Return everything in the world frame, in pieces that lie close together."""
        place = self._place
        for number, road in enumerate(place.roads):
            for sign in (-1.0, 1.0):
                margin = 0.0 if number else max(side.pavement_m for side in (road.left, road.right))
                for span in road.spans(sign, margin) if number == 0 else [self._arm_span(road)]:
                    self._line(road, span, sign)
        for sign in (-1.0, 1.0):
            self._furnish(place.main, sign)
        self._background()
        self._far_woods()
        return tuple(_tiles(self._parts))

    def _arm_span(self, road: Road) -> tuple[float, float]:
        """Return where houses may stand along an arm: behind those that line the main road."""
        front = max(self._place.main.front(sign) for sign in (-1.0, 1.0))
        return max(front + 15.0, road.reach[0] + 15.0), road.reach[1]

    # Houses and gardens

    def _line(self, road: Road, span: tuple[float, float], sign: float) -> None:
        """Line one side of a road."""
        rng, kind = self._rng, self._place.kind
        built = {"town": 0.9, "residential": 0.75, "avenue": 0.65, "open_road": 0.12, "car_park": 0.45}[kind]
        setback = {"town": 0.15, "residential": 5.5, "avenue": 1.5, "open_road": 9.0, "car_park": 3.0}[kind]
        setback += float(rng.uniform(0.0, 3.0)) if kind != "town" else 0.0
        s = span[0] + 0.5
        while s < span[1] - 7.0:
            width = min(float(rng.uniform(9.0, 17.0)), span[1] - s)
            middle, d = s + width / 2, road.front(sign) + setback
            if rng.random() > built or not self._house(road, middle, sign, d, width):
                self._garden(road, s, width, sign, road.front(sign) + 0.5)
            if kind in ("residential", "open_road") and rng.random() < 0.5:
                self._hedge(road, middle, sign, road.front(sign) + 0.5, width * float(rng.uniform(0.4, 0.8)))
            s += width + (float(rng.uniform(1.0, 7.0)) if kind != "town" or rng.random() < 0.12 else 0.0)

    def _house(self, road: Road, s: float, sign: float, d: float, width: float) -> bool:
        """Put a house beside the road; tell whether there is room."""
        rng = self._rng
        entry = self._library.pick("building", rng) if self._library is not None else None
        if entry is not None and rng.random() < 0.35:
            mesh = entry.flat
            lower, upper = ready_made.bounds_of(mesh)
            scale = np.array([1.0, 1.0, 1.0]) * float(rng.uniform(0.9, 1.5))
            size = (upper - lower) * scale
            if max(size[:2]) < width + 2.0:
                mesh = _resized(mesh, scale, _tinted(mesh, rng))
                turn = float(rng.choice([0.0, np.pi / 2, np.pi, -np.pi / 2]))
                return self._put(road, mesh, s, sign * (d + max(size[:2]) / 2), turn, float(max(size[:2])) / 2 + 0.3)
        low = self._place.kind in ("residential", "open_road")
        mesh = ready_made.house(low, int(rng.integers(ready_made.VARIANTS)))
        lower, upper = ready_made.bounds_of(mesh)
        stretch = np.array([width / (upper[0] - lower[0]), 1.0, float(rng.uniform(0.9, 1.12))])
        mesh = _resized(mesh, stretch, _tinted(mesh, rng))
        depth = float(upper[1])
        if not self._is_clear(road, s, sign * (d + depth / 2), depth / 2 + 0.3, width / 2):
            return False
        turn = 0.0 if sign > 0 else np.pi
        self._parts.append(self._on(road, mesh, s, sign * d, turn, road.kerb_height - 0.02))
        return True

    def _garden(self, road: Road, s: float, width: float, sign: float, d: float) -> None:
        rng = self._rng
        for _ in range(int(rng.integers(1, 5))):
            at, depth = s + float(rng.uniform(0.5, width - 0.5)), d + float(rng.uniform(1.0, 16.0))
            self._tree(road, at, sign * depth, 0.6)

    def _tree(self, road: Road, s: float, d: float, clear: float) -> None:
        rng = self._rng
        entry = self._library.pick("tree", rng) if self._library is not None else None
        is_from_library = entry is not None and rng.random() < 0.45
        mesh = (
            entry.flat
            if entry is not None and is_from_library
            else ready_made.tree(int(rng.integers(ready_made.VARIANTS)))
        )
        scale = float(rng.uniform(0.75, 1.3))
        mesh = _resized(mesh, scale, _tinted(mesh, rng))
        x, y = road.path.points(s, d).tolist()
        # A crown right beside a camera hides everything else.
        if self._ego_way.is_clear(x, y, 1.8 + 1.2 * scale):
            self._put(road, mesh, s, d, float(rng.uniform(0.0, 6.28)), clear)

    def _hedge(self, road: Road, s: float, sign: float, d: float, length: float) -> None:
        mesh = ready_made.hedge(int(self._rng.integers(6)), 4)
        scale = np.array([length / 4.0, 1.0, float(self._rng.uniform(0.6, 1.6))])
        mesh = _resized(mesh, scale, mesh.colors)
        if self._is_clear(road, s, sign * d, 0.5, length / 2):
            self._parts.append(self._on(road, mesh, s, sign * d, 0.0, road.kerb_height - 0.02))

    # Street furniture

    def _furnish(self, road: Road, sign: float) -> None:
        rng, place = self._rng, self._place
        toward_road = np.pi if sign > 0 else 0.0
        d = road.kerb(sign) + 0.55
        along_traffic = 1.0 if sign == road.traffic else -1.0
        facing = 0.0 if along_traffic > 0 else np.pi
        if place.cross_s is not None and place.kind in ("town", "avenue") and rng.random() < 0.7:
            half = max(gap[2] - gap[1] for gap in road.gaps) / 2 + 1.6
            for s in (place.cross_s - half, place.cross_s + half):
                self._put(
                    road, self._library_or(ready_made.traffic_light(), "traffic_light"), s, sign * d, facing, 0.35
                )
        for s in place.crossings:
            if rng.random() < 0.6:
                self._put(road, ready_made.sign(1), s - 2.2 * along_traffic, sign * d, facing, 0.3)
        lamp_pitch = float(rng.uniform(20.0, 34.0))
        start = float(rng.uniform(0.0, lamp_pitch))
        if place.kind != "open_road" or rng.random() < 0.4:
            for s in np.arange(road.reach[0] + start, road.reach[1] - 5.0, lamp_pitch):
                if sign < 0 and place.kind not in ("town", "avenue"):
                    continue
                if self._put(road, ready_made.lamp_post(), float(s), sign * d, toward_road, 0.3):
                    x, y = road.path.points(float(s), sign * (d - scenery.LAMP_REACH_M))
                    self.lamps.append(street_lamp((float(x), float(y), _LAMP_Z_M), is_warm=self._is_warm))
        pitch = float(rng.uniform(7.0, 13.0))
        for s in np.arange(self._near[0] - 20.0, self._near[1] + 20.0, pitch):
            at = float(s + rng.uniform(-2.5, 2.5))
            if rng.random() < self._tree_share * 0.8:
                depth = d + 0.2 if road.side(sign).pavement_m > 0 else d + float(rng.uniform(1.5, 6.0))
                self._tree(road, at, sign * depth, 0.5)
            for _ in range(int(rng.integers(0, 3))):
                self._clutter(road, at + float(rng.uniform(1.0, pitch - 1.0)), sign, d, facing, toward_road)
        if place.kind == "open_road" and rng.random() < 0.45:
            self._guard_rail(road, sign)

    def _clutter(self, road: Road, s: float, sign: float, d: float, facing: float, toward_road: float) -> None:
        """Put one thing on the pavement or the verge."""
        rng = self._rng
        room = max(road.side(sign).pavement_m, 1.5)
        choice = int(rng.integers(10))
        if choice == 0:
            self._put(road, ready_made.thing("bench"), s, sign * (d + room - 1.2), toward_road, 0.9)
        elif choice == 1:
            self._put(road, ready_made.thing("bin"), s, sign * d, toward_road, 0.4)
        elif choice == 2:
            self._put(road, ready_made.thing("hydrant"), s, sign * d, toward_road, 0.35)
        elif choice in (3, 4):
            mesh = self._library_or(ready_made.sign(int(rng.choice([0, 2, 3]))), "sign")
            self._put(road, mesh, s, sign * d, facing + float(rng.normal(0.0, 0.1)), 0.35)
        elif choice == 5:
            for i in range(int(rng.integers(2, 6))):
                self._put(road, ready_made.thing("bollard"), s + 1.4 * i, sign * (d - 0.15), 0.0, 0.2)
        elif choice == 6:
            scale = float(rng.uniform(0.6, 1.2))
            mesh = ready_made.thing("cabinet")
            mesh = _resized(mesh, scale, _tinted(mesh, rng))
            self._put(road, mesh, s, sign * (d + room - 0.8), toward_road, 0.6)
        elif choice == 7:
            for i in range(int(rng.integers(1, 4))):
                at = (s + 0.75 * i, sign * (d + float(rng.uniform(0.3, room))))
                self._put(road, ready_made.thing("crate"), at[0], at[1], float(rng.uniform(0.0, 3.0)), 0.5)
        elif choice == 8:
            self._put(
                road, self._library_or(ready_made.thing("bin"), "street_furniture"), s, sign * (d + 0.3), 0.0, 1.0
            )
        else:
            self._put(road, ready_made.thing("shelter"), s, sign * (d + room - 1.0), toward_road, 2.1)

    def _guard_rail(self, road: Road, sign: float) -> None:
        d = road.kerb(sign) + 0.6
        for s in np.arange(self._near[0] - 20.0, self._near[1] + 20.0, 4.0):
            self._put(road, ready_made.thing("rail"), float(s), sign * d, 0.0, 1.0, flat_radius=0.35)

    def _background(self) -> None:
        """Put groves and houses behind what lines the road, so that gaps do not open on bare land."""
        rng, road = self._rng, self._place.main
        first, last = self._near[0] - 30.0, self._near[1] + 30.0
        for _ in range(round((last - first) / 9.0)):
            s, sign = float(rng.uniform(first, last)), 1.0 if rng.random() < 0.5 else -1.0
            d = sign * (road.front(sign) + float(rng.uniform(20.0, 75.0)))
            if rng.random() < 0.7:
                mesh = ready_made.grove(int(rng.integers(12)))
                self._put(road, _resized(mesh, rng.uniform(0.8, 1.3), _tinted(mesh, rng)), s, d, 0.0, 7.0)
            elif self._place.kind != "open_road" or rng.random() < 0.3:
                mesh = ready_made.house(self._place.kind == "residential", int(rng.integers(ready_made.VARIANTS)))
                turn = float(rng.choice([0.0, np.pi / 2, np.pi, -np.pi / 2]))
                self._put(road, _resized(mesh, np.ones(3), _tinted(mesh, rng)), s, d, turn, 9.0)

    def _far_woods(self) -> None:
        middle = self._place.main.path.points(sum(self._near) / 2, 0.0)
        mesh = ready_made.skyline(int(self._rng.integers(4)))
        x, y = middle.tolist()
        self._parts.append((x, y, placed(mesh, [x, y, 0.0])))

    # Common

    def _library_or(self, mesh: Mesh, class_name: str) -> Mesh:
        entry = self._library.pick(class_name, self._rng) if self._library is not None else None
        return entry.flat if entry is not None and self._rng.random() < 0.5 else mesh

    def _put(
        self, road: Road, mesh: Mesh, s: float, d: float, turn: float, clear: float, flat_radius: float | None = None
    ) -> bool:
        """Place a thing unless something labelled, another road or the crossing of one is in its way; tell which."""
        sign = 1.0 if d > 0 else -1.0
        radius = clear if flat_radius is None else flat_radius
        if road is self._place.main and bool(road.is_open(sign, s, clear + 0.6)):
            return False
        if abs(d) - radius < road.kerb(sign) - 0.1 and flat_radius is None and clear > 0.6:
            return False
        if not self._is_clear(road, s, d, radius, 0.0):
            return False
        self._parts.append(self._on(road, mesh, s, d, turn, float(road.surface_z(s, d))))
        return True

    def _is_clear(self, road: Road, s: float, d: float, radius: float, half_length: float) -> bool:
        steps = np.arange(-half_length, half_length + 0.01, max(radius, 0.5)) if half_length else np.zeros(1)
        for step in steps:
            x, y = road.path.points(s + step, d)
            if not self._occupancy.is_clear(float(x), float(y), radius) or self._is_on_other_road(road, x, y, radius):
                return False
            if not self._ego_way.is_clear(float(x), float(y), radius + _BESIDE_EGO_M):
                return False
        return True

    def _is_on_other_road(self, road: Road, x: Float64Array, y: Float64Array, radius: float) -> bool:
        for other in self._place.roads:
            if other is road:
                continue
            low, high = other.reach
            along = np.arange(low, high, 3.0)
            line = other.path.points(along, 0.0)
            distance = np.hypot(line[:, 0] - x, line[:, 1] - y).min()
            if distance < max(other.kerb(1.0), other.kerb(-1.0)) + radius:
                return True
        return False

    def _on(self, road: Road, mesh: Mesh, s: float, d: float, turn: float, z: float) -> _Part:
        x, y = road.path.points(s, d).tolist()
        return x, y, placed(mesh, [x, y, z], float(road.path.headings(s)) + turn)


def _tiles(parts: list[_Part]) -> Iterator[Mesh]:
    """Yield the parts joined by squares of the ground, so that a renderer can leave out what is not in view."""
    tiles: dict[tuple[int, ...], list[Mesh]] = {}
    for x, y, part in parts:
        # A mesh has one texture at most.
        texture = 0 if part.texture is None else id(part.texture)
        tiles.setdefault((texture, int(x // _TILE_M), int(y // _TILE_M)), []).append(part)
    for group in tiles.values():
        yield combine(group)


def _resized(mesh: Mesh, scale: Any, colors: UInt8Array) -> Mesh:
    positions = (mesh.positions * np.asarray(scale)).astype(np.float32)
    return replace(mesh, positions=positions, colors=colors)


def _tinted(mesh: Mesh, rng: np.random.Generator) -> UInt8Array:
    """Return the colours of a mesh, all multiplied by one random tint."""
    tint = np.append(np.clip(rng.normal(1.0, 0.08, 3) * rng.uniform(0.85, 1.12), 0.6, 1.4), 1.0)
    return np.asarray(np.clip(mesh.colors * tint, 0, 255), dtype=np.uint8)
