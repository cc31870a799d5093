"""Predictions and labels meet at the same stamp or near it, one to one; strangers are refused."""

from __future__ import annotations

import pytest

from lift3d_ros.errors import Lift3dError
from lift3d_ros.evaluation.matching import label_tolerance_s, match_frames
from lift3d_ros.types import BevDetections, Boxes3D, ModelIdentity

MS = 1_000_000


def frames(*stamps_ms: float, frame_id: str = "base_link") -> dict[int, Boxes3D]:
    return {round(stamp * MS): Boxes3D.empty(frame_id, ("car",)) for stamp in stamps_ms}


def paired_ms(predictions: dict[int, Boxes3D], labels: dict[int, Boxes3D], tolerance_s: float = 0.05) -> list[tuple]:
    """Return (label, prediction) stamps in ms."""
    stamp_of = {id(boxes): stamp_ns for stamp_ns, boxes in predictions.items()}
    found = match_frames(predictions, labels, tolerance_s)
    return [(frame.stamp_ns / MS, stamp_of[id(frame.predictions)] / MS) for frame in found.frames]


def test_frames_within_the_tolerance_are_paired() -> None:
    assert paired_ms(frames(0, 549, 1051), frames(0, 500, 1000)) == [(0, 0), (500, 549)]
    assert paired_ms(frames(0, 549, 1051), frames(0, 500, 1000), 0.1) == [(0, 0), (500, 549), (1000, 1051)]


@pytest.mark.parametrize(
    ("label_stamps_ms", "expected_s"),
    [((0, 100, 200, 300), 0.05), ((0, 500, 1000), 0.2), ((0, 300, 600), 0.15), ((7,), 0.2)],
)
def test_labels_reach_half_way_to_the_next_ones_but_not_far(
    label_stamps_ms: tuple[int, ...], expected_s: float
) -> None:
    assert label_tolerance_s([stamp * MS for stamp in label_stamps_ms]) == pytest.approx(expected_s)


def test_labels_are_taken_to_the_stamp_of_the_prediction() -> None:
    moved = Boxes3D.empty("base_link", ("car",))
    asked = []

    def move(label_ns: int, stamp_ns: int) -> Boxes3D | None:
        asked.append((label_ns // MS, stamp_ns // MS))
        return None if label_ns else moved

    found = match_frames(frames(10, 510), frames(0, 500), moved=move)
    assert asked == [(0, 10), (500, 510)]
    assert [(frame.stamp_ns, frame.ground_truth) for frame in found.frames] == [(0, moved)]
    assert (found.num_unlabelled, found.num_unpredicted) == (1, 1)
    with pytest.raises(Lift3dError, match="the motion of the vehicle between both is not known"):
        match_frames(frames(10), frames(0), moved=lambda *_: None)


def test_the_nearest_wins_and_each_is_used_once() -> None:
    assert paired_ms(frames(480, 510, 530), frames(500)) == [(500, 510)]
    assert paired_ms(frames(500), frames(470, 490, 520)) == [(490, 500)]


def test_what_has_no_partner_is_counted() -> None:
    found = match_frames(frames(0, 100, 200, 300), frames(0, 200, 1000, 2000, 3000))
    assert [frame.stamp_ns // MS for frame in found.frames] == [0, 200]
    assert (found.num_unlabelled, found.num_unpredicted) == (2, 3)


def test_other_clocks_are_refused_with_both_ranges() -> None:
    expected = (
        r"within 0\.2 s .*predictions from 0 to 500000000 ns \(2 frames\), "
        r"labels from 9000000000 to 9000000000 ns \(1 frames\)"
    )
    with pytest.raises(Lift3dError, match=expected):
        match_frames(frames(0, 500), frames(9000))


def test_nothing_to_evaluate_is_refused() -> None:
    with pytest.raises(Lift3dError, match="no predictions to evaluate"):
        match_frames([], frames(0))
    with pytest.raises(Lift3dError, match="no labelled frames to evaluate"):
        match_frames(frames(0), {})


def test_two_runs_in_one_list_are_refused() -> None:
    result = BevDetections(5, Boxes3D.empty("base_link", ("car",)), (), ModelIdentity("m", "", True), "fused")
    with pytest.raises(Lift3dError, match="two predictions have the stamp 5 ns"):
        match_frames([result, result], frames(0))


def test_boxes_of_different_frames_are_not_compared() -> None:
    with pytest.raises(Lift3dError, match="predictions are given in 'base_link', labels in 'map'"):
        match_frames(frames(0), frames(0, frame_id="map"))
