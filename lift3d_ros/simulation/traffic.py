"""Vehicles of a scene: traffic on lanes, parked rows, what stands at the roadside, and two-wheelers."""

from __future__ import annotations

import numpy as np

from lift3d_ros.simulation.layout import ParkingRow, Road
from lift3d_ros.simulation.motion import Motion
from lift3d_ros.simulation.paths import Speed
from lift3d_ros.simulation.population import BIG, Population, common
from lift3d_ros.simulation.turns import into_arm, out_of_arm


def on_lane(scene: Population, name: str) -> None:
    """Let a vehicle drive or wait on a lane of the main road."""
    rng = scene.rng
    lanes = scene.road.lanes()
    lane = lanes[int(rng.integers(len(lanes)))]
    if name in ("bicycle", "motorcycle") and rng.random() < 0.6:
        lane = max((other for other in lanes if other.direction == lane.direction), key=lambda other: abs(other.d))
    flow = scene.flows[0, lane.d]
    if name == "bicycle":
        flow = Speed(float(rng.uniform(2.5, 6.5)))
    s = float(rng.uniform(*scene.span))
    scene.add(name, Motion(scene.road.path, s, lane.d + float(rng.normal(0.0, 0.12)), lane.direction, flow))


def towed(scene: Population, name: str) -> None:
    """Let a car or a truck pull a trailer."""
    rng = scene.rng
    lanes = scene.road.lanes()
    lane = lanes[int(rng.integers(len(lanes)))]
    trailer = scene.supply.make(name, rng)
    puller = scene.supply.make("car" if trailer.size[0] < 6.5 else "truck", rng, is_moving=True)
    s, flow = float(rng.uniform(*scene.span)), scene.flows[0, lane.d]
    behind = puller.size[0] / 2 - puller.center[0] + trailer.size[0] / 2 + trailer.center[0] + 0.3
    first = Motion(scene.road.path, s, lane.d, lane.direction, flow)
    second = Motion(scene.road.path, s - lane.direction * behind, lane.d, lane.direction, flow)
    if scene.fits(puller, first) and scene.fits(trailer, second):
        scene.take(puller, first)
        scene.take(trailer, second)


def on_cross(scene: Population, name: str) -> None:
    """Let a vehicle wait before the junction on the cross road, or drive away from it."""
    rng, roads = scene.rng, scene.place.roads
    if len(roads) < 2:
        on_lane(scene, name)
        return
    number = 1 + int(rng.integers(len(roads) - 1))
    road = roads[number]
    lane = road.lanes()[int(rng.integers(len(road.lanes())))]
    flow = scene.flows[number, lane.d]
    if lane.direction < 0:  # towards the junction: they wait at the line
        s, flow = road.reach[0] + 7.0 + float(rng.uniform(0.0, 30.0)), Speed()
    else:
        s = road.reach[0] + float(rng.uniform(4.0, 40.0))
    scene.add(name, Motion(road.path, s, lane.d, lane.direction, flow))


def turning(scene: Population, name: str) -> None:
    """Let a vehicle turn off the main road, or into it."""
    rng, place = scene.rng, scene.place
    if len(place.roads) < 2:
        on_lane(scene, name)
        return
    arm = place.roads[1 + int(rng.integers(len(place.roads) - 1))]
    lane = scene.road.lanes()[int(rng.integers(len(scene.road.lanes())))]
    leaves = rng.random() < 0.5
    path = into_arm(place, arm, lane.d, lane.direction) if leaves else out_of_arm(place, arm, lane)
    speed = Speed(float(rng.uniform(2.5, 6.5)), float(rng.uniform(-0.3, 0.5)), 0.0, 3.0)
    scene.add(name, Motion(path, float(rng.uniform(20.0, 75.0)), 0.0, along=speed))


