"""The state of tracked objects: what a track knows, how it moves on and takes boxes in, which box it could be.

Everything is vectorised over the tracks and in the world frame. Not for deciding which track gets which box, when a
track starts or ends, or what is reported (see `tracking`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.geometry.boxes import centers_in_footprints, footprints_meet, transform_boxes
from lift3d_ros.geometry.rigid import invert
from lift3d_ros.geometry.rotations import wrap_angle
from lift3d_ros.pipelines.kalman import (
    POSITION,
    VELOCITY,
    correct,
    determinants_2x2,
    predict,
    squared_distances,
)
from lift3d_ros.types import Boxes3D, EgoMotion, Float64Array

_GATE = 11.8  # squared Mahalanobis distance that 99.7 % of the true pairs stay below
_VELOCITY_GATE = 9.0  # a wrong velocity makes a pair less likely, but never impossible
_CLASS_CHANGE = 4.0  # cost of a pair of different classes; one unit of squared Mahalanobis distance is 1
# A camera is worse in distance than in direction: metres, and metres for each metre of distance.
_RADIAL_NOISE, _TANGENTIAL_NOISE = (0.3, 0.03), (0.2, 0.01)
# How fast measurements replace what the track knows, seconds.
_YAW_S, _HEIGHT_S, _SIZE_S, _CLASS_S = 0.2, 0.3, 1.5, 2.0
_MAX_HEADING_VOTES = 2.0
_CLASS_LEAD = 2.0  # times the votes of its class that another one needs to replace it; near 1 a close vote flickers


@dataclass(frozen=True)
class _Kind:
    """Classes that a detector takes for each other, and how such objects move.

    Args:
        reach_m: largest distance between a box and where its track expects it.
        acceleration: power spectral density, m²/s³.
        velocity_noise: standard deviation of a detected velocity, m/s.
        keeps_distance: the footprints of two of them do not meet. Barriers stand end to end, and one that is taken to
            stand across would meet its neighbours; people and cones are smaller than the errors of their places.
    """

    classes: tuple[str, ...]
    reach_m: float
    acceleration: float
    velocity_noise: float
    keeps_distance: bool


_KINDS = (
    _Kind(("car", "truck", "bus", "trailer", "construction_vehicle"), 4.0, 4.0, 2.0, keeps_distance=True),
    _Kind(("motorcycle", "bicycle"), 3.0, 3.0, 1.5, keeps_distance=True),
    _Kind(("pedestrian",), 2.0, 0.7, 0.7, keeps_distance=False),
    _Kind(("traffic_cone", "barrier"), 1.5, 0.01, 0.3, keeps_distance=False),
)
_OTHER = _Kind((), 3.0, 3.0, 1.5, keeps_distance=False)  # each class by itself
_UNKNOWN_VELOCITY = 6.0  # m/s, standard deviation where nothing was detected


@dataclass(frozen=True, eq=False)
class ClassKinds:
    """Which kind each class is, and the numbers of each kind."""

    of_class: NDArray[np.int64]
    reaches: Float64Array
    accelerations: Float64Array
    velocity_noises: Float64Array
    keep_distance: NDArray[np.bool_]


def kinds_of(class_names: tuple[str, ...]) -> ClassKinds:
    """Return the kind of each class; a class of another name than those of nuScenes is a kind by itself."""
    kinds = list(_KINDS)
    of_class = []
    for name in class_names:
        found = next((index for index, kind in enumerate(kinds) if name in kind.classes), len(kinds))
        if found == len(kinds):
            kinds.append(_OTHER)
        of_class.append(found)
    return ClassKinds(
        np.array(of_class, dtype=np.int64),
        np.array([kind.reach_m for kind in kinds]),
        np.array([kind.acceleration for kind in kinds]),
        np.array([kind.velocity_noise for kind in kinds]),
        np.array([kind.keeps_distance for kind in kinds]),
    )


@dataclass(eq=False)
class Tracks:
    """Every track, N rows each; `ids` is -1 until confirmed, `kinds` indexes kinds of classes, the rest is in world."""

    ids: NDArray[np.int64]
    kinds: NDArray[np.int64]
    means: Float64Array  # (N, 4) x, y, vx, vy
    covariances: Float64Array
    heights: Float64Array  # z of the centre
    sizes: Float64Array
    yaws: Float64Array
    heading_votes: Float64Array  # how sure it is that yaw does not point backwards
    class_votes: Float64Array  # (N, classes)
    labels: NDArray[np.int64]  # the class that is reported
    scores: Float64Array
    hits: NDArray[np.int64]
    seen_ns: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, index: NDArray[Any]) -> Tracks:
        """Return the tracks at `index` (boolean mask or integer positions)."""
        return Tracks(*(array[index] for array in self.arrays().values()))

    def extended(self, other: Tracks) -> Tracks:
        """Return these tracks with `other` ones behind them."""
        pairs = zip(self.arrays().values(), other.arrays().values(), strict=True)
        return Tracks(*(np.concatenate(pair) for pair in pairs))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return every field by its name, in order."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def boxes_of(tracks: Tracks, class_names: tuple[str, ...], frame_id: str, ego: EgoMotion) -> Boxes3D:
    """Return the tracks as boxes in the base frame."""
    in_world = Boxes3D(
        frame_id=ego.world_frame,
        class_names=class_names,
        centers=np.column_stack([tracks.means[:, POSITION], tracks.heights]),
        sizes=tracks.sizes,
        yaws=tracks.yaws,
        velocities=tracks.means[:, VELOCITY],
        scores=tracks.scores,
        labels=tracks.labels,
        track_ids=tracks.ids,
    )
    return transform_boxes(invert(ego.T_world_base), in_world, frame_id)


def predicted_tracks(tracks: Tracks, seconds: float, numbers: ClassKinds) -> Tracks:
    """Return the tracks as they are expected after `seconds`."""
    means, covariances = predict(tracks.means, tracks.covariances, seconds, numbers.accelerations[tracks.kinds])
    votes = tracks.class_votes * np.exp(-seconds / _CLASS_S)
    return dataclasses.replace(tracks, means=means, covariances=covariances, class_votes=votes)


def continue_tracks(
    tracks: Tracks,
    rows: NDArray[np.int64],
    boxes: Boxes3D,
    stamp_ns: int,
    numbers: ClassKinds,
    origin: Float64Array,
) -> None:
    """Take one box each, in the world frame, into the tracks at `rows`; changes `tracks`."""
    means, covariances = correct(
        tracks.means[rows],
        tracks.covariances[rows],
        POSITION,
        boxes.centers[:, :2],
        _position_noise(boxes.centers[:, :2], origin),
    )
    known = np.flatnonzero(np.isfinite(boxes.velocities).all(axis=1))
    noise = _velocity_noise(tracks.kinds[rows[known]], numbers)
    means[known], covariances[known] = correct(
        means[known], covariances[known], VELOCITY, boxes.velocities[known], noise
    )
    tracks.means[rows], tracks.covariances[rows] = means, covariances
    tracks.hits[rows] += 1
    seconds = (stamp_ns - tracks.seen_ns[rows]) * 1e-9
    first = 1.0 / tracks.hits[rows]  # a running mean until the time constant takes over
    yaw_gain, height_gain, size_gain = (
        np.maximum(first, 1.0 - np.exp(-seconds / lasts_s)) for lasts_s in (_YAW_S, _HEIGHT_S, _SIZE_S)
    )
    tracks.heights[rows] += height_gain * (boxes.centers[:, 2] - tracks.heights[rows])
    tracks.sizes[rows] += size_gain[:, None] * (boxes.sizes - tracks.sizes[rows])
    _turn(tracks, rows, boxes, yaw_gain)
    tracks.class_votes[rows, boxes.labels] += boxes.scores
    _vote(tracks, rows)
    tracks.scores[rows] = boxes.scores
    tracks.seen_ns[rows] = stamp_ns


def _vote(tracks: Tracks, rows: NDArray[np.int64]) -> None:
    """Change the classes of the tracks at `rows` of which another class leads clearly."""
    votes, labels = tracks.class_votes[rows], tracks.labels[rows]
    leaders, every = votes.argmax(axis=1), np.arange(len(rows))
    is_clear = votes[every, leaders] > _CLASS_LEAD * votes[every, labels]
    tracks.labels[rows] = np.where(is_clear, leaders, labels)


def _turn(tracks: Tracks, rows: NDArray[np.int64], boxes: Boxes3D, gain: Float64Array) -> None:
    """Take in headings; one that points backwards turns the axis of the box, and only a majority turns it round."""
    difference = wrap_angle(boxes.yaws - tracks.yaws[rows])
    is_opposed = np.abs(difference) > np.pi / 2
    folded = np.where(is_opposed, difference - np.pi * np.sign(difference), difference)
    votes = tracks.heading_votes[rows] + np.where(is_opposed, -boxes.scores, boxes.scores)
    yaws = tracks.yaws[rows] + gain * folded + np.where(votes < 0, np.pi, 0.0)
    tracks.yaws[rows] = wrap_angle(yaws)
    tracks.heading_votes[rows] = np.minimum(np.abs(votes), _MAX_HEADING_VOTES)


def started_tracks(boxes: Boxes3D, stamp_ns: int, numbers: ClassKinds, origin: Float64Array) -> Tracks:
    """Return one new track for each box in the world frame, seen from the vehicle at `origin` (2,)."""
    count = len(boxes)
    kinds = numbers.of_class[boxes.labels]
    is_known = np.isfinite(boxes.velocities).all(axis=1)
    covariances = np.zeros((count, 4, 4))
    covariances[:, POSITION, POSITION] = _position_noise(boxes.centers[:, :2], origin)
    # Twice the noise, because the velocity of a new object, or of a first frame, is a guess.
    deviation = np.where(is_known, 2.0 * numbers.velocity_noises[kinds], _UNKNOWN_VELOCITY)
    covariances[:, VELOCITY, VELOCITY] = deviation[:, None, None] ** 2 * np.eye(2)
    votes = np.zeros((count, len(boxes.class_names)))
    votes[np.arange(count), boxes.labels] = boxes.scores
    velocities = np.where(is_known[:, None], boxes.velocities, 0.0)
    return Tracks(
        ids=np.full(count, -1),
        kinds=kinds,
        means=np.concatenate([boxes.centers[:, :2], velocities], axis=1),
        covariances=covariances,
        heights=boxes.centers[:, 2].copy(),
        sizes=boxes.sizes.copy(),
        yaws=boxes.yaws.copy(),
        heading_votes=boxes.scores.copy(),
        class_votes=votes,
        labels=boxes.labels.copy(),
        scores=boxes.scores.copy(),
        hits=np.ones(count, dtype=np.int64),
        seen_ns=np.full(count, stamp_ns),
    )


def _position_noise(points: Float64Array, origin: Float64Array) -> Float64Array:
    """Return the covariances (K, 2, 2) of detected positions (K, 2), seen from `origin`."""
    rays = points - origin
    distances = np.sqrt((rays**2).sum(axis=1))
    rays = rays / np.maximum(distances, 1e-6)[:, None]
    radial, tangential = ((near + share * distances) ** 2 for near, share in (_RADIAL_NOISE, _TANGENTIAL_NOISE))
    along = rays[:, :, None] * rays[:, None, :]
    return np.asarray(tangential[:, None, None] * np.eye(2) + (radial - tangential)[:, None, None] * along)


def _velocity_noise(kinds: NDArray[np.int64], numbers: ClassKinds) -> Float64Array:
    return np.asarray(numbers.velocity_noises[kinds, None, None] ** 2 * np.eye(2))


def possible_pairs(
    tracks: Tracks, boxes: Boxes3D, numbers: ClassKinds, origin: Float64Array
) -> tuple[NDArray[np.int64], NDArray[np.int64], Float64Array]:
    """Return which box in the world frame may belong to which track: rows of tracks, rows of boxes, costs, (K,) each.

    The cost is minus twice the logarithm of the likelihood, apart from a constant.
    """
    x, y = (boxes.centers[None, :, axis] - tracks.means[:, axis, None] for axis in (0, 1))
    is_in_reach = x * x + y * y <= numbers.reaches[tracks.kinds][:, None] ** 2
    rows, columns = np.nonzero(is_in_reach & (tracks.kinds[:, None] == numbers.of_class[boxes.labels][None]))
    position = tracks.covariances[:, POSITION, POSITION] + _position_noise(tracks.means[:, POSITION], origin)
    velocity = tracks.covariances[:, VELOCITY, VELOCITY] + _velocity_noise(tracks.kinds, numbers)
    by_position = squared_distances(position[rows], np.stack([x[rows, columns], y[rows, columns]], axis=1))
    difference = np.nan_to_num(boxes.velocities[columns] - tracks.means[rows, VELOCITY])
    by_velocity = np.minimum(squared_distances(velocity[rows], difference), _VELOCITY_GATE)
    is_other_class = tracks.class_votes.argmax(axis=1)[rows] != boxes.labels[columns]
    costs = by_position + by_velocity + np.log(determinants_2x2(position))[rows] + _CLASS_CHANGE * is_other_class
    is_likely = by_position <= _GATE
    return rows[is_likely], columns[is_likely], costs[is_likely]


def same_objects(first: Boxes3D, second: Boxes3D, numbers: ClassKinds) -> NDArray[np.bool_]:
    """Return which boxes (M first, M second) lie so near each other that two objects of one kind have no room."""
    kinds, of_second = numbers.of_class[first.labels], numbers.of_class[second.labels]
    smallest = np.minimum(first.sizes[:, None, :2].min(axis=-1), second.sizes[None, :, :2].min(axis=-1))
    squared = ((first.centers[:, None, :2] - second.centers[None, :, :2]) ** 2).sum(axis=-1)
    is_inside = squared < (0.5 * smallest) ** 2
    is_across = numbers.keep_distance[kinds][:, None] & footprints_meet(first, second)
    return np.asarray((kinds[:, None] == of_second[None]) & (is_inside | is_across))


def repeated_tracks(tracks: Tracks, boxes: Boxes3D, numbers: ClassKinds) -> NDArray[np.bool_]:
    """Return which tracks (N,) repeat another one of their kind: the centre of one lies in the footprint of the other.

    Of two the one that was seen last stays, or else the one that was seen more often.

    Args:
        boxes: of the tracks.
    """
    is_in = centers_in_footprints(boxes, boxes)
    is_same_kind = tracks.kinds[:, None] == tracks.kinds[None]
    is_at = (is_in | is_in.T) & is_same_kind & numbers.keep_distance[tracks.kinds]
    np.fill_diagonal(is_at, val=False)
    is_repeated = np.zeros(len(tracks), dtype=bool)
    is_later = is_at.any(axis=1)
    order = np.lexsort((-tracks.scores, -tracks.hits, -tracks.seen_ns))
    for row in order[is_later[order]].tolist():
        is_later[row] = False
        if not is_repeated[row]:
            is_repeated |= is_at[row] & is_later
    return is_repeated
