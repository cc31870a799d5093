"""What lines a street and carries no label: houses, trees, lamps, signs and street furniture, placed at random."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from lift3d_ros.simulation import scenery
from lift3d_ros.simulation.buildings import building
from lift3d_ros.simulation.meshes import Mesh, combine, placed
from lift3d_ros.simulation.road import CROSS, MAIN, CenterLine, Road

_FURNITURE_D = 6.35
_CROSS_REACH_M = 100.0
_TILE_M = 30.0

IsClear = Callable[[float, float, float], bool]
"""Tells whether (s, d) of the main street is free of objects within a radius, metres."""


def surroundings(road: Road, rng: np.random.Generator, is_clear: IsClear) -> tuple[Mesh, ...]:
    """Return everything that stands beside a street, in the world frame, in pieces that lie close together."""
    gap = (road.cross_s - CROSS.pavement - 0.2, road.cross_s + CROSS.pavement + 0.2)
    parts: list[Mesh] = []
    for side in (-1.0, 1.0):
        for span in ((road.reach[0], gap[0]), (gap[1], road.reach[1])):
            parts += _row(road.line, span, side, MAIN.pavement + 0.15, rng)
        parts += _furniture(road, side, rng, is_clear)
    # Behind the corner houses of the main street, which are at most 13 m deep.
    for reach in ((-_CROSS_REACH_M, -MAIN.pavement - 14.0), (MAIN.pavement + 14.0, _CROSS_REACH_M)):
        for side in (-1.0, 1.0):
            parts += _row(road.cross, reach, side, CROSS.pavement + 0.15, rng)
    return (*_tiles(parts), scenery.skyline(rng))


def _tiles(parts: list[Mesh]) -> Iterator[Mesh]:
    """Yield the parts joined by squares of the ground, so that a renderer can leave out what is not in view."""
    tiles: dict[tuple[int, ...], list[Mesh]] = {}
    for part in parts:
        middle = (part.bounds[0] + part.bounds[1])[:2] / 2
        tiles.setdefault(tuple(np.floor(middle / _TILE_M).astype(int).tolist()), []).append(part)
    for group in tiles.values():
        yield combine(group)


def _row(
    line: CenterLine, span: tuple[float, float], side: float, front_d: float, rng: np.random.Generator
) -> list[Mesh]:
    """Return houses and gardens along one side of a street."""
    parts, s = [], span[0]
    while s < span[1] - 6.0:
        width = min(float(rng.uniform(9.0, 15.5)), span[1] - s)
        middle = s + width / 2
        if rng.random() < 0.14 and s > span[0]:
            parts.append(_on(line, scenery.hedge(width - 0.6, rng), middle, side * (front_d + 0.5)))
            for _ in range(2):
                at = s + float(rng.uniform(2.0, width - 2.0))
                parts.append(_on(line, scenery.tree(rng), at, side * (front_d + float(rng.uniform(3.0, 8.0)))))
        else:
            house = building(width - 0.04, float(rng.uniform(9.5, 13.0)), rng)
            parts.append(_on(line, house, middle, side * front_d, 0.0 if side > 0 else np.pi))
        s += width
    return parts


def _furniture(road: Road, side: float, rng: np.random.Generator, is_clear: IsClear) -> list[Mesh]:
    """Return what stands on one pavement; right of the road +y of the thing looks to the road, left -y is turned."""
    parts: list[Mesh] = []
    toward_road = 0.0 if side < 0 else np.pi

    def stand(thing: Mesh, s: float, d: float, radius: float) -> bool:
        is_junction = abs(s - road.cross_s) < CROSS.kerb + 1.2
        if is_junction or not is_clear(s, side * d, radius):
            return False
        parts.append(_on(road.line, thing, s, side * d, toward_road, MAIN.kerb_height))
        return True

    corner = road.cross_s - CROSS.kerb - 1.6 if side < 0 else road.cross_s + CROSS.kerb + 1.6
    stand(scenery.traffic_light(), corner, _FURNITURE_D - 0.1, 0.3)
    before = road.cross_s - CROSS.kerb - 8.0 if side < 0 else road.cross_s + CROSS.kerb + 8.0
    stand(scenery.sign(1), before, _FURNITURE_D - 0.1, 0.3)
    if side < 0:
        stand(scenery.shelter(), 54.0, 8.4, 1.9)
        stand(scenery.sign(2), 1.0, _FURNITURE_D - 0.1, 0.3)
    else:
        stand(scenery.shelter(), 17.0, 8.4, 1.9)
    for s in np.arange(road.reach[0] + 8.0, road.reach[1] - 8.0, 11.0):
        place = float(s + rng.uniform(-1.5, 1.5))
        far = abs(place) > 70.0
        stand(scenery.tree(rng, height=float(rng.uniform(6.4, 8.6))), place, _FURNITURE_D + 0.05, 0.0 if far else 0.35)
        if round(float(s - road.reach[0])) % 22 == 8:
            stand(scenery.lamp_post(), place + 5.2, _FURNITURE_D, 0.0 if far else 0.3)
        choice = int(rng.integers(5))
        if far or choice > 3:
            continue
        makers = (scenery.bin_, scenery.bench, scenery.hydrant, lambda: scenery.sign(0))
        depth = 8.75 if choice == 1 else _FURNITURE_D
        stand(makers[choice](), place + float(rng.uniform(2.0, 4.0)), depth, 0.9 if choice == 1 else 0.4)
    return parts


def _on(line: CenterLine, mesh: Mesh, s: float, d: float, turn: float = 0.0, z: float = 0.1) -> Mesh:
    """Return the mesh placed at (s, d) of a line."""
    x, y = line.points(s, d)
    return placed(mesh, [x, y, z], float(line.heading(s)) + turn)
