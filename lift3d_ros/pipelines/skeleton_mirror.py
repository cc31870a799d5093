"""Decides between a lifted shape and its depth-reversed copy, which look the same from far away.

Every cue gives log odds for the first hypothesis, the shape as the network gives it; they add up. Where the sum stays
near zero the result says that it is undecided (fact sheet 7.11 to 7.13).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.config import setting
from lift3d_ros.geometry.alignment import weighted_mean
from lift3d_ros.geometry.skeleton import SkeletonFacts
from lift3d_ros.types import Float64Array, MirrorCue

# Angle between the long axis of an upright object and the vertical: concentration 1 / (0.45 rad)^2 for most of them,
# and a part that lies, bends or climbs in any direction.
_UPRIGHT_CONCENTRATION = 5.0
_ANY_POSE = 0.25
# Residuals of different joints are far from independent; this many count. Found on validation views of humans, animals
# and chairs from 2 to 20 sizes away: log odds are right at least as often as they state.
_INDEPENDENT_RESIDUALS = 6.0
_LARGEST_CUE = 6.0


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


def gravity_log_odds(joints: Float64Array, is_seen: NDArray[np.bool_], facts: SkeletonFacts, up: Float64Array) -> float:
    """Return log odds from how upright both hypotheses (2, J, 3) stand; 0 where the skeleton file does not tell.

    Args:
        up: (3,) against gravity, in the frame of the joints.
    """
    lower, upper = ([joint for joint in group if is_seen[joint]] for group in (facts.lower, facts.upper))
    if not lower or not upper:
        return 0.0
    axis = joints[:, upper].mean(axis=1) - joints[:, lower].mean(axis=1)
    length = np.linalg.norm(axis, axis=1) * np.linalg.norm(up)
    if length.min() < 1e-9:
        return 0.0
    cosine = axis @ up / length
    k = _UPRIGHT_CONCENTRATION
    density = (1.0 - _ANY_POSE) * k / (2 * np.pi * -np.expm1(-2 * k)) * np.exp(k * (cosine - 1.0)) + _ANY_POSE / (
        4 * np.pi
    )
    return float(np.log(density[0] / density[1]))


@dataclass
class _Belief:
    stamp_ns: int
    shapes: Float64Array  # (2, J, 3), centred, RMS size 1
    is_seen: NDArray[np.bool_]
    probability: float


class MirrorTracks:
    """Carries the belief about each track from frame to frame.

    A body moves little between two frames, so the hypothesis that continues the earlier one is the likelier one. While
    both hypotheses are nearly the same (all depths alike) nothing is carried: there a track may change sides.
    """

    def __init__(self, config: MirrorConfig) -> None:
        """Start without tracks."""
        self.config = config
        self._beliefs: dict[int, _Belief] = {}

    def reset(self) -> None:
        """Forget all tracks."""
        self._beliefs.clear()

    def decide(
        self,
        cues: dict[MirrorCue, float],
        joints: Float64Array,
        is_seen: NDArray[np.bool_],
        track_id: int = -1,
        stamp_ns: int = 0,
    ) -> MirrorDecision:
        """Return the decision for one instance and remember it for its track.

        Args:
            cues: name -> log odds for the first hypothesis, from this frame alone.
            joints: (2, J, 3) both hypotheses.
            track_id: -1 for an instance that is not tracked.
        """
        if track_id < 0 or not self.config.remembers_tracks:
            return self._decision(cues)
        now = _Belief(stamp_ns, _normalised(joints, is_seen), is_seen, 0.5)
        last = self._beliefs.get(track_id)
        gap_s = 0.0 if last is None else (stamp_ns - last.stamp_ns) * 1e-9
        if last is not None and 0.0 < gap_s <= self.config.max_gap_s and last.shapes.shape == now.shapes.shape:
            cues = {cue: self.config.evidence_part * odds for cue, odds in cues.items()}
            cues["track"] = _carried_log_odds(last, now, gap_s)
        decision = self._decision(cues)
        now.probability = decision.probability
        self._beliefs[track_id] = now
        return decision

    def drop_older(self, stamp_ns: int) -> None:
        """Forget tracks that ended longer ago than a gap may last, so that memory stays bounded."""
        oldest = stamp_ns - round(self.config.max_gap_s * 1e9)
        self._beliefs = {key: belief for key, belief in self._beliefs.items() if belief.stamp_ns >= oldest}

    def _decision(self, cues: dict[MirrorCue, float]) -> MirrorDecision:
        odds = float(np.clip(sum(cues.values()), -2 * _LARGEST_CUE, 2 * _LARGEST_CUE))
        probability = 1.0 / (1.0 + float(np.exp(-odds)))
        if max(probability, 1.0 - probability) < self.config.decided_probability:
            return MirrorDecision(probability, "undecided")
        sign = 1.0 if odds >= 0 else -1.0
        # In the order of their declaration where two cues say the same.
        order = [cue for cue in get_args(MirrorCue) if cue in cues]
        return MirrorDecision(probability, max(order, key=lambda cue: sign * cues[cue]))


def _normalised(joints: Float64Array, is_seen: NDArray[np.bool_]) -> Float64Array:
    weights = np.repeat(is_seen[None].astype(np.float64), 2, axis=0)
    centred = joints - weighted_mean(joints, weights)[:, None]
    size = np.sqrt(np.einsum("hj,hjk->h", weights, centred**2) / np.maximum(weights.sum(axis=1), 1.0))
    return np.asarray(centred / np.maximum(size, 1e-9)[:, None, None])


def _carried_log_odds(last: _Belief, now: _Belief, gap_s: float) -> float:
    """Return log odds of the first hypothesis now, from the belief then and the way between."""
    shared = last.is_seen & now.is_seen
    if not shared.any():
        return 0.0
    difference = last.shapes[:, None, shared] - now.shapes[None, :, shared]  # then, now
    distance2 = (difference**2).sum(axis=3).mean(axis=2)
    variance = 0.1**2 + (0.5 * gap_s) ** 2
    likelihood = np.exp(-0.5 * _INDEPENDENT_RESIDUALS * (distance2 - distance2.min()) / variance)
    # A little of everything, so that a belief can be lost again.
    transition = likelihood / likelihood.sum(axis=1, keepdims=True) * 0.98 + 0.01
    then = np.array([last.probability, 1.0 - last.probability])
    prior = then @ transition
    return float(np.log(prior[0] / prior[1]))
