"""Keypoints and skeletons as the rooms hand them to each other."""

from __future__ import annotations

import numpy as np
import pytest

from lift3d_ros.errors import Lift3dError
from lift3d_ros.types import Keypoints2D, Skeleton, Skeleton3D

POINTS = np.array([[1.0, 2.0], [3.0, np.nan], [5.0, 6.0]])
SKELETON = Skeleton("v", ("a", "b", "c"), np.array([[0, 1], [2, 1]]))


def test_points_that_are_not_finite_are_never_visible() -> None:
    assert Keypoints2D(POINTS).seen().tolist() == [True, False, True]
    assert Keypoints2D(POINTS, is_visible=np.ones(3, dtype=bool)).seen().tolist() == [True, False, True]


def test_confidence_is_kept_within_0_and_1_and_decides_what_is_seen() -> None:
    keypoints = Keypoints2D(POINTS, np.array([7.0, 1.0, np.nan]))
    assert keypoints.confidence is not None
    assert keypoints.confidence.tolist() == [1.0, 1.0, 0.0]
    assert keypoints.seen().tolist() == [True, False, False]
    assert Keypoints2D(POINTS, np.array([0.3, 1.0, 0.6])).seen(0.5).tolist() == [False, False, True]


def test_arrays_of_other_lengths_are_refused_with_the_instance() -> None:
    with pytest.raises(Lift3dError, match=r"instance 4: confidence must have shape \(3,\)"):
        Keypoints2D(POINTS, np.ones(2), instance_id=4)
    with pytest.raises(Lift3dError, match=r"points must have shape \(joints, 2\)"):
        Keypoints2D(np.ones((3, 3)))


def test_values_handed_over_cannot_be_changed_afterwards() -> None:
    points = np.ones((3, 2))
    keypoints = Keypoints2D(points)
    points[0] = 9.0
    assert keypoints.points[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        keypoints.points[0] = 9.0


def test_adjacency_holds_edges_in_both_directions() -> None:
    assert SKELETON.adjacency.tolist() == [[False, True, False], [True, False, True], [False, True, False]]
    assert SKELETON.sides.tolist() == [0, 0, 0]


def test_a_result_is_metric_exactly_where_a_source_of_scale_is_named() -> None:
    def result(**changes: object) -> Skeleton3D:
        fields = (np.zeros((1, 3, 3)), np.ones(1), np.ones(3, dtype=bool), np.zeros(3))
        return Skeleton3D(SKELETON, *fields, **changes)  # type: ignore[arg-type]

    assert result(is_metric=True, scale_source="depth").joints.shape == (3, 3)
    with pytest.raises(Lift3dError, match="metric joints need a source of scale"):
        result(is_metric=True)
    with pytest.raises(Lift3dError, match="uncertainty must have shape"):
        Skeleton3D(SKELETON, np.zeros((1, 3, 3)), np.ones(1), np.ones(3, dtype=bool), np.zeros(2))
