"""The frames that are shown are those with near objects missed and with confident boxes of nothing."""

from __future__ import annotations

import numpy as np
import pytest

from lift3d_ros.evaluation.detection_figures import PrecisionCurve
from lift3d_ros.evaluation.matching import FrameMatches, LabelledFrame
from lift3d_ros.evaluation.scene_results import SceneResults
from lift3d_ros.evaluation.worst_frames import WorstFrame, confident_ghosts, near_misses, working_scores
from lift3d_ros.types import Boxes3D

RANGES = {"car": 50.0}
SCORES = {"car": 0.5}


def cars(*places: tuple[float, float]) -> Boxes3D:
    """Cars at x with a score."""
    count = len(places)
    centers = np.array([[x, 0.0, 0.0] for x, _ in places]).reshape(-1, 3)
    return Boxes3D(
        "base_link", ("car",), centers, np.ones((count, 3)), np.zeros(count), np.zeros((count, 2)),
        np.array([score for _, score in places]), np.zeros(count, dtype=np.int64),
    )  # fmt: skip


def scene(name: str, *frames: LabelledFrame) -> SceneResults:
    return SceneResults(name, (), FrameMatches(frames))


def stamps(found: list[WorstFrame]) -> list[tuple[str, int]]:
    return [(item.scene, item.frame.stamp_ns) for item in found]


def test_frames_with_the_most_near_objects_missed_come_first() -> None:
    labels = cars((5.0, 1.0), (-10.0, 1.0), (40.0, 1.0))
    frames = [
        LabelledFrame(0, cars((5.0, 0.9), (-10.0, 0.8)), labels),  # only the far one missed
        LabelledFrame(1, cars((5.0, 0.9), (-10.0, 0.4)), labels),  # below the working score
        LabelledFrame(2, cars(), labels),
    ]
    found = near_misses([scene("a", *frames)], SCORES, RANGES, 5)
    assert stamps(found) == [("a", 2), ("a", 1)]
    assert found[0].reason == "missed within 20 m: 2 of 2: car at 5 m, car at 10 m"
    assert found[1].marked.centers[:, 0].tolist() == [-10.0]


def test_objects_that_the_pictures_hardly_show_are_not_missed() -> None:
    frame = LabelledFrame(0, cars(), cars((5.0, 1.0), (8.0, 1.0), (9.0, 1.0)), np.array([0.1, 0.9, np.nan]))
    (found,) = near_misses([scene("a", frame)], SCORES, RANGES, 5)
    assert found.marked.centers[:, 0].tolist() == [8.0, 9.0]


def test_the_most_confident_boxes_of_nothing_come_first() -> None:
    frames = [
        LabelledFrame(0, cars((30.0, 0.6), (5.0, 0.99)), cars((5.0, 1.0))),
        LabelledFrame(1, cars((30.0, 0.7), (-30.0, 0.9), (60.0, 0.99)), cars()),
        LabelledFrame(2, cars((30.0, 0.4)), cars()),
    ]
    found = confident_ghosts([scene("a", *frames)], SCORES, RANGES, 5)
    assert stamps(found) == [("a", 1), ("a", 0)], "below the working score, or out of range, is no ghost"
    assert found[0].reason == "boxes of nothing: car 0.90 at 30 m, car 0.70 at 30 m"


def test_no_scene_fills_the_list_alone() -> None:
    missed = [LabelledFrame(stamp_ns, cars(), cars((5.0, 1.0))) for stamp_ns in range(9)]
    scenes = [scene("a", *missed), scene("b", *missed[:1])]
    assert [name for name, _ in stamps(near_misses(scenes, SCORES, RANGES, 4))] == ["a", "a", "b"]


def test_the_working_score_balances_precision_and_recall() -> None:
    recall = np.linspace(0, 1, 101)
    precision = np.where(recall <= 0.6, 0.9, np.where(recall <= 0.8, 0.3, 0.0))
    curve = PrecisionCurve(recall, precision, np.where(recall <= 0.8, 1.0 - recall, 0.0))
    nothing = PrecisionCurve(recall, np.zeros(101), np.zeros(101))
    scores = working_scores({"car": {2.0: curve}, "bus": {2.0: nothing}})
    assert scores == {"car": pytest.approx(0.4), "bus": 1.0}
