"""Brings predictions and labels of one recording together by stamp; what has no partner is counted, not scored."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lift3d_ros.errors import Lift3dError
from lift3d_ros.types import BevDetections, Boxes3D

_MAX_TOLERANCE_S = 0.2


@dataclass(frozen=True, eq=False)
class LabelledFrame:
    """Predicted and labelled boxes of one moment, in the same frame; `stamp_ns` is that of the labels."""

    stamp_ns: int
    predictions: Boxes3D
    ground_truth: Boxes3D


@dataclass(frozen=True, eq=False)
class FrameMatches:
    """The frames of one recording that can be scored.

    Args:
        num_unlabelled: predictions without labels near their stamp; they do not count.
        num_unpredicted: labelled frames without a prediction near their stamp; they do not count.
    """

    frames: tuple[LabelledFrame, ...]
    num_unlabelled: int = 0
    num_unpredicted: int = 0


def label_tolerance_s(label_stamps: Collection[int]) -> float:
    """Return how far from its labels a prediction may be: half the time between labels, at most 0.2 s."""
    gaps = np.diff(sorted(label_stamps))
    return min(float(np.median(gaps)) * 0.5e-9 if len(gaps) else math.inf, _MAX_TOLERANCE_S)


def match_frames(
    predictions: Iterable[BevDetections] | Mapping[int, Boxes3D],
    ground_truth: Mapping[int, Boxes3D],
    tolerance_s: float | None = None,
    moved: Callable[[int, int], Boxes3D | None] | None = None,
) -> FrameMatches:
    """Pair each labelled frame with the prediction nearest in time.

    A prediction takes part in one pair at most, and so does a labelled frame: labels may be denser than
    predictions, or the other way round.

    Args:
        predictions: results of one recording in any order, or stamp_ns -> boxes.
        ground_truth: stamp_ns -> labelled boxes; a frame without objects is an entry without boxes.
        tolerance_s: stamps farther apart are never paired; None takes :func:`label_tolerance_s`.
        moved: gives the labels of the first stamp as they are at the second one, that of the prediction; None where
            that is not known, then both count as without partner. Without it labels are compared as they are.

    Raises:
        Lift3dError: nothing to pair (names both ranges of stamps), two predictions with one stamp, or boxes
            given in different frames.
    """
    predicted = _by_stamp(predictions)
    if not predicted or not ground_truth:
        lacking = "predictions" if not predicted else "labelled frames"
        raise Lift3dError(f"there are no {lacking} to evaluate; expected at least one frame of each")
    label_stamps = sorted(ground_truth)
    tolerance_s = label_tolerance_s(label_stamps) if tolerance_s is None else tolerance_s
    tolerance_ns = round(tolerance_s * 1e9)
    partner: dict[int, int] = {}
    for stamp_ns in sorted(predicted):
        label_ns = nearest_stamp(label_stamps, stamp_ns)
        distance = abs(label_ns - stamp_ns)
        if distance <= tolerance_ns and (label_ns not in partner or distance < abs(label_ns - partner[label_ns])):
            partner[label_ns] = stamp_ns
    if not partner:
        raise Lift3dError(
            f"no prediction lies within {tolerance_s:g} s of a labelled frame: predictions from {_range(predicted)}, "
            f"labels from {_range(ground_truth)}; check that both belong to the same recording and clock"
        )
    frames = []
    for label_ns, stamp_ns in sorted(partner.items()):
        labels = ground_truth[label_ns] if moved is None else moved(label_ns, stamp_ns)
        if labels is not None:
            frames.append(LabelledFrame(label_ns, predicted[stamp_ns], labels))
            _check_same_frame(frames[-1])
    if not frames:
        raise Lift3dError(
            "labels and predictions have different stamps, and the motion of the vehicle between both is not known; "
            "record /tf or an Odometry topic with the labels"
        )
    return FrameMatches(tuple(frames), len(predicted) - len(frames), len(ground_truth) - len(frames))


def _by_stamp(predictions: Iterable[BevDetections] | Mapping[int, Boxes3D]) -> dict[int, Boxes3D]:
    if isinstance(predictions, Mapping):
        return dict(predictions)
    predicted: dict[int, Boxes3D] = {}
    for detections in predictions:
        if detections.stamp_ns in predicted:
            raise Lift3dError(
                f"two predictions have the stamp {detections.stamp_ns} ns; expected one recording in one run. "
                "Match each recording by itself and score the matches together"
            )
        predicted[detections.stamp_ns] = detections.boxes
    return predicted


def nearest_stamp(stamps: Sequence[int], stamp_ns: int) -> int:
    """Return the entry of the sorted `stamps` nearest to `stamp_ns`, the earlier one of two equally near."""
    after = bisect.bisect_left(stamps, stamp_ns)
    candidates = stamps[max(after - 1, 0) : after + 1]
    return min(candidates, key=lambda candidate: abs(candidate - stamp_ns))


def _range(stamps: Iterable[int]) -> str:
    ordered = sorted(stamps)
    return f"{ordered[0]} to {ordered[-1]} ns ({len(ordered)} frames)"


def _check_same_frame(frame: LabelledFrame) -> None:
    predicted, labelled = frame.predictions.frame_id, frame.ground_truth.frame_id
    if predicted != labelled:
        raise Lift3dError(
            f"frame at {frame.stamp_ns} ns: predictions are given in '{predicted}', labels in '{labelled}'; expected "
            "both in the base frame at that stamp. Transform the labels first"
        )
