"""Sources of scale for placed skeletons."""

from __future__ import annotations

import numpy as np
import pytest
from known_shapes import CAMERA, COCO17, PERSON

from lift3d_ros.errors import ConfigError
from lift3d_ros.pipelines.skeleton_scale import (
    KnownLength,
    match_boxes,
    read_depth,
    scale_from_center,
    scale_from_depth,
    scales_from_category,
    scales_from_known_lengths,
)
from lift3d_ros.types import Boxes3D

SEEN = np.ones(17, dtype=bool)
JOINTS = PERSON + np.array([0.0, 0.0, 4.0])
BATCH = np.stack([np.stack([JOINTS, 2.0 * JOINTS]), np.stack([JOINTS, JOINTS])])  # instance, hypothesis


def test_depth_is_robust_against_a_minority_of_wrong_readings_and_tells_its_scatter() -> None:
    readings = 2.5 * JOINTS[:, 2]
    exact = scale_from_depth(JOINTS, readings)
    assert exact is not None
    assert exact.factor == pytest.approx(2.5)
    readings[:6], readings[6:8] = 0.4, np.nan
    wrong = scale_from_depth(JOINTS, readings)
    assert wrong is not None
    assert wrong.factor == pytest.approx(2.5)
    scattered = scale_from_depth(JOINTS, 2.5 * JOINTS[:, 2] * np.linspace(0.5, 1.5, 17))
    assert scattered is not None
    assert scattered.std > 2 * exact.std
    assert scale_from_depth(JOINTS, np.full(17, np.nan)) is None


def test_few_readings_of_depth_cannot_claim_to_agree() -> None:
    stds = []
    for count in (1, 2, 17):
        scale = scale_from_depth(JOINTS, np.where(np.arange(17) < count, JOINTS[:, 2], np.nan))
        assert scale is not None
        stds.append(scale.std)
    assert stds[0] > 0.2
    assert stds[1] > 0.1
    assert stds[2] < 0.03


def test_depth_is_read_around_seen_joints_inside_of_the_picture() -> None:
    depth = np.full((40, 60), 3.0, dtype=np.float32)
    depth[10, 10], depth[20:26, 20:26] = 99.0, np.nan
    pixels = np.array([[10.0, 10.0], [22.0, 22.0], [59.4, 39.4], [60.0, 10.0], [-1.0, 5.0], [30.0, 30.0]])
    seen = np.array([True, True, True, True, True, False])
    np.testing.assert_array_equal(read_depth(depth, pixels, seen), [3.0, np.nan, 3.0, np.nan, np.nan, np.nan])


def test_known_lengths_count_only_where_both_joints_were_seen() -> None:
    knee = KnownLength("left_hip", "left_knee", 2.0 * float(np.linalg.norm(PERSON[11] - PERSON[13])))
    hidden = SEEN.copy()
    hidden[13] = False
    scales = scales_from_known_lengths(BATCH, np.stack([SEEN, hidden]), COCO17, [knee])
    assert scales is not None
    first, second = scales.at(0, 0), scales.at(0, 1)
    assert first is not None
    assert second is not None
    assert (first.source, first.factor, second.factor) == ("bone_length", pytest.approx(2.0), pytest.approx(1.0))
    assert scales.at(1, 0) is None
    assert scales_from_known_lengths(BATCH, np.stack([SEEN, SEEN]), COCO17, []) is None


def test_lengths_that_disagree_make_the_scale_uncertain() -> None:
    lengths = [("left_hip", "left_knee", 11, 13, 1.8), ("left_knee", "left_ankle", 13, 15, 2.2)]
    known = [KnownLength(a, b, f * float(np.linalg.norm(PERSON[i] - PERSON[j]))) for a, b, i, j, f in lengths]
    scales = scales_from_known_lengths(BATCH[:1], SEEN[None], COCO17, known)
    exact = scales_from_known_lengths(BATCH[:1], SEEN[None], COCO17, known[:1])
    assert scales is not None
    assert exact is not None
    assert scales.factor[0, 0] == pytest.approx(2.0, rel=0.02)
    assert scales.std[0, 0] == pytest.approx(0.1 / np.sqrt(2), rel=0.1)
    assert exact.std[0, 0] < 0.5 * scales.std[0, 0]


@pytest.mark.parametrize(
    ("first", "metres", "words"),
    [
        ("left_hipp", 0.4, "did you mean 'left_hip'"),
        ("left_hip", 430.0e3, "in metres"),
        ("left_knee", 0.4, "to itself"),
    ],
)
def test_wrong_known_lengths_are_refused(first: str, metres: float, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        scales_from_known_lengths(BATCH[:1], SEEN[None], COCO17, [KnownLength(first, "left_knee", metres)])


def test_a_category_without_size_and_a_skeleton_without_seen_lengths_give_none() -> None:
    assert scales_from_category(BATCH[:1], SEEN[None], COCO17, "giant") is None
    only_face = np.arange(17) < 5
    scales = scales_from_category(BATCH, np.stack([only_face, SEEN]), COCO17, "person")
    assert scales is not None
    assert scales.at(0, 0) is None
    assert scales.at(1, 0) is not None


def test_the_middle_of_the_skeleton_comes_as_far_away_as_the_box() -> None:
    scale = scale_from_center(JOINTS, np.array([0.0, 0.0, 8.0]))
    assert scale is not None
    middle = scale.factor * 0.5 * (JOINTS.min(axis=0) + JOINTS.max(axis=0))
    assert np.linalg.norm(middle) == pytest.approx(8.0)
    assert scale_from_center(JOINTS, np.zeros(3)) is None


def test_boxes_are_matched_once_and_only_inside_of_the_keypoints() -> None:
    centers = np.array([[0.0, 0.0, 4.0], [0.2, 0.0, 4.0], [50.0, 0.0, 4.0], [0.0, 0.0, -4.0]])
    boxes = Boxes3D(
        "base", ("person",), centers, np.ones((4, 3)), np.zeros(4), np.zeros((4, 2)), np.ones(4), np.zeros(4)
    )
    extents = np.array([[600.0, 300, 700, 420], [600, 300, 720, 420], [0, 0, 50, 50]])
    first, second, third = match_boxes(boxes, np.eye(4), CAMERA, extents)
    assert first is not None
    assert second is not None
    assert third is None
    assert {tuple(first), tuple(second)} == {(0.0, 0.0, 4.0), (0.2, 0.0, 4.0)}
    assert match_boxes(boxes.select(np.zeros(4, dtype=bool)), np.eye(4), CAMERA, extents) == [None] * 3
