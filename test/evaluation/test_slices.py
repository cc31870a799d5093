"""Distance ranges and levels of visibility are scored by themselves."""

from __future__ import annotations

import numpy as np
import pytest

from lift3d_ros.errors import ConfigError
from lift3d_ros.evaluation.matching import FrameMatches, LabelledFrame
from lift3d_ros.evaluation.slices import (
    DEFAULT_RANGES,
    VISIBILITY_LEVELS,
    DistanceRange,
    num_labels,
    parse_ranges,
    seen_between,
    within_range,
)
from lift3d_ros.types import Boxes3D


def cars(*xs: float) -> Boxes3D:
    count = len(xs)
    centers = np.array([[x, 0.0, 0.0] for x in xs]).reshape(-1, 3)
    return Boxes3D(
        "base_link", ("car",), centers, np.ones((count, 3)), np.zeros(count), np.zeros((count, 2)), np.ones(count),
        np.zeros(count, dtype=np.int64),
    )  # fmt: skip


def only_frame(parts: list[FrameMatches]) -> LabelledFrame:
    return parts[0].frames[0]


def test_ranges_are_read_as_they_are_written() -> None:
    assert parse_ranges("0-20, 20-35,35-51.2") == DEFAULT_RANGES
    assert [part.name for part in DEFAULT_RANGES] == ["0-20", "20-35", "35-51.2"]


@pytest.mark.parametrize("text", ["", "20", "20-10", "5-5", "a-b", "0-inf", "0-20;20-30", "-5-10"])
def test_ranges_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--ranges '.*': expected metres as LOW-HIGH"):
        parse_ranges(text)


def test_labels_and_predictions_belong_to_the_range_of_their_own_centre() -> None:
    frame = LabelledFrame(0, cars(5.0, 20.0, -30.0), cars(19.9, 20.0, 35.0), np.array([0.1, 0.2, 0.3]))
    part = only_frame(within_range([FrameMatches((frame,))], DistanceRange(20.0, 35.0)))
    assert part.predictions.centers[:, 0].tolist() == [20.0, -30.0]
    assert part.ground_truth.centers[:, 0].tolist() == [20.0]
    assert part.visibility is not None
    assert part.visibility.tolist() == [0.2]


def test_a_level_of_visibility_ignores_boxes_that_found_a_label_of_another_one() -> None:
    labels, visibility = cars(10.0, 20.0, 30.0), np.array([0.3, 1.0, np.nan])
    frame = LabelledFrame(0, cars(10.1, 20.1, 30.1, 40.0), labels, visibility)
    matches = [FrameMatches((frame,))]
    hidden, seen = only_frame(seen_between(matches, 0.0, 0.4)), only_frame(seen_between(matches, 0.8, 1.0))
    assert hidden.ground_truth.centers[:, 0].tolist() == [10.0]
    assert hidden.predictions.centers[:, 0].tolist() == [10.1, 40.0], "its own one, and the box of nothing"
    assert seen.ground_truth.centers[:, 0].tolist() == [20.0], "fully visible is in the highest level"
    assert seen.predictions.centers[:, 0].tolist() == [20.1, 40.0]


def test_labels_of_unknown_visibility_are_in_no_level() -> None:
    matches = [FrameMatches((LabelledFrame(0, cars(1.0), cars(1.0, 2.0)),))]
    assert [num_labels(seen_between(matches, low, high)) for low, high in VISIBILITY_LEVELS] == [0, 0, 0, 0]