def parked(scene: Population, name: str) -> None:
    """Park vehicles in marked places."""
    rng = scene.rng
    rows = [(road, row) for road in scene.place.roads for row in road.rows]
    if name in BIG:
        rows = [(road, row) for road, row in rows if row.kind == "parallel"] or rows
    if not rows:
        at_roadside(scene, name)
        return
    # Near the road of the ego vehicle first: the far rows of a car park are often empty.
    chances = np.array([1.0 / (2.0 + abs(row.d)) for _, row in rows])
    road, row = rows[int(rng.choice(len(rows), p=chances / chances.sum()))]
    span = row.span if road is not scene.road else common(row.span, scene.span)
    places = int((span[1] - span[0]) // row.pitch)
    if places < 1:
        return
    # Neighbouring places are taken together: rows are full in some parts and empty in others.
    first, run = int(rng.integers(places)), 1 if name != "car" else int(rng.integers(1, 5))
    for place in range(first, min(first + run, places)):
        user = scene.supply.make(name, rng)
        s = row.span[0] + (np.ceil((span[0] - row.span[0]) / row.pitch) + place + 0.5) * row.pitch
        scene.add(name, _parked_motion(scene, road, row, float(s)), user)


def _parked_motion(scene: Population, road: Road, row: ParkingRow, s: float) -> Motion:
    rng = scene.rng
    turn = row.turn + float(rng.normal(0.0, 0.02))
    if row.kind == "parallel":
        flows_back = np.sign(row.d) != road.traffic
        turn += np.pi if flows_back != (rng.random() < 0.08) else 0.0
    elif rng.random() < 0.45:
        turn += np.pi
    return Motion(road.path, s + float(rng.normal(0.0, 0.12)), row.d + float(rng.normal(0.0, 0.1)), turn=turn)


def at_roadside(scene: Population, name: str) -> None:
    """Leave a vehicle beside the road or on its shoulder."""
    rng, sign = scene.rng, scene.random_side()
    user = scene.supply.make(name, rng)
    kerb = scene.road.kerb(sign)
    d = kerb + user.size[1] / 2 + float(rng.uniform(0.3, 2.5))
    if scene.place.kind == "car_park":
        d = kerb - float(rng.uniform(1.5, 3.0))
    if scene.road.side(sign).shoulder_m > 1.4 and rng.random() < 0.5 and scene.place.kind != "car_park":
        d = kerb - user.size[1] / 2
    turn = (0.0 if rng.random() < 0.5 else np.pi) + float(rng.normal(0.0, 0.1))
    scene.add(name, scene.at_rest(float(rng.uniform(*scene.span)), sign * d, turn), user)


def in_yard(scene: Population, name: str) -> None:
    """Park a vehicle before a house."""
    rng, sign = scene.rng, scene.random_side()
    user = scene.supply.make(name, rng)
    d = scene.road.front(sign) + user.size[0] / 2 + float(rng.uniform(0.3, 1.5))
    turn = np.pi / 2 * (1.0 if rng.random() < 0.5 else -1.0) + float(rng.normal(0.0, 0.06))
    scene.add(name, scene.at_rest(float(rng.uniform(*scene.span)), sign * d, turn), user)


def riding(scene: Population, name: str) -> None:
    """Let someone cycle at the edge of the road or on the pavement."""
    rng, sign = scene.rng, scene.random_side()
    side = scene.road.side(sign)
    d = scene.road.edge(sign) - 0.5
    if side.shoulder_m > 1.4 and side.parking == "none":
        d = scene.road.edge(sign) + side.shoulder_m / 2
    elif side.pavement_m > 2.5 and rng.random() < 0.35:
        d = scene.road.kerb(sign) + 0.8
    direction = 1.0 if sign == scene.road.traffic else -1.0
    if rng.random() < 0.12:
        direction = -direction
    speed = Speed(float(rng.uniform(2.5, 7.0)))
    s = float(rng.uniform(*scene.span))
    scene.add(name, Motion(scene.road.path, s, sign * d, direction, speed, road=scene.road))


def stood(scene: Population, name: str) -> None:
    """Lean two-wheelers in a row beside the road."""
    rng, sign = scene.rng, scene.random_side()
    d = scene.road.kerb(sign) + float(rng.uniform(0.9, 1.4))
    if scene.place.kind == "car_park":
        d = scene.road.kerb(sign) - float(rng.uniform(0.8, 1.2))
    s, turn = float(rng.uniform(*scene.span)), sign * np.pi / 2 + float(rng.normal(0.0, 0.15))
    if rng.random() < 0.25:
        turn -= sign * np.pi / 2
    for i in range(int(rng.integers(1, 5))):
        place = s + i * float(rng.uniform(0.75, 0.95))
        scene.add(name, scene.at_rest(place, sign * d, turn + float(rng.normal(0.0, 0.08))))
