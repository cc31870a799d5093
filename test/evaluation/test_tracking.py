"""Tracking metrics count what they say: switches, fragments, false and missed boxes, by class and over all."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

pytest.importorskip("motmetrics", reason="motmetrics is not installed")

from lift3d_ros.errors import Lift3dError
from lift3d_ros.evaluation.tracking import TrackFigures, tracking_metrics
from lift3d_ros.types import BevDetections, Boxes3D, ModelIdentity

CLASSES = ("car", "pedestrian")
MODEL = ModelIdentity("tiny", "ab" * 32, is_trained=True)
Places = Mapping[int, Sequence[float]]


def boxes(places: Places, label: int = 0, frame_id: str = "base_link", score: float = 0.9) -> Boxes3D:
    """Return one box for each id -> (x, y)."""
    count = len(places)
    return Boxes3D(
        frame_id,
        CLASSES,
        centers=np.array([[*at, 0.8] for at in places.values()], dtype=float).reshape(-1, 3),
        sizes=np.ones((count, 3)),
        yaws=np.zeros(count),
        velocities=np.zeros((count, 2)),
        scores=np.full(count, score),
        labels=np.full(count, label),
        track_ids=np.array(list(places), dtype=np.int64),
    )


def results(frames: Sequence[Boxes3D]) -> list[BevDetections]:
    return [BevDetections(index + 1, frame, (), MODEL, "fused") for index, frame in enumerate(frames)]


def overall(found: Sequence[Boxes3D], labels: Sequence[Boxes3D]) -> TrackFigures:
    return tracking_metrics([results(found)], [labels]).overall


LABELS = [boxes({1: (10 + k, 0), 2: (20 + k, 5)}) for k in range(10)]


def test_perfect_tracks_have_perfect_figures() -> None:
    found = [boxes({7: (10 + k, 0), 9: (20 + k, 5)}) for k in range(10)]
    figures = overall(found, LABELS)
    assert (figures.mota, figures.motp_m, figures.idf1, figures.amota) == pytest.approx((1.0, 0.0, 1.0, 1.0))
    assert (figures.num_objects, figures.num_tracks_labelled, figures.mostly_tracked) == (20, 2, 2)


def test_exchanged_ids_are_switches_and_halve_the_identities() -> None:
    found = [boxes({7: (10 + k, 0), 9: (20 + k, 5)} if k < 5 else {9: (10 + k, 0), 7: (20 + k, 5)}) for k in range(10)]
    figures = overall(found, LABELS)
    assert figures.num_switches == 2
    assert figures.mota == pytest.approx(1 - 2 / 20)
    assert figures.idf1 == pytest.approx(0.5)


def test_a_gap_is_a_fragmentation_and_a_miss_and_ghosts_are_false() -> None:
    found = []
    for k in range(10):
        places: dict[int, tuple[float, float]] = {7: (10 + k, 0), 5: (-30, 0)}
        if k not in (4, 5):
            places[9] = (20 + k, 5)
        found.append(boxes(places))
    figures = overall(found, LABELS)
    assert (figures.num_misses, figures.num_fragmentations, figures.num_false_positives) == (2, 1, 10)
    assert figures.mota == pytest.approx(1 - 12 / 20)


def test_boxes_belong_together_up_to_two_metres_seen_from_above() -> None:
    near = overall([boxes({7: (10 + k, 1.9)}) for k in range(10)], [boxes({1: (10 + k, 0)}) for k in range(10)])
    assert (near.mota, near.motp_m) == pytest.approx((1.0, 1.9))
    far = overall([boxes({7: (10 + k, 2.1)}) for k in range(10)], [boxes({1: (10 + k, 0)}) for k in range(10)])
    assert (far.mota, far.motp_m, far.num_matches) == (-1.0, None, 0)


def test_classes_are_scored_each_by_itself_and_counted_together() -> None:
    labels = [boxes({1: (10, 0)}), boxes({2: (5, 5)}, label=1)]
    found = [boxes({7: (10, 0)}), boxes({8: (5, 5)}, label=0)]  # a pedestrian that is taken for a car
    metrics = tracking_metrics([results(found)], [labels])
    assert metrics.classes["car"].mota == pytest.approx(0.0)
    assert metrics.classes["pedestrian"].mota == pytest.approx(0.0)
    assert metrics.overall.num_false_positives == metrics.overall.num_misses == 1
    assert metrics.overall.num_objects == 2


def test_the_same_id_in_two_scenes_is_two_objects() -> None:
    frames = [boxes({1: (10 + k, 0)}) for k in range(5)]
    metrics = tracking_metrics([results(frames), results(frames)], [frames, frames])
    assert (metrics.overall.num_tracks_labelled, metrics.overall.num_switches) == (2, 0)
    assert (metrics.num_scenes, metrics.num_frames) == (2, 10)


def test_one_scene_without_a_match_does_not_spoil_the_distance_over_all() -> None:
    frames = [boxes({1: (10 + k, 0)}) for k in range(5)]
    shifted = [boxes({1: (10 + k, 0.5)}) for k in range(5)]
    nothing = [boxes({})] * 5
    metrics = tracking_metrics([results(shifted), results(nothing)], [frames, frames])
    assert metrics.overall.motp_m == pytest.approx(0.5)


def test_boxes_without_id_and_beyond_the_range_of_their_class_take_no_part() -> None:
    labels = [boxes({1: (10, 0), 2: (60, 0)})] * 4
    untracked = [boxes({7: (10, 0), -1: (10, 10), 8: (60, 30)})] * 4
    figures = tracking_metrics([results(untracked)], [labels], {"car": 50.0}).overall
    assert (figures.num_objects, figures.num_false_positives, figures.mota) == (4, 0, 1.0)


def test_amota_judges_a_tracker_over_its_thresholds_by_a_case_computed_by_hand() -> None:
    """One of two objects is found, surely; a ghost with a low score lowers MOTA, but no threshold that matters."""
    sure = [boxes({7: (10 + k, 0)}) for k in range(10)]
    ghost = boxes({9: (-30, 0)}, score=0.2)
    both = [join(frame, ghost) for frame in sure]
    figures = overall(both, LABELS)
    assert figures.mota == pytest.approx(1 - (10 + 10) / 20)
    # Recalls 0.1 to 0.5 are reached without a mistake, the others not at all.
    assert figures.amota == pytest.approx(5 / 10)
    confident = [join(frame, boxes({9: (-30, 0)}, score=0.95)) for frame in sure]
    # Now the ghost comes first: where anything is found, as many boxes are false as are right.
    assert overall(confident, LABELS).amota == pytest.approx(0.0)
    halved = [frame if k % 2 else join(frame, boxes({9: (-30, 0)}, score=0.95)) for k, frame in enumerate(sure)]
    assert overall(halved, LABELS).amota == pytest.approx(5 * (1 - 5 / 10) / 10)


def join(first: Boxes3D, second: Boxes3D) -> Boxes3D:
    names = ("centers", "sizes", "yaws", "velocities", "scores", "labels", "track_ids")
    arrays = {name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in names}
    return Boxes3D(first.frame_id, first.class_names, **arrays)


@pytest.mark.parametrize(
    ("found", "labels", "message"),
    [
        ([boxes({1: (1, 0)})], [], r"results have \[1\] frames in their scenes, labels \[0\]"),
        ([boxes({1: (1, 0)})], [boxes({1: (1, 0)}, frame_id="map")], "in 'base_link', labels in 'map'"),
        ([join(*[boxes({1: (1, 0)})] * 2)], [boxes({1: (1, 0)})], "the results have the track id 1 more than once"),
        ([boxes({1: (1, 0)})], [boxes({-1: (1, 0)})], "no labelled box within range has an instance number"),
    ],
)
def test_what_cannot_be_scored_is_refused(found: list[Boxes3D], labels: list[Boxes3D], message: str) -> None:
    with pytest.raises(Lift3dError, match=message):
        tracking_metrics([results(found)], [labels])


def test_table_and_json_hold_every_class() -> None:
    found = [boxes({7: (10 + k, 0), 9: (20 + k, 5)}) for k in range(10)]
    metrics = tracking_metrics([results(found)], [LABELS])
    header, *rows = metrics.table()
    assert {len(row) for row in rows} == {len(header)}
    assert [row[0] for row in rows] == ["car", "all"]
    document = json.loads(json.dumps(metrics.to_json(), allow_nan=False))
    assert document["overall"]["mota"] == 1.0
    assert document["classes"]["car"]["num_objects"] == 20


def test_without_motmetrics_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "motmetrics", None)
    with pytest.raises(Lift3dError, match="pip install motmetrics"):
        overall(LABELS, LABELS)
