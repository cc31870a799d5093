"""One-Euro filter for joints of tracked skeletons: still joints do not tremble, fast ones do not lag."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lift3d_ros.config import setting
from lift3d_ros.types import Float64Array, ScaleSource, TrackKey


@dataclass(frozen=True)
class SmoothingConfig:
    """How joints of tracked skeletons are smoothed over time."""

    enabled: bool = setting(False, "smooth the joints of instances that have a track id")
    cutoff_hz: float = setting(
        1.5, "cut-off for joints at rest; lower is smoother", unit="Hz", minimum=0.01, maximum=100.0
    )
    speed_gain: float = setting(
        3.0, "cut-off grows by this many Hz for each skeleton size per second of speed", minimum=0.0, maximum=1000.0
    )
    speed_cutoff_hz: float = setting(1.0, "cut-off for the speed itself", unit="Hz", minimum=0.01, maximum=100.0)
    max_gap_s: float = setting(0.5, "after a longer gap a track starts afresh", unit="s", minimum=0.0, maximum=60.0)


@dataclass
class _Track:
    stamp_ns: int
    values: Float64Array
    speed: Float64Array
    source: ScaleSource


class SkeletonSmoother:
    """Filters the joints of each track on their own.

    Source: Casiez, Roussel, Vogel, "1 Euro Filter", CHI 2012.
    """

    def __init__(self, config: SmoothingConfig) -> None:
        """Start without tracks."""
        self.config = config
        self._tracks: dict[TrackKey, _Track] = {}

    def reset(self) -> None:
        """Forget all tracks."""
        self._tracks.clear()

    def update(
        self, key: TrackKey, stamp_ns: int, hypotheses: Float64Array, size: float, source: ScaleSource
    ) -> Float64Array:
        """Return the filtered joints (J, 3) of one track.

        Args:
            hypotheses: (2, J, 3) the likelier one, which is filtered, and its mirror image; normalised where `source`
                is none, else metres. Not finite values pass through and start afresh afterwards.
            size: of the skeleton in that unit, so that speeds compare between units.
            source: where metres come from; two sources put the same skeleton at different distances.

        A stamp that is not later than the last one, a gap, another number of joints, another source, or a change to the
        other side of the mirror starts the track afresh: between two of them lies no pose.
        """
        joints: Float64Array = hypotheses[0]
        track = self._tracks.get(key)
        period_s = 0.0 if track is None else (stamp_ns - track.stamp_ns) * 1e-9
        if (
            track is None
            or not 0.0 < period_s <= self.config.max_gap_s
            or track.values.shape != joints.shape
            or track.source != source
            or _continues_other(track.values, hypotheses)
        ):
            self._tracks[key] = _Track(stamp_ns, joints.copy(), np.zeros_like(joints), source)
            return joints
        last = np.where(np.isfinite(track.values), track.values, joints)
        raw_speed = (joints - last) / (period_s * max(size, 1e-9))
        speed = track.speed + _weight(self.config.speed_cutoff_hz, period_s) * (np.nan_to_num(raw_speed) - track.speed)
        # One cut-off for a joint, so that its path is not bent towards the axes.
        magnitude = np.linalg.norm(speed, axis=1, keepdims=True)
        weight = _weight(self.config.cutoff_hz + self.config.speed_gain * magnitude, period_s)
        values = last + weight * (joints - last)
        self._tracks[key] = _Track(stamp_ns, values, speed, source)
        return np.asarray(values)

    def drop_older(self, stamp_ns: int) -> None:
        """Forget tracks that ended longer ago than a gap may last, so that memory stays bounded."""
        oldest = stamp_ns - round(self.config.max_gap_s * 1e9)
        self._tracks = {key: track for key, track in self._tracks.items() if track.stamp_ns >= oldest}


def _continues_other(last: Float64Array, hypotheses: Float64Array) -> bool:
    """Whether joints (J, 3) resemble the second hypothesis clearly more than the first, wherever each of them stands.

    While both are nearly the same, neither is clearly nearer.
    """
    is_finite = np.isfinite(hypotheses).all(axis=(0, 2)) & np.isfinite(last).all(axis=1)
    if not is_finite.any():
        return False
    moved = hypotheses[:, is_finite] - last[is_finite]
    first, second = ((moved - moved.mean(axis=1, keepdims=True)) ** 2).sum(axis=(1, 2))
    return bool(first > 2.0 * second)


def _weight(cutoff_hz: Float64Array | float, period_s: float) -> Float64Array | float:
    return 1.0 / (1.0 + 1.0 / (2.0 * np.pi * cutoff_hz * period_s))
