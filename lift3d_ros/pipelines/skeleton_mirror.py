"""Decides between a lifted shape and its depth-reversed copy, which look the same from far away.

Every cue gives log odds for the first hypothesis, the shape as the network gives it; they add up. Where the sum stays
near zero the result says that it is undecided (fact sheet 7.11 to 7.13).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.config import setting
from lift3d_ros.pipelines.skeleton_placement import mean_joint
from lift3d_ros.types import Float64Array, MirrorCue, TrackKey

# Angle between the long axis of an upright object and the vertical: concentration 1 / (0.45 rad)^2 for most of them,
# and a part that lies, bends or climbs in any direction.
_UPRIGHT_CONCENTRATION = 5.0
_ANY_POSE = 0.25
# Residuals of different joints are far from independent; this many count. Found on validation views of humans, animals
# and chairs from 2 to 20 sizes away: log odds are right at least as often as they state.
_INDEPENDENT_RESIDUALS = 6.0
_LARGEST_CUE = 6.0
# A body of RMS size 1 whose joints went further than this (RMS) is another one, to which a tracker gave the same id.
# Found on lifted people who run, jump and roll, seen at 10 to 30 Hz: less would cost them their memory, and with more
# the memory of one of them decides for another.
_SAME_BODY = 0.35
_SAME_BODY_PER_S = 1.5


@dataclass(frozen=True)
class MirrorConfig:
    """What is believed about depth-reversed copies."""

    decided_probability: float = setting(
        0.75, "a hypothesis less probable than this is reported as undecided", minimum=0.5, maximum=1.0
    )
    keypoint_noise: float = setting(
        0.02, "error of keypoints, in halves of the skeleton's extent in the picture", minimum=0.001, maximum=1.0
    )
    remembers_tracks: bool = setting(True, "instances with a track id keep their side of the mirror over time")
    evidence_part: float = setting(
        0.3,
        "part of a cue that counts as new in a tracked frame: errors of successive frames are alike",
        minimum=0.0,
        maximum=1.0,
    )
    max_gap_s: float = setting(1.0, "after a longer gap a track starts afresh", unit="s", minimum=0.0, maximum=60.0)


@dataclass(frozen=True)
class MirrorDecision:
    """Probability of the first hypothesis, and which cue decided."""

    probability: float
    cue: MirrorCue


def perspective_log_odds(residuals: Float64Array, shape_error: Float64Array, keypoint_noise: float) -> Float64Array:
    """Return log odds (B,) from how well both hypotheses fit the rays.

    Args:
        residuals: (B, 2) root mean square distances, in halves of the extent.
        shape_error: (B,) expected error of the shape in that unit; it hides perspective as noise of keypoints does.
    """
    variance = keypoint_noise**2 + (0.5 * shape_error) ** 2
    squares = np.minimum(residuals, 1e3) ** 2
    odds = 0.5 * _INDEPENDENT_RESIDUALS * (squares[:, 1] - squares[:, 0]) / variance
    return np.asarray(np.clip(odds, -_LARGEST_CUE, _LARGEST_CUE))


def gravity_log_odds(
    joints: Float64Array, lower: NDArray[np.bool_], upper: NDArray[np.bool_], up: Float64Array
) -> Float64Array:
    """Return log odds (B,) from how upright both hypotheses (B, 2, J, 3) stand; 0 where no joints of a kind are given.

    Args:
        lower, upper: (B, J) seen joints that are below and above while the object stands.
        up: (3,) against gravity, in the frame of the joints.
    """
    is_told = lower.any(axis=1) & upper.any(axis=1)
    axis = mean_joint(joints, upper) - mean_joint(joints, lower)
    length = np.linalg.norm(axis, axis=2) * np.linalg.norm(up)
    is_told &= length.min(axis=1) >= 1e-9
    cosine = axis @ up / np.maximum(length, 1e-9)
    k = _UPRIGHT_CONCENTRATION
    density = (1.0 - _ANY_POSE) * k / (2 * np.pi * -np.expm1(-2 * k)) * np.exp(k * (cosine - 1.0)) + _ANY_POSE / (
        4 * np.pi
    )
    return np.asarray(np.where(is_told, np.log(density[:, 0] / density[:, 1]), 0.0))


@dataclass
class _Belief:
    stamp_ns: int
    shapes: Float64Array  # (2, J, 3), centred, RMS size 1; padded as in its batch
    is_seen: NDArray[np.bool_]
    probability: float


class MirrorTracks:
    """Carries the belief about each track from frame to frame.

    A body moves little between two frames, so the hypothesis that continues the earlier one is the likelier one. While
    both hypotheses are nearly the same (all depths alike) nothing is carried: there a track may change sides. One that
    resembles neither earlier hypothesis starts afresh.
    """

    def __init__(self, config: MirrorConfig) -> None:
        """Start without tracks."""
        self.config = config
        self._beliefs: dict[TrackKey, _Belief] = {}

    def reset(self) -> None:
        """Forget all tracks."""
        self._beliefs.clear()

    def decide(
        self,
        cues: Mapping[MirrorCue, Float64Array],
        joints: Float64Array,
        is_seen: NDArray[np.bool_],
        tracks: Sequence[TrackKey | None],
        stamp_ns: int = 0,
    ) -> list[MirrorDecision]:
        """Return the decision for each instance and remember it for its track.

        Args:
            cues: name -> log odds (B,) for the first hypothesis, from this frame alone; 0 where a cue says nothing.
            joints: (B, 2, J, 3) both hypotheses.
            is_seen: (B, J), false for padding.
            tracks: None for an instance that is not tracked; otherwise no two alike.
        """
        if not self.config.remembers_tracks:
            return self._decisions(cues)
        shapes = _normalised(joints, is_seen)
        followed = {row: track for row, track in enumerate(tracks) if track is not None}
        rows, last = [], []
        for row, track in followed.items():
            belief = self._beliefs.get(track)
            if belief is not None and 0 < stamp_ns - belief.stamp_ns <= self.config.max_gap_s * 1e9:
                rows.append(row)
                last.append(belief)
        if rows:
            new_part, carried = np.ones(len(tracks)), np.zeros(len(tracks))
            carried[rows], is_same = _carried_log_odds(last, shapes[rows], is_seen[rows], stamp_ns)
            new_part[rows] = np.where(is_same, self.config.evidence_part, 1.0)
            cues = {**{cue: new_part * odds for cue, odds in cues.items()}, "track": carried}
        decisions = self._decisions(cues)
        for row, track in followed.items():
            self._beliefs[track] = _Belief(stamp_ns, shapes[row], is_seen[row], decisions[row].probability)
        return decisions

    def drop_older(self, stamp_ns: int) -> None:
        """Forget tracks that ended longer ago than a gap may last, so that memory stays bounded."""
        oldest = stamp_ns - round(self.config.max_gap_s * 1e9)
        self._beliefs = {key: belief for key, belief in self._beliefs.items() if belief.stamp_ns >= oldest}

    def _decisions(self, cues: Mapping[MirrorCue, Float64Array]) -> list[MirrorDecision]:
        # In the order of their declaration where two cues say the same.
        names = [cue for cue in get_args(MirrorCue) if cue in cues]
        each = np.stack([cues[cue] for cue in names], axis=1)
        odds = np.clip(each.sum(axis=1), -2 * _LARGEST_CUE, 2 * _LARGEST_CUE)
        probability = 1.0 / (1.0 + np.exp(-odds))
        is_decided = (np.maximum(probability, 1.0 - probability) >= self.config.decided_probability) & (odds != 0.0)
        strongest = np.argmax(np.where(odds >= 0, 1.0, -1.0)[:, None] * each, axis=1)
        return [
            MirrorDecision(value, names[cue] if is_clear else "undecided")
            for value, cue, is_clear in zip(probability.tolist(), strongest.tolist(), is_decided.tolist(), strict=True)
        ]


def _normalised(joints: Float64Array, is_seen: NDArray[np.bool_]) -> Float64Array:
    """Return joints (B, 2, J, 3) with the mean of seen ones 0 and their RMS size 1."""
    weights = is_seen.astype(np.float64)
    centred = joints - mean_joint(joints, is_seen)[:, :, None]
    square = np.einsum("bj,bhjk->bh", weights, centred**2)
    size = np.sqrt(square / np.maximum(weights.sum(axis=1), 1.0)[:, None])
    return np.asarray(centred / np.maximum(size, 1e-9)[:, :, None, None])


def _carried_log_odds(
    last: Sequence[_Belief], shapes: Float64Array, is_seen: NDArray[np.bool_], stamp_ns: int
) -> tuple[Float64Array, NDArray[np.bool_]]:
    """Return log odds (B,) of the first of `shapes` (B, 2, J, 3), from the beliefs then and the way between.

    Also (B,) whether it is the body of then; otherwise its log odds are 0.
    """
    then = np.zeros_like(shapes)
    shared = np.zeros_like(is_seen)
    for row, belief in enumerate(last):
        # Batches are padded to their largest skeleton; padding was not seen.
        count = min(shared.shape[1], len(belief.is_seen))
        then[row, :, :count] = belief.shapes[:, :count]
        shared[row, :count] = belief.is_seen[:count]
    shared &= is_seen
    difference2 = ((then[:, :, None] - shapes[:, None]) ** 2).sum(axis=4)  # then, now
    count = np.maximum(shared.sum(axis=1), 1)[:, None, None]
    distance2 = (difference2 * shared[:, None, None]).sum(axis=3) / count
    gap_s = np.array([stamp_ns - belief.stamp_ns for belief in last]) * 1e-9
    variance = (0.1**2 + (0.5 * gap_s) ** 2)[:, None, None]
    nearest = distance2.min(axis=(1, 2), keepdims=True)
    likelihood = np.exp(-0.5 * _INDEPENDENT_RESIDUALS * (distance2 - nearest) / variance)
    # A little of everything, so that a belief can be lost again.
    transition = likelihood / likelihood.sum(axis=2, keepdims=True) * 0.98 + 0.01
    probability = np.array([belief.probability for belief in last])
    prior = np.einsum("bt,btn->bn", np.stack([probability, 1.0 - probability], axis=1), transition)
    is_same = np.sqrt(nearest[:, 0, 0]) <= _SAME_BODY + _SAME_BODY_PER_S * gap_s
    return np.where(is_same & shared.any(axis=1), np.log(prior[:, 0] / prior[:, 1]), 0.0), is_same
