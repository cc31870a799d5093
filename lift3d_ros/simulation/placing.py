"""Fills a place with labelled objects: each class where it belongs, as often as the settings say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lift3d_ros.simulation.passersby import by_parked, crossing, standing, strolling, walking
from lift3d_ros.simulation.population import BIG, Population
from lift3d_ros.simulation.roadworks import barrier_row, cone_row, in_works, worker, works_barrier, works_cone
from lift3d_ros.simulation.traffic import (
    at_roadside,
    in_yard,
    on_cross,
    on_lane,
    parked,
    riding,
    stood,
    towed,
    turning,
)

_TRIES = 7
# Large ones first, as they need the longest gaps.
_ORDER = (*BIG, "car", "barrier", "motorcycle", "bicycle", "traffic_cone", "pedestrian")

# Factors of the classes' frequencies in places of a kind.
_CHANGES: Mapping[str, Mapping[str, float]] = {
    "car_park": {"car": 3.0},
    "open_road": {"car": 1.3, "pedestrian": 0.5},
}

_Way = Callable[[Population, str], None]


def fill(scene: Population, count: int, weights: Mapping[str, float]) -> None:
    """Add about `count` objects with the classes' relative frequencies."""
    names = [name for name in _ORDER if weights.get(name, 0.0) > 0]
    change = _CHANGES.get(scene.place.kind, {})
    shares = np.array([weights[name] * change.get(name, 1.0) for name in names])
    counts = scene.rng.multinomial(count, shares / shares.sum())
    for name, wanted in zip(names, counts.tolist(), strict=True):
        goal, tries = scene.count(name) + wanted, 0
        while scene.count(name) < goal and tries < _TRIES * wanted:
            ways = _ways(scene, name)
            chances = np.array([chance for chance, _ in ways])
            ways[int(scene.rng.choice(len(ways), p=chances / chances.sum()))][1](scene, name)
            tries += 1


def _ways(scene: Population, name: str) -> Sequence[tuple[float, _Way]]:
    """Return how objects of a class are placed, with relative frequencies."""
    has_rows = any(road.rows for road in scene.place.roads)
    is_walkable = scene.road.side(1.0).pavement_m + scene.road.side(-1.0).pavement_m > 0
    works = 1.0 if scene.place.works is not None else 0.0
    rows = 1.0 if has_rows else 0.0
    walks = 1.0 if is_walkable else 0.1
    if scene.place.kind == "car_park":
        return {
            "car": [(0.12, on_lane), (0.88, parked)],
            "truck": [(0.3, on_lane), (0.7, parked)],
            "bus": [(1.0, on_lane)],
            "trailer": [(0.5, parked), (0.5, at_roadside)],
            "construction_vehicle": [(0.3 + works, in_works), (0.5, at_roadside)],
            "barrier": [(works, works_barrier), (0.4, barrier_row)],
            "motorcycle": [(0.2, on_lane), (0.8, parked)],
            "bicycle": [(0.4, on_lane), (0.6, stood)],
            "pedestrian": [(0.6, strolling), (0.4, standing)],
            "traffic_cone": [(works, works_cone), (0.5, cone_row)],
        }[name]
    return {
        "car": [
            (0.46, on_lane), (0.62 * rows, parked), (0.12, on_cross), (0.06, in_yard),
            (0.08, turning),
        ],
        "truck": [
            (0.5, on_lane), (0.25 * rows, parked), (0.12, on_cross), (0.1, in_yard),
            (0.08, turning),
        ],
        "bus": [
            (0.6, on_lane), (0.15 * rows, parked), (0.15, on_cross), (0.1, in_yard),
            (0.08, turning),
        ],
        "trailer": [(0.4, towed), (0.5 * rows, parked), (0.35, at_roadside)],
        "construction_vehicle": [
            (1.6 * works, in_works), (0.35, on_lane), (0.2 * rows, parked),
            (0.5, at_roadside),
        ],
        "barrier": [(1.2 * works, works_barrier), (0.5, barrier_row)],
        "motorcycle": [
            (0.55, on_lane), (0.06, turning), (0.3 * rows, parked), (0.3 * walks, stood),
        ],
        "bicycle": [(0.5, riding), (0.5 * walks, stood), (0.1, on_lane)],
        "pedestrian": [
            (0.5 * walks, walking), (0.27 * walks, standing), (0.16, crossing),
            (0.12 * rows, by_parked), (0.15 * works, worker), (0.03, walking),
        ],
        "traffic_cone": [(1.2 * works, works_cone), (0.4, cone_row)],
    }[name]  # fmt: skip
