"""Roadworks of a scene, and barriers and cones that stand without them."""

from __future__ import annotations

import numpy as np

from lift3d_ros.simulation.passersby import standing
from lift3d_ros.simulation.population import Population
from lift3d_ros.simulation.traffic import at_roadside


def in_works(scene: Population, name: str) -> None:
    """Put a machine into the roadworks."""
    rng = scene.rng
    if scene.place.works is None:
        at_roadside(scene, name)
        return
    span, sign, inner, outer = _works_area(scene)
    user = scene.supply.make(name, rng)
    d = sign * max((inner + outer) / 2, inner + user.size[1] / 2 + 0.4)
    turn = float(rng.choice([0.0, np.pi, 0.3, -0.25])) + float(rng.normal(0.0, 0.1))
    scene.add(name, scene.at_rest(float(rng.uniform(*span)), d, turn), user)


def works_barrier(scene: Population, name: str) -> None:
    """Close the ends of the works and its edge towards the traffic."""
    rng = scene.rng
    span, sign, inner, outer = _works_area(scene)
    if rng.random() < 0.35:
        s = span[0] if rng.random() < 0.5 else span[1]
        scene.add(name, scene.at_rest(s, sign * float(rng.uniform(inner + 1.2, outer)), 0.0))
        return
    user = scene.supply.make(name, rng)
    s = span[0] + float(rng.integers(1, 6)) * (user.size[1] + 0.15)
    for i in range(int(rng.integers(2, 5))):
        at = s + i * (user.size[1] + 0.15)
        if at < span[1]:
            turn = np.pi / 2 + float(rng.normal(0.0, 0.04))
            scene.add(name, scene.at_rest(at, sign * (inner + 0.35), turn), user)


def works_cone(scene: Population, name: str) -> None:
    """Lead the traffic past the works."""
    rng = scene.rng
    span, sign, inner, _ = _works_area(scene)
    forward = 1.0 if sign == scene.road.traffic else -1.0
    first, last = span if forward > 0 else (span[1], span[0])
    user, count = scene.supply.make(name, rng), int(rng.integers(3, 7))
    start = float(rng.uniform(-12.0, abs(last - first)))
    for i in range(count):
        along = start + 2.2 * i
        d = inner + 0.12 + max(-along, 0.0) * 0.25
        turn = float(rng.uniform(-np.pi, np.pi))
        scene.add(name, scene.at_rest(first + forward * along, sign * d, turn), user)


def worker(scene: Population, name: str) -> None:
    """Let someone stand in the roadworks."""
    rng = scene.rng
    if scene.place.works is None:
        standing(scene, name)
        return
    span, sign, inner, outer = _works_area(scene)
    d = sign * float(rng.uniform(inner + 0.6, outer))
    turn = float(rng.uniform(-np.pi, np.pi))
    scene.add(name, scene.at_rest(float(rng.uniform(*span)), d, turn))


def barrier_row(scene: Population, name: str) -> None:
    """Line the kerb or the median with barriers of one kind."""
    rng, sign = scene.rng, scene.random_side()
    user = scene.supply.make(name, rng)
    d = sign * (scene.road.kerb(sign) + 0.4)
    if scene.road.median_m > 1.0 and rng.random() < 0.6:
        d = 0.0
    s, pitch = float(rng.uniform(*scene.span)), user.size[1] + float(rng.uniform(0.06, 0.3))
    turn = np.pi / 2 + (np.pi if rng.random() < 0.5 else 0.0)
    for i in range(int(rng.integers(3, 8))):
        scene.add(name, scene.at_rest(s + i * pitch, d, turn + float(rng.normal(0.0, 0.03))), user)


def cone_row(scene: Population, name: str) -> None:
    """Line the edge of the road with cones of one kind."""
    rng, sign = scene.rng, scene.random_side()
    user = scene.supply.make(name, rng)
    d = scene.road.edge(sign) + float(rng.uniform(-0.2, 0.5))
    if rng.random() < 0.4:
        d = scene.road.kerb(sign) + float(rng.uniform(0.3, 1.0))
    s, pitch = float(rng.uniform(*scene.span)), float(rng.uniform(1.2, 4.5))
    for i in range(int(rng.integers(2, 6))):
        turn = float(rng.uniform(-np.pi, np.pi))
        scene.add(name, scene.at_rest(s + i * pitch, sign * (d + float(rng.normal(0.0, 0.1))), turn), user)


def _works_area(scene: Population) -> tuple[tuple[float, float], float, float, float]:
    """Return span, side, inner and outer d (both positive) of what is closed."""
    works, sign = scene.place.works, scene.place.works_side
    assert works is not None
    side = scene.road.side(sign)
    inner = scene.road.edge(sign) - (side.lane_m if side.lanes > 1 else 0.0)
    return works, sign, inner, max(scene.road.kerb(sign) + min(side.pavement_m, 2.0), inner + 3.5)
