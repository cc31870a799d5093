"""Collects the labelled objects of a scene; none of them ever touches another one or the ego vehicle."""

from __future__ import annotations

import numpy as np

from lift3d_ros.simulation.layout import Lane, Place
from lift3d_ros.simulation.motion import EGO_LENGTH_M, EGO_REAR_OVERHANG_M, EGO_WIDTH_M, Actor, EgoDrive, Motion
from lift3d_ros.simulation.occupancy import Occupancy
from lift3d_ros.simulation.paths import Speed
from lift3d_ros.simulation.supply import Candidate, Supply
from lift3d_ros.types import Float64Array

REACH_M = 50.0
"""Objects are placed up to this far from the way of the ego vehicle."""

BIG = ("truck", "bus", "trailer", "construction_vehicle")
"""Classes that hide a camera's whole view where they stand beside it."""

_HEADWAY_M = 3.5
_MARGINS = {"traffic_cone": 0.05, "barrier": 0.05, "pedestrian": 0.12, "bicycle": 0.12, "motorcycle": 0.15}
_TOP_SPEED = {"town": 11.0, "residential": 7.5, "avenue": 15.0, "open_road": 17.0, "car_park": 3.5}


class Population:
    """The objects of one scene, and what is needed to place more.

    Args:
        span: s of the main road between which objects are placed.
        flows: speed of the traffic of each lane, by number of the road and d of the lane.
    """

    def __init__(
        self, rng: np.random.Generator, place: Place, ego: EgoDrive, ego_lane: Lane, supply: Supply, duration_s: float
    ) -> None:
        self.actors: list[Actor] = []
        self.rng, self.place, self.supply = rng, place, supply
        self.road = place.main
        self.occupancy = Occupancy(np.arange(-0.2, duration_s + 0.4, 0.2))
        ego_states = ego.states(self.occupancy.times_s)
        ahead = np.array([EGO_LENGTH_M / 2 - EGO_REAR_OVERHANG_M, 0.0, 0.0])
        ego_size = np.array([EGO_LENGTH_M, EGO_WIDTH_M, 1.6])
        # A large vehicle right beside a camera hides everything else; it is rare.
        self._clearance = 1.4 if rng.random() < 0.12 else 2.8
        self.ego_way = Occupancy(self.occupancy.times_s)
        # Others keep their distance before the ego vehicle.
        room = np.array([_HEADWAY_M, 0.0, 0.0])
        self.ego_way.add(ego_states, ahead + room / 2, ego_size + room)
        self.occupancy.add(ego_states, ahead, ego_size)
        travelled = float(ego.speed.travelled(self.occupancy.times_s[-1:])[0])
        self.span = (-REACH_M, travelled + REACH_M)
        self.flows = self._lane_flows()
        self.flows[0, ego_lane.d] = ego.speed

    def _lane_flows(self) -> dict[tuple[int, float], Speed]:
        """Return the speed of the traffic of each lane of each road."""
        rng, flows = self.rng, {}
        for number, road in enumerate(self.place.roads):
            for lane in road.lanes():
                kind = rng.random()
                speed = float(rng.uniform(0.45, 1.0)) * _TOP_SPEED[self.place.kind]
                flow = Speed(speed, float(rng.uniform(-0.6, 0.6)), float(rng.uniform(0.0, 2.0)), 2.5)
                if kind < 0.16:
                    flow = Speed()  # a queue that stands
                elif kind < 0.34:
                    flow = Speed(speed, -speed / 3.0, float(rng.uniform(0.0, 2.0)), 3.0)  # comes to a stop
                elif kind < 0.45:
                    flow = Speed(0.0, 1.6, float(rng.uniform(0.0, 2.0)), 4.0)  # starts
                flows[number, lane.d] = flow
        return flows

    def count(self, name: str) -> int:
        """Return how many objects of a class there are."""
        return sum(actor.user.class_name == name for actor in self.actors)

    def random_side(self) -> float:
        """Return 1 for the left side of a road or -1 for the right one."""
        return 1.0 if self.rng.random() < 0.5 else -1.0

    def at_rest(self, s: float, d: float, turn: float) -> Motion:
        """Return the motion of what stands at a place of the main road, turned from its direction."""
        return Motion(self.road.path, s, d, turn=turn, road=self.road)

    def add(self, name: str, motion: Motion, user: Candidate | None = None) -> None:
        """Take an object in if there is room; a random one of the class unless `user` is given."""
        if user is None:
            user = self.supply.make(name, self.rng, is_moving=motion.is_moving)
        if self.fits(user, motion):
            self.take(user, motion)

    def fits(self, user: Candidate, motion: Motion) -> bool:
        """Return whether an object stays on its path and clear of everything."""
        states = motion.states(self.occupancy.times_s)
        if not self._is_inside(states, motion):
            return False
        clearance = self._clearance if user.class_name in BIG else (1.2 if user.class_name == "car" else 0.8)
        if not self.ego_way.is_free(states, user.center, user.size, clearance):
            return False
        return self.occupancy.is_free(states, user.center, user.size, _MARGINS.get(user.class_name, 0.3))

    def take(self, user: Candidate, motion: Motion) -> None:
        """Take an object in."""
        states = motion.states(self.occupancy.times_s)
        self.occupancy.add(states, user.center, user.size)
        is_in_traffic = motion.is_moving or (user.class_name != "trailer" and motion.turn == 0.0)
        self.actors.append(Actor(len(self.actors) + 1, user.user, motion, is_in_traffic))

    def _is_inside(self, states: Float64Array, motion: Motion) -> bool:
        """Return whether the object stays where the paths go on."""
        s = motion.s + motion.direction * motion.along.travelled(self.occupancy.times_s)
        low, high = motion.path.reach
        return bool(s.min() > low + 1.0 and s.max() < high - 1.0) and bool(np.isfinite(states).all())


def common(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    """Return what two spans share, an empty span where they share nothing."""
    low, high = max(first[0], second[0]), min(first[1], second[1])
    return (low, max(high, low))
