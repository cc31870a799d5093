"""A street scene in time: where everything stands, how it moves, and how the ego vehicle drives.

Made at random from a seed, with structure: lanes, parked rows, roadworks, pavements, crossings. Objects never overlap
each other or the ego vehicle while the drive lasts. Time 0 is the stamp of the first frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lift3d_ros.geometry.boxes import bev_iou
from lift3d_ros.simulation.block import surroundings
from lift3d_ros.simulation.meshes import Mesh
from lift3d_ros.simulation.road import CROSS, MAIN, CenterLine, Road, ground, marks
from lift3d_ros.simulation.road_users import make_road_user
from lift3d_ros.simulation.tracks import EGO_LENGTH_M, EgoDrive, Track, ego_box, world_boxes
from lift3d_ros.types import Boxes3D, Float64Array

LANE_D = MAIN.lane / 2
PARKED_D = (MAIN.lane + MAIN.kerb) / 2
_ONCOMING = ("car", "truck", "car", "motorcycle", "car", "bicycle", "bus", "car", "car", "truck", "car", "motorcycle")
_PARKED = ("car", "car", "car", "car", "car", "car", "truck", "motorcycle")
_WALK_D = 8.6
_MARGIN_M = 0.25
_CHECK_STEP_S = 0.2


@dataclass(frozen=True, eq=False)
class Street:
    """Everything there is in one scene; meshes of the surroundings are in the world frame."""

    road: Road
    ground: Mesh
    marks: tuple[Mesh, ...]
    scenery: tuple[Mesh, ...]
    tracks: tuple[Track, ...]
    ego: EgoDrive


def make_street(seed: int, duration_s: float) -> Street:
    """Return the street of a seed, free of overlaps from just before time 0 until `duration_s`."""
    rng = np.random.default_rng(seed)
    bend = float(rng.uniform(1 / 210, 1 / 150)) * (1.0 if rng.random() < 0.5 else -1.0)
    road = Road(CenterLine(bend, (0.0, 0.0, float(rng.uniform(-0.3, 0.3)))), (-150.0, 190.0), 38.0)
    ego = EgoDrive(road, float(rng.uniform(7.2, 7.8)), float(rng.uniform(-0.40, -0.25)), -LANE_D)
    populace = _Populace(rng, road, ego, duration_s)
    populace.add_traffic()
    populace.add_roadworks()
    populace.add_parked()
    populace.add_people()
    scenery = surroundings(road, rng, populace.is_clear)
    return Street(
        road,
        ground(road.line, road.reach, road.cross_s),
        marks(road.line, road.reach, road.cross_s, rng),
        scenery,
        tuple(populace.tracks),
        ego,
    )


class _Populace:
    """Collects objects one by one; a candidate that would ever touch another one is left out."""

    def __init__(self, rng: np.random.Generator, road: Road, ego: EgoDrive, duration_s: float) -> None:
        self.tracks: list[Track] = []
        self._rng, self._road, self._ego = rng, road, ego
        self._times = np.arange(-0.1, duration_s + _CHECK_STEP_S, _CHECK_STEP_S)
        self._states: list[Float64Array] = []
        self._ego_xy = np.stack([ego.T_world_base(float(time_s))[:2, 3] for time_s in self._times])

    def add_traffic(self) -> None:
        """Put vehicles on the lanes: before and behind the ego vehicle, oncoming, and on the cross street."""
        rng, keep = self._rng, self._ego.speed + 2.5 * self._ego.acceleration
        self._add("car", (24.0, -LANE_D), (keep + 0.3, 0.0))
        self._add("car", (46.0, -LANE_D), (keep + 0.6, 0.0))
        self._add("bicycle", (rng.uniform(12.0, 13.5), -2.7), (5.3, 0.0))
        self._add("motorcycle", (rng.uniform(-10.5, -9.0), -1.4), (keep, 0.0))
        self._add("car", (rng.uniform(-21.0, -19.0), -LANE_D), (keep, 0.0))
        self._add("truck", (rng.uniform(-36.0, -33.0), -LANE_D), (keep, 0.0))
        s = float(rng.uniform(8.0, 11.0))
        for class_name in _ONCOMING:
            s += 7.0 if class_name in ("bus", "truck") else 3.5
            self._add(class_name, (s, LANE_D + (0.9 if class_name == "bicycle" else 0.0)), (-7.4, 0.0))
            s += (7.0 if class_name in ("bus", "truck") else 3.5) + float(rng.uniform(2.0, 6.0))
        self._add("car", (MAIN.kerb + 5.2, CROSS.lane / 2), turn=np.pi, is_on_cross=True)
        self._add("car", (MAIN.kerb + 12.0, CROSS.lane / 2), turn=np.pi, is_on_cross=True)
        self._add("truck", (-MAIN.kerb - 6.6, -CROSS.lane / 2), is_on_cross=True)

    def add_roadworks(self) -> None:
        """Close a part of the right parking row with barriers and cones around an excavator."""
        first, last = 6.0, 17.5
        middle, tilt = (first + last) / 2, float(self._rng.uniform(-0.02, 0.02))
        self._add("construction_vehicle", (middle, -PARKED_D - 0.15), turn=tilt)
        for s in (first, last):
            self._add("barrier", (s, -PARKED_D - 0.15), turn=0.0)
        for s in np.arange(first + 0.2, last, 2.4):
            self._add("traffic_cone", (s, -MAIN.lane + 0.12), turn=float(self._rng.uniform(0.0, 1.5)), margin=0.02)
        for s in (first - 2.6, first - 5.0):
            self._add("traffic_cone", (s, -MAIN.lane - 0.3 * (first - s)), turn=float(self._rng.uniform(0.0, 1.5)))

    def add_parked(self) -> None:
        """Fill the parking rows; large vehicles first, as they need the longest gaps."""
        rng = self._rng
        self._add("bus", (rng.uniform(17.0, 19.0), PARKED_D), turn=np.pi, margin=0.1)
        self._add("trailer", (rng.uniform(-14.0, -11.0), -PARKED_D + 0.05), margin=0.1)
        self._add("truck", (rng.uniform(55.0, 62.0), -PARKED_D))
        for side, turn in ((-1.0, 0.0), (1.0, np.pi)):
            for s in np.arange(-58.0, 108.0, 6.4):
                is_junction = abs(s + 1.0 - self._road.cross_s) < CROSS.kerb + 10.0
                if is_junction or rng.random() < 0.18:
                    continue
                class_name = _PARKED[int(rng.integers(len(_PARKED)))]
                place = (s + float(rng.uniform(-0.4, 0.4)), side * (PARKED_D + float(rng.uniform(-0.08, 0.08))))
                self._add(class_name, place, turn=turn + float(rng.normal(0.0, 0.012)))
        for _ in range(9):
            side = 1.0 if rng.random() < 0.5 else -1.0
            class_name = "bicycle" if rng.random() < 0.7 else "motorcycle"
            s, turn = float(rng.uniform(-20.0, 70.0)), float(rng.normal(1.57, 0.25))
            if abs(s - self._road.cross_s) > CROSS.kerb + 1.2:
                self._add(class_name, (s, side * 6.9), turn=turn)

    def add_people(self) -> None:
        """Let people use the crossings, walk along the pavements and stand about."""
        rng, crossed = self._rng, 0
        crossings = (self._road.cross_s - CROSS.kerb - 3.1, self._road.cross_s + CROSS.kerb + 3.1)
        for _ in range(120):
            pace, side = float(rng.uniform(1.1, 1.6)), (1.0 if rng.random() < 0.5 else -1.0)
            # Start and end lie between the houses.
            room = max(2 * _WALK_D - pace * float(self._times[-1]), 0.0)
            d = -_WALK_D + float(rng.uniform(0.0, room))
            s = crossings[int(rng.integers(2))] + float(rng.uniform(-1.1, 1.1))
            crossed += self._add("pedestrian", (s, side * d), (0.0, side * pace), margin=0.5)
            if crossed == 6:
                break
        for _ in range(44):
            side = 1.0 if rng.random() < 0.5 else -1.0
            place = (float(rng.uniform(-25.0, 85.0)), side * float(rng.uniform(7.2, 8.7)))
            if rng.random() < 0.75:
                pace = float(rng.uniform(1.0, 1.7)) * (1.0 if rng.random() < 0.5 else -1.0)
                self._add("pedestrian", place, (pace, 0.0))
            elif abs(place[0] - self._road.cross_s) > CROSS.kerb + 0.6:
                self._add("pedestrian", place, turn=float(rng.uniform(-np.pi, np.pi)))

    def is_clear(self, s: float, d: float, radius: float) -> bool:
        """Return whether no object ever comes nearer than `radius` to a place of the main street."""
        place = self._road.line.points(s, d)
        for track, states in zip(self.tracks, self._states, strict=True):
            offset, (c, sn) = place - states[:, :2], (np.cos(states[:, 2]), np.sin(states[:, 2]))
            local = np.stack([c * offset[:, 0] + sn * offset[:, 1], c * offset[:, 1] - sn * offset[:, 0]], axis=1)
            beyond = np.maximum(np.abs(local - track.user.center[:2]) - track.user.size[:2] / 2, 0.0)
            if float(np.linalg.norm(beyond, axis=1).min()) < radius:
                return False
        return True

    def _add(
        self,
        class_name: str,
        start: tuple[float, float],
        rate: tuple[float, float] = (0.0, 0.0),
        *,
        turn: float = 0.0,
        is_on_cross: bool = False,
        margin: float = _MARGIN_M,
    ) -> bool:
        is_moving = rate != (0.0, 0.0)
        user = make_road_user(class_name, self._rng, is_moving=is_moving)
        place = (float(start[0]), float(start[1]))
        track = Track(len(self.tracks) + 1, user, self._road, place, rate, float(turn), is_on_cross)
        states = track.states(self._times)
        if not self._is_free(track, states, margin):
            return False
        self.tracks.append(track)
        self._states.append(states)
        return True

    def _is_free(self, track: Track, states: Float64Array, margin: float) -> bool:
        ego_reach = _reach(track) + EGO_LENGTH_M + margin
        for time_s in self._times[np.linalg.norm(states[:, :2] - self._ego_xy, axis=1) < ego_reach]:
            if bev_iou(_grown(world_boxes([track], float(time_s)), margin), ego_box(self._ego, float(time_s))).any():
                return False
        for other, other_states in zip(self.tracks, self._states, strict=True):
            distance = np.linalg.norm(states[:, :2] - other_states[:, :2], axis=1)
            for time_s in self._times[distance < _reach(track) + _reach(other) + margin]:
                own = _grown(world_boxes([track], float(time_s)), margin)
                if bev_iou(own, world_boxes([other], float(time_s))).any():
                    return False
                if not (track.is_moving or other.is_moving):
                    break
        return True


def _reach(track: Track) -> float:
    """Return how far an object extends from its origin, seen from above."""
    return float(np.linalg.norm(np.abs(track.user.center[:2]) + track.user.size[:2] / 2))


def _grown(boxes: Boxes3D, margin: float) -> Boxes3D:
    return replace(boxes, sizes=boxes.sizes + 2 * margin)
