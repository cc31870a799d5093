"""People of a scene: on pavements, crossings and car parks, and between parked vehicles."""

from __future__ import annotations

import numpy as np

from lift3d_ros.simulation.motion import Motion
from lift3d_ros.simulation.paths import Speed
from lift3d_ros.simulation.population import Population, common


def walking(scene: Population, name: str) -> None:
    """Let one or two people walk along the pavement."""
    rng, sign = scene.rng, scene.random_side()
    side = scene.road.side(sign)
    room = max(side.pavement_m, 1.2)
    d = scene.road.kerb(sign) + float(rng.uniform(0.4, max(room - 0.3, 0.5)))
    direction = 1.0 if rng.random() < 0.5 else -1.0
    pace = float(rng.uniform(0.9, 1.7)) if rng.random() < 0.93 else float(rng.uniform(2.2, 3.2))
    s = float(rng.uniform(*scene.span))
    for i in range(1 if rng.random() < 0.6 else 2):
        at = (sign * (d + 0.65 * i), s + float(rng.uniform(-0.2, 0.2)))
        scene.add(name, Motion(scene.road.path, at[1], at[0], direction, Speed(pace), road=scene.road))


def standing(scene: Population, name: str) -> None:
    """Let a few people stand and face each other, or look anywhere."""
    rng, sign = scene.rng, scene.random_side()
    room = max(scene.road.side(sign).pavement_m, 1.0)
    d = sign * (scene.road.kerb(sign) + float(rng.uniform(0.5, max(room - 0.4, 0.6))))
    if scene.place.kind == "car_park":
        d = scene.road.edge(1.0) * float(rng.uniform(-3.0, 3.0))
    s, count = float(rng.uniform(*scene.span)), int(rng.choice([1, 1, 2, 3, 4]))
    for i in range(count):
        angle = 2 * np.pi * i / count + float(rng.uniform(-0.3, 0.3))
        radius = 0.0 if count == 1 else 0.42 + 0.09 * count
        at = (s + radius * np.cos(angle), d + radius * np.sin(angle))
        turn = angle + np.pi if count > 1 else float(rng.uniform(-np.pi, np.pi))
        scene.add(name, scene.at_rest(at[0], at[1], turn))


def crossing(scene: Population, name: str) -> None:
    """Let someone cross the road, at marks where there are any."""
    rng, sign, road = scene.rng, scene.random_side(), scene.road
    crossings = scene.place.crossings
    s = float(rng.uniform(*scene.span))
    if crossings and rng.random() < 0.9:
        s = crossings[int(rng.integers(len(crossings)))] + float(rng.uniform(-1.2, 1.2))
    pace = Speed(sign * float(rng.uniform(0.9, 1.7)))
    d = float(rng.uniform(-road.kerb(-1.0) - 1.5, road.kerb(1.0) + 1.5)) - sign * 2.0
    scene.add(name, Motion(road.path, s, d, across=pace, road=road))


def strolling(scene: Population, name: str) -> None:
    """Let someone walk over a car park."""
    rng, road = scene.rng, scene.road
    angle, pace = float(rng.uniform(-np.pi, np.pi)), float(rng.uniform(0.8, 1.6))
    d = float(rng.uniform(-road.kerb(-1.0), road.kerb(1.0)))
    along = Speed(pace * np.cos(angle) if rng.random() < 0.7 else pace)
    across = Speed(pace * np.sin(angle)) if rng.random() < 0.5 else Speed()
    direction = 1.0 if rng.random() < 0.5 else -1.0
    along = Speed(abs(along.start))
    scene.add(name, Motion(road.path, float(rng.uniform(*scene.span)), d, direction, along, across))


def by_parked(scene: Population, name: str) -> None:
    """Let someone stand between or beside parked vehicles, half hidden."""
    rng = scene.rng
    rows = list(scene.road.rows)
    if not rows:
        standing(scene, name)
        return
    row = rows[int(rng.integers(len(rows)))]
    span = common(row.span, scene.span)
    d = row.d + float(rng.uniform(-1.6, 1.6))
    turn = float(rng.uniform(-np.pi, np.pi))
    scene.add(name, scene.at_rest(float(rng.uniform(*span)), d, turn))
