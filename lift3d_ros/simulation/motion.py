"""Objects in time: how each moves along a road, where the ego vehicle is, and the boxes at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.rotations import yaw_matrix
from lift3d_ros.simulation.layout import Road
from lift3d_ros.simulation.paths import Path, Speed
from lift3d_ros.simulation.road_users import RoadUser
from lift3d_ros.types import Boxes3D, Float64Array

EGO_LENGTH_M, EGO_WIDTH_M, EGO_REAR_OVERHANG_M = 4.7, 1.9, 1.0
_DERIVATIVE_STEP_S = 5e-3


@dataclass(frozen=True, eq=False)
class Motion:
    """A motion along a path; what moves heads where it goes.

    Args:
        s, d: road coordinates at time 0.
        direction: 1 towards greater s, -1 the other way.
        along: speed in that direction.
        across: speed towards greater d.
        turn: heading of what stands still, rad from the direction of the path.
        road: gives the height of the ground; None where it is 0.
    """

    path: Path
    s: float
    d: float
    direction: float = 1.0
    along: Speed = field(default_factory=Speed)
    across: Speed = field(default_factory=Speed)
    turn: float = 0.0
    road: Road | None = None

    @property
    def is_moving(self) -> bool:
        """Whether the place ever changes."""
        return not (self.along.is_zero and self.across.is_zero)

    def states(self, times_s: Float64Array) -> Float64Array:
        """Return x, y, yaw and height of the ground at each time, (T, 4)."""
        s = self.s + self.direction * self.along.travelled(times_s)
        d = self.d + self.across.travelled(times_s)
        turn: Float64Array = np.full(len(times_s), self.turn + (np.pi if self.direction < 0 else 0.0))
        if not self.across.is_zero:
            forward = self.direction * self.along.at(times_s)
            turn = np.arctan2(self.across.at(times_s) + 1e-9, forward)
        z = np.zeros(len(times_s)) if self.road is None else self.road.surface_z(s, d)
        xy = self.path.points(s, d)
        return np.stack([xy[:, 0], xy[:, 1], self.path.headings(s) + turn, z], axis=1)


@dataclass(frozen=True, eq=False)
class Actor:
    """One labelled object; `instance` counts from 1; `is_in_traffic` also for those who wait on a lane."""

    instance: int
    user: RoadUser
    motion: Motion
    is_in_traffic: bool = False

    def T_world_object(self, time_s: float) -> Float64Array:
        """Return the pose: origin on the ground, +x where the object heads."""
        x, y, yaw, z = self.motion.states(np.array([time_s]))[0]
        return make_transform(yaw_matrix(float(yaw)), [x, y, z])

    def mesh_at(self, time_s: float) -> int:
        """Return the number of the mesh to show; people do not walk in step."""
        if len(self.user.meshes) == 1:
            return 0
        times = np.array([time_s])
        walked = np.hypot(self.motion.along.travelled(times)[0], self.motion.across.travelled(times)[0])
        return self.user.mesh_at(float(np.sign(time_s) * walked) + 0.37 * self.instance)


@dataclass(frozen=True, eq=False)
class EgoDrive:
    """The way of the ego vehicle; its base frame lies below the middle of the rear axle."""

    path: Path
    s: float
    speed: Speed

    def T_world_base(self, time_s: float) -> Float64Array:
        """Return the pose of the base frame."""
        x, y, yaw, _ = self.states(np.array([time_s]))[0]
        return make_transform(yaw_matrix(float(yaw)), [x, y, 0.0])

    def states(self, times_s: Float64Array) -> Float64Array:
        """Return x, y, yaw and height of the base frame at each time, (T, 4)."""
        return Motion(self.path, self.s, 0.0, 1.0, self.speed).states(times_s)


def boxes_at(actors: Sequence[Actor], time_s: float, class_names: tuple[str, ...]) -> Boxes3D:
    """Return the boxes of all actors in the frame ``map``; track ids are instances."""
    times = np.array([time_s - _DERIVATIVE_STEP_S, time_s, time_s + _DERIVATIVE_STEP_S])
    states = np.array([actor.motion.states(times) for actor in actors]).reshape(-1, 3, 4)
    offsets = np.array([actor.user.center for actor in actors]).reshape(-1, 3)
    yaws = states[:, 1, 2]
    c, s = np.cos(yaws), np.sin(yaws)
    centers = np.stack(
        [
            states[:, 1, 0] + c * offsets[:, 0] - s * offsets[:, 1],
            states[:, 1, 1] + s * offsets[:, 0] + c * offsets[:, 1],
            states[:, 1, 3] + offsets[:, 2],
        ],
        axis=1,
    )
    return Boxes3D(
        frame_id="map",
        class_names=class_names,
        centers=centers,
        sizes=np.array([actor.user.size for actor in actors]).reshape(-1, 3),
        yaws=np.arctan2(s, c),
        velocities=(states[:, 2, :2] - states[:, 0, :2]) / (2 * _DERIVATIVE_STEP_S),
        scores=np.ones(len(actors)),
        labels=np.array([class_names.index(actor.user.class_name) for actor in actors], dtype=np.int64),
        track_ids=np.array([actor.instance for actor in actors], dtype=np.int64),
    )
