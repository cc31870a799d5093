"""One scene of a seed: a place, what stands in it, who moves through it, and the way of the ego vehicle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lift3d_ros.simulation.ground import ground, marks, random_look
from lift3d_ros.simulation.layout import Lane, Place, PlaceKind, random_kind, random_place
from lift3d_ros.simulation.mesh_library import MeshLibrary
from lift3d_ros.simulation.meshes import Mesh
from lift3d_ros.simulation.motion import Actor, EgoDrive
from lift3d_ros.simulation.paths import Path, Speed
from lift3d_ros.simulation.placing import fill
from lift3d_ros.simulation.population import REACH_M, Population
from lift3d_ros.simulation.settings import SimulationSettings
from lift3d_ros.simulation.supply import Supply
from lift3d_ros.simulation.surroundings import Surroundings
from lift3d_ros.simulation.turns import into_arm
from lift3d_ros.simulation.weather import Lamp

_TOP_SPEED = {"town": 11.0, "residential": 8.0, "avenue": 15.0, "open_road": 15.0, "car_park": 4.0}
_SEEN_SHARE = 0.80


@dataclass(frozen=True, eq=False)
class World:
    """Everything there is in one scene; meshes of the surroundings are in the world frame."""

    place: Place
    ground: Mesh
    marks: tuple[Mesh, ...]
    scenery: tuple[Mesh, ...]
    actors: tuple[Actor, ...]
    ego: EgoDrive
    lamps: tuple[Lamp, ...] = ()


def make_world(
    rng: np.random.Generator, settings: SimulationSettings, library: MeshLibrary | None, duration_s: float
) -> World:
    """Return a random world, free of overlaps from just before time 0 until `duration_s`."""
    kind = random_kind(rng)
    speed = _ego_speed(rng, kind, settings)
    ahead = float(speed.travelled(np.array([duration_s]))[0])
    place = random_place(rng, kind, ahead)
    ego, lane = _ego_drive(rng, place, speed, ahead)
    supply = Supply(library, settings.library_share)
    population = Population(rng, place, ego, lane, supply, duration_s)
    wanted = float(rng.uniform(*settings.objects))
    share_of_way = (2 * REACH_M + ahead) / (2 * REACH_M)
    fill(population, round(wanted / _SEEN_SHARE * share_of_way), settings.class_weights)
    look = random_look(rng)
    near = (-REACH_M, ahead + REACH_M)
    surroundings = Surroundings(rng, place, population.occupancy, population.ego_way, library, near)
    scenery = surroundings.meshes()
    actors = tuple(population.actors)
    return World(place, ground(place, look), marks(place, look, rng), scenery, actors, ego, tuple(surroundings.lamps))


def _ego_speed(rng: np.random.Generator, kind: PlaceKind, settings: SimulationSettings) -> Speed:
    low, high = settings.ego_speed
    top = min(high, _TOP_SPEED[kind])
    start = float(rng.uniform(min(low, top), top))
    choice = rng.random()
    if choice < 0.10 and low == 0.0:
        return Speed()
    if choice < 0.30:  # brakes
        end = float(rng.uniform(min(low, start), start))
        rate = -float(rng.uniform(0.8, 2.2))
        return Speed(start, rate, float(rng.uniform(0.0, 1.5)), (end - start) / rate)
    if choice < 0.50:  # speeds up
        end = float(rng.uniform(start, top))
        rate = float(rng.uniform(0.6, 1.8))
        return Speed(start, rate, float(rng.uniform(0.0, 1.5)), (end - start) / rate)
    return Speed(start)


def _ego_drive(rng: np.random.Generator, place: Place, speed: Speed, ahead: float) -> tuple[EgoDrive, Lane]:
    """Return a drive along a lane of the main road, in some scenes round a corner into the cross road."""
    road = place.main
    lanes = [lane for lane in road.lanes() if lane.direction > 0]
    lane = lanes[int(rng.integers(len(lanes)))]
    d = lane.d - float(np.sign(lane.d)) * float(rng.uniform(0.0, 0.3))  # away from the kerb
    turns_off = (
        place.cross_s is not None
        and 16.0 < place.cross_s < max(ahead, 17.0) + 10.0
        and speed.start < 8.0
        and rng.random() < 0.6
    )
    if turns_off:
        assert place.cross_s is not None
        arm = place.roads[1 + int(rng.integers(len(place.roads) - 1))]
        path = into_arm(place, arm, d, 1.0, start_m=place.cross_s - road.reach[0])
    else:
        path = Path.through(road.path.points(np.arange(*road.reach, 1.0), d))
    distances = np.hypot(*(path.points(path.s, 0.0) - road.path.points(0.0, d)).T)
    return EgoDrive(path, float(path.s[int(np.argmin(distances))]), speed), lane
