"""Motion in road coordinates: the drive of the ego vehicle, the tracks of the objects, and their boxes at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.rotations import yaw_matrix, yaw_of
from lift3d_ros.simulation.road import Road
from lift3d_ros.simulation.road_users import RoadUser
from lift3d_ros.types import Boxes3D, Float64Array

EGO_LENGTH_M, EGO_WIDTH_M, EGO_REAR_OVERHANG_M = 4.7, 1.9, 1.0


@dataclass(frozen=True)
class EgoDrive:
    """Motion of the ego vehicle along its lane; its base frame lies below the rear axle."""

    road: Road
    speed: float
    acceleration: float
    d: float

    def T_world_base(self, time_s: float) -> Float64Array:
        """Return the pose of the base frame."""
        travelled = self.speed * time_s + self.acceleration * time_s**2 / 2
        return self.road.line.pose(travelled / (1.0 - self.road.line.curvature * self.d), self.d)


@dataclass(frozen=True, eq=False)
class Track:
    """One object and its motion in road coordinates.

    Args:
        instance: number of the object, from 1.
        start: s and d at time 0, metres.
        rate: change of s and d, m/s; the object heads where it moves.
        turn: heading of what stands still, rad from the direction of the road.
        is_on_cross: whether the coordinates are those of the cross street.
    """

    instance: int
    user: RoadUser
    road: Road
    start: tuple[float, float]
    rate: tuple[float, float] = (0.0, 0.0)
    turn: float = 0.0
    is_on_cross: bool = False

    @property
    def is_moving(self) -> bool:
        """Whether the object changes its place."""
        return self.rate != (0.0, 0.0)

    def states(self, times_s: Float64Array) -> Float64Array:
        """Return x, y, yaw and ground height at each time, (T, 4)."""
        line = self.road.cross if self.is_on_cross else self.road.line
        s, d = self.start[0] + self.rate[0] * times_s, self.start[1] + self.rate[1] * times_s
        turn = np.arctan2(self.rate[1], self.rate[0] * (1.0 - line.curvature * d)) if self.is_moving else self.turn
        z = np.zeros(len(times_s)) if self.is_on_cross else self.road.surface_z(s, d)
        return np.concatenate([line.points(s, d), np.stack([line.heading(s) + turn, z], axis=1)], axis=1)

    def T_world_object(self, time_s: float) -> Float64Array:
        """Return the pose of the object: origin on the ground, +x where it heads."""
        x, y, yaw, z = self.states(np.array([time_s]))[0]
        return make_transform(yaw_matrix(float(yaw)), [x, y, z])

    def velocity(self, time_s: float) -> Float64Array:
        """Return the velocity in the world, (2,) m/s."""
        step = 1e-3
        behind, ahead = self.states(np.array([time_s - step, time_s + step]))[:, :2]
        return np.asarray((ahead - behind) / (2 * step))

    def mesh_at(self, time_s: float) -> int:
        """Return the number of the object's mesh; objects of one kind do not walk in step."""
        return self.user.mesh_at(float(np.hypot(*self.rate)) * time_s + 0.37 * self.instance)


def world_boxes(tracks: Iterable[Track], time_s: float) -> Boxes3D:
    """Return the boxes of the tracks in the frame ``map``; labels are 0, track ids are instances."""
    tracks = list(tracks)
    poses = [track.T_world_object(time_s) for track in tracks]
    centers = [T[:3, :3] @ track.user.center + T[:3, 3] for T, track in zip(poses, tracks, strict=True)]
    return Boxes3D(
        frame_id="map",
        class_names=("object",),
        centers=np.array(centers).reshape(-1, 3),
        sizes=np.array([track.user.size for track in tracks]).reshape(-1, 3),
        yaws=np.array([yaw_of(T[:3, :3]) for T in poses]),
        velocities=np.array([track.velocity(time_s) for track in tracks]).reshape(-1, 2),
        scores=np.ones(len(tracks)),
        labels=np.zeros(len(tracks), dtype=np.int64),
        track_ids=np.array([track.instance for track in tracks], dtype=np.int64),
    )


def ego_box(ego: EgoDrive, time_s: float) -> Boxes3D:
    """Return the box of the ego vehicle in the frame ``map``."""
    T = ego.T_world_base(time_s)
    ahead = EGO_LENGTH_M / 2 - EGO_REAR_OVERHANG_M
    center = T[:3, 3] + ahead * T[:3, 0] + [0.0, 0.0, 0.8]
    return Boxes3D(
        frame_id="map",
        class_names=("object",),
        centers=center[None],
        sizes=np.array([[EGO_LENGTH_M, EGO_WIDTH_M, 1.6]]),
        yaws=np.array([yaw_of(T[:3, :3])]),
        velocities=np.zeros((1, 2)),
        scores=np.ones(1),
        labels=np.zeros(1, dtype=np.int64),
    )
