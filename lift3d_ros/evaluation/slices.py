"""Parts of an evaluation that are scored by themselves: distance ranges and levels of visibility."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import ConfigError
from lift3d_ros.evaluation.assignment import assign, ground_distances
from lift3d_ros.evaluation.matching import FrameMatches, LabelledFrame

# The levels of nuScenes.
VISIBILITY_LEVELS = ((0.0, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0))


@dataclass(frozen=True)
class DistanceRange:
    """From `low` up to but without `high`, metres from the vehicle, from above."""

    low: float
    high: float

    @property
    def name(self) -> str:
        """Return it as it is given on the command line."""
        return f"{self.low:g}-{self.high:g}"


DEFAULT_RANGES = (DistanceRange(0.0, 20.0), DistanceRange(20.0, 35.0), DistanceRange(35.0, 51.2))


def parse_ranges(text: str) -> tuple[DistanceRange, ...]:
    """Read ``LOW-HIGH,LOW-HIGH,...`` in metres.

    Raises:
        ConfigError: something else, or a range without extent.
    """
    ranges = []
    for part in text.split(","):
        low, separator, high = part.strip().partition("-")
        try:
            found = DistanceRange(float(low), float(high))
        except ValueError:
            separator, found = "", DistanceRange(0.0, 0.0)
        if not separator or not 0.0 <= found.low < found.high < 1e4:
            raise ConfigError(f"--ranges '{text}': expected metres as LOW-HIGH,..., for example 0-20,20-35,35-51.2")
        ranges.append(found)
    return tuple(ranges)


def within_range(recordings: Sequence[FrameMatches], part: DistanceRange) -> list[FrameMatches]:
    """Return labels and predictions that lie in a range, each by its own centre."""
    return [_with_frames(item, [_frame_within(frame, part) for frame in item.frames]) for item in recordings]


def seen_between(recordings: Sequence[FrameMatches], low: float, high: float) -> list[FrameMatches]:
    """Return the labels of a level of visibility, and the predictions that did not find a label of another level.

    Predictions have no visibility of their own: one that found no label at all is a false positive of every level.
    """
    return [_with_frames(item, [_frame_seen(frame, low, high) for frame in item.frames]) for item in recordings]


def num_labels(recordings: Sequence[FrameMatches]) -> int:
    """Return how many labels there are."""
    return sum(len(frame.ground_truth) for item in recordings for frame in item.frames)


def _with_frames(matches: FrameMatches, frames: Sequence[LabelledFrame]) -> FrameMatches:
    return dataclasses.replace(matches, frames=tuple(frames))


def _frame_within(frame: LabelledFrame, part: DistanceRange) -> LabelledFrame:
    def is_inside(distances: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.asarray((distances >= part.low) & (distances < part.high))

    kept = is_inside(ground_distances(frame.ground_truth))
    return dataclasses.replace(
        frame,
        predictions=frame.predictions.select(is_inside(ground_distances(frame.predictions))),
        ground_truth=frame.ground_truth.select(kept),
        visibility=None if frame.visibility is None else frame.visibility[kept],
    )


def _frame_seen(frame: LabelledFrame, low: float, high: float) -> LabelledFrame:
    visibility = np.full(len(frame.ground_truth), np.nan) if frame.visibility is None else frame.visibility
    is_level = (visibility >= low) & ((visibility < high) | (high >= 1.0))
    label_of = assign(frame).label_of
    found_another = (label_of >= 0) & ~np.append(is_level, True)[label_of]
    return dataclasses.replace(
        frame,
        predictions=frame.predictions.select(~found_another),
        ground_truth=frame.ground_truth.select(is_level),
        visibility=visibility[is_level],
    )
