"""Gives boxes ids that stay with the object: association seen from above, one Kalman filter per object.

Tracks live in the world frame, so a vehicle that turns moves nothing. Boxes are associated greedily, most likely pair
first and confident boxes before doubtful ones; doubtful boxes continue tracks and start none. No box is withheld: what
belongs to no confirmed track passes with id -1.

Source: Weng et al., AB3DMOT (2020); Chiu et al., "Probabilistic 3D Multi-Object Tracking" (2020), greedy association by
Mahalanobis distance; Zhang et al., ByteTrack (2022), two score thresholds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.config import setting
from lift3d_ros.geometry.boxes import transform_boxes
from lift3d_ros.pipelines.tracks import (
    ClassKinds,
    Tracks,
    boxes_of,
    continue_tracks,
    kinds_of,
    possible_pairs,
    predicted_tracks,
    repeated_tracks,
    same_objects,
    started_tracks,
)
from lift3d_ros.types import Boxes3D, EgoMotion, Float64Array

_KEY = "tracking."
_UNSEEN_SCORE_S = 0.5  # the score of an unseen track falls by 63 % in this time


@dataclass(frozen=True)
class TrackingConfig:
    """How boxes become tracks."""

    enabled: bool = setting(True, "give boxes ids that stay with the object; needs ego motion; false reports ids of -1")
    smooths_boxes: bool = setting(
        True,
        "report tracked boxes as the track knows them (position, heading, size, velocity, class); false: as detected",
    )
    start_score: float = setting(0.3, "boxes from this score on start a track", minimum=0.0, maximum=1.0)
    continue_score: float = setting(
        0.1,
        "boxes from this score on continue a track, and are then reported below detector.score_threshold, too",
        minimum=0.0,
        maximum=1.0,
    )
    confirm_hits: int = setting(
        2, "a track has its id from this number of boxes in succession on; until then -1", minimum=1, maximum=100
    )
    instant_score: float = setting(0.6, "a box from this score on has its id at once", minimum=0.0, maximum=1.0)
    report_unseen_s: float = setting(
        0.5,
        "tracks without a box go on being reported for this time, with falling score",
        unit="s",
        minimum=0.0,
        maximum=10.0,
    )
    max_unseen_s: float = setting(
        1.5,
        "tracks without a box end after this time; until then they keep their id",
        unit="s",
        minimum=0.0,
        maximum=10.0,
    )


class BoxTracker:
    """The tracks of one sequence of frames; ids are never used twice, not after a reset either."""

    def __init__(self, config: TrackingConfig) -> None:
        """Start without tracks."""
        self.config = config
        self._next_id = 1
        self._stamp_ns = 0
        self._tracks: Tracks | None = None

    def reset(self) -> None:
        """End every track."""
        self._tracks = None

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Return the tracks as arrays."""
        arrays = {f"{_KEY}next_id": np.array(self._next_id), f"{_KEY}stamp_ns": np.array(self._stamp_ns)}
        if self._tracks is not None:
            arrays |= {f"{_KEY}{name}": array.copy() for name, array in self._tracks.arrays().items()}
        return arrays

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Set the tracks from a snapshot."""
        self.reset()
        self._next_id = int(arrays.get(f"{_KEY}next_id", 1))
        self._stamp_ns = int(arrays.get(f"{_KEY}stamp_ns", 0))
        if f"{_KEY}ids" in arrays:
            found = {name.removeprefix(_KEY): array for name, array in arrays.items()}
            # Snapshots of earlier versions do not tell the class that was reported; then it was the leading one.
            found.setdefault("labels", found["class_votes"].argmax(axis=1))
            self._tracks = Tracks(*(found[field.name].copy() for field in dataclasses.fields(Tracks)))

    def update(self, boxes: Boxes3D, stamp_ns: int, ego: EgoMotion | None, *, is_continued: bool) -> Boxes3D:
        """Return `boxes` in their order with ids, and behind them the tracks that go on unseen.

        Args:
            boxes: everything that was detected, doubtful boxes too, in the base frame at `stamp_ns`.
            ego: without it nothing is tracked, and every track ends.
            is_continued: this frame follows the last one; otherwise every track ends before it.
        """
        if ego is None or not is_continued:
            self.reset()
        if ego is None:
            return boxes
        kinds = kinds_of(boxes.class_names)
        in_world = transform_boxes(ego.T_world_base, boxes, ego.world_frame)
        origin = ego.T_world_base[:2, 3]
        if self._tracks is None:
            tracks = started_tracks(in_world.select(np.zeros(0, dtype=np.int64)), stamp_ns, kinds, origin)
        else:
            tracks = predicted_tracks(self._tracks, (stamp_ns - self._stamp_ns) * 1e-9, kinds)
        track_of = self._associate(tracks, in_world, kinds, origin)
        hit = np.flatnonzero(track_of >= 0)
        continue_tracks(tracks, track_of[hit], in_world.select(hit), stamp_ns, kinds, origin)
        new = self._starting(in_world, kinds, track_of)
        track_of[new] = len(tracks) + np.arange(len(new))
        tracks = tracks.extended(started_tracks(in_world.select(new), stamp_ns, kinds, origin))
        known = boxes_of(tracks, boxes.class_names, boxes.frame_id, ego)
        is_kept = ~repeated_tracks(tracks, known, kinds)
        tracks.ids[~is_kept] = -1
        self._confirm(tracks, is_kept & (tracks.seen_ns == stamp_ns))
        known = dataclasses.replace(known, track_ids=tracks.ids)
        reported = self._reported(tracks, known, boxes, track_of, stamp_ns, kinds)
        unseen_s = (stamp_ns - tracks.seen_ns) * 1e-9
        is_known = (unseen_s == 0) | ((tracks.ids >= 0) & (unseen_s <= self.config.max_unseen_s))
        self._tracks = tracks.select(is_kept & is_known)
        self._stamp_ns = stamp_ns
        return reported

    def _associate(self, tracks: Tracks, boxes: Boxes3D, kinds: ClassKinds, origin: Float64Array) -> NDArray[np.int64]:
        """Return the row of the track of each box, -1 without one."""
        track_of = np.full(len(boxes), -1)
        is_sure = boxes.scores >= self.config.start_score
        is_doubtful = ~is_sure & (boxes.scores >= self.config.continue_score)
        is_free = np.ones(len(tracks), dtype=bool)
        for of_stage, is_open in ((is_sure, is_free), (is_doubtful, tracks.ids >= 0)):
            rows, columns = np.flatnonzero(is_open & is_free), np.flatnonzero(of_stage)
            pairs = possible_pairs(tracks.select(rows), boxes.select(columns), kinds, origin)
            for row, column in _cheapest_first(*pairs):
                track_of[columns[column]] = rows[row]
                is_free[rows[row]] = False
        return track_of

    def _starting(self, boxes: Boxes3D, kinds: ClassKinds, track_of: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the boxes that start a track: sure ones, best first, that are not a second box of the same object."""
        is_taken = track_of >= 0
        candidates = np.flatnonzero(~is_taken & (boxes.scores >= self.config.start_score))
        order = candidates[np.argsort(-boxes.scores[candidates], kind="stable")]
        is_second = same_objects(boxes.select(order), boxes, kinds)
        new = []
        for index, others in zip(order.tolist(), is_second, strict=True):
            if not (others & is_taken).any():
                is_taken[index] = True
                new.append(index)
        return np.array(new, dtype=np.int64)

    def _confirm(self, tracks: Tracks, is_candidate: NDArray[np.bool_]) -> None:
        is_sure = (tracks.hits >= self.config.confirm_hits) | (tracks.scores >= self.config.instant_score)
        confirmed = np.flatnonzero((tracks.ids < 0) & is_candidate & is_sure)
        tracks.ids[confirmed] = self._next_id + np.arange(len(confirmed))
        self._next_id += len(confirmed)

    def _reported(
        self,
        tracks: Tracks,
        known: Boxes3D,
        boxes: Boxes3D,
        track_of: NDArray[np.int64],
        stamp_ns: int,
        kinds: ClassKinds,
    ) -> Boxes3D:
        hit = np.flatnonzero(track_of >= 0)
        ids = np.full(len(boxes), -1)
        ids[hit] = tracks.ids[track_of[hit]]
        result = dataclasses.replace(boxes, track_ids=ids)
        if self.config.smooths_boxes:
            tracked = np.flatnonzero(ids >= 0)
            result = _with_rows(result, tracked, known.select(track_of[tracked]))
        unseen_s = (stamp_ns - tracks.seen_ns) * 1e-9
        known = dataclasses.replace(known, scores=known.scores * np.exp(-unseen_s / _UNSEEN_SCORE_S))
        unseen = known.select((tracks.ids >= 0) & (unseen_s > 0) & (unseen_s <= self.config.report_unseen_s))
        is_seen_otherwise = same_objects(unseen, boxes.select(hit), kinds).any(axis=1)
        return _joined(result, unseen.select(~is_seen_otherwise))


def _cheapest_first(
    rows: NDArray[np.int64], columns: NDArray[np.int64], costs: Float64Array
) -> Iterator[tuple[int, int]]:
    """Yield pairs (row, column), lowest cost first; each row and each column at most once."""
    order = np.argsort(costs, kind="stable")
    free_rows, free_columns = set(rows.tolist()), set(columns.tolist())
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row in free_rows and column in free_columns:
            free_rows.remove(row)
            free_columns.remove(column)
            yield row, column


_ROWS = ("centers", "sizes", "yaws", "velocities", "scores", "labels", "track_ids")


def _with_rows(boxes: Boxes3D, index: NDArray[np.int64], rows: Boxes3D) -> Boxes3D:
    """Return `boxes` with those at `index` replaced."""
    arrays = {name: np.array(getattr(boxes, name)) for name in _ROWS}
    for name, array in arrays.items():
        array[index] = getattr(rows, name)
    return Boxes3D(boxes.frame_id, boxes.class_names, **arrays)


def _joined(first: Boxes3D, second: Boxes3D) -> Boxes3D:
    arrays = {name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in _ROWS}
    return Boxes3D(first.frame_id, first.class_names, **arrays)
