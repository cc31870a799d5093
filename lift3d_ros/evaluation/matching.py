"""Brings predictions and labels of one recording together by stamp; what has no partner is counted, not scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from lift3d_ros.errors import Lift3dError
from lift3d_ros.replay.label_times import label_tolerance_s, pair_stamps
from lift3d_ros.types import BevDetections, Boxes3D, Float64Array


@dataclass(frozen=True, eq=False)
class LabelledFrame:
    """Predicted and labelled boxes of one moment, in the same frame.

    Args:
        stamp_ns: stamp of the labels.
        visibility: (M,) share of each labelled object that the pictures show, 0..1, NaN where unknown; None where
            nothing is known of any.
        result_ns: stamp of the prediction.
    """

    stamp_ns: int
    predictions: Boxes3D
    ground_truth: Boxes3D
    visibility: Float64Array | None = None
    result_ns: int = 0


@dataclass(frozen=True, eq=False)
class FrameMatches:
    """The frames of one recording that can be scored.

    Args:
        num_unlabelled: predictions without labels near their stamp; they do not count.
        num_unpredicted: labelled frames without a prediction near their stamp; they do not count.
        num_without_points: labels left out because no LiDAR point lies on them; None where points are not counted.
    """

    frames: tuple[LabelledFrame, ...]
    num_unlabelled: int = 0
    num_unpredicted: int = 0
    num_without_points: int | None = None


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
    partner = pair_stamps(label_stamps, predicted, tolerance_s)
    if not partner:
        raise Lift3dError(
            f"no prediction lies within {tolerance_s:g} s of a labelled frame: predictions from {_range(predicted)}, "
            f"labels from {_range(ground_truth)}; check that both belong to the same recording and clock"
        )
    frames = []
    for label_ns, stamp_ns in partner.items():
        labels = ground_truth[label_ns] if moved is None else moved(label_ns, stamp_ns)
        if labels is not None:
            frames.append(LabelledFrame(label_ns, predicted[stamp_ns], labels, result_ns=stamp_ns))
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
