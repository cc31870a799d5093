"""Views of true skeletons, and ways to make them harder."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from lfm_sets import small_sets

from lift3d_ros.evaluation.skeleton_views import chosen_frames, damaged, rolled, views_of, without_leaves
from lift3d_ros.evaluation.skeletons import rms_sizes
from lift3d_ros.types import Skeleton

BIRD = small_sets()[0]


def test_weak_perspective_shows_x_and_y_of_the_joints_in_the_camera_frame() -> None:
    views = views_of(BIRD, np.arange(6))
    size = rms_sizes(views.joints, views.is_valid)
    expected = views.joints[..., :2] / size[:, None, None]
    seen = views.points - views.points.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(seen / 300.0, expected - expected.mean(axis=1, keepdims=True), atol=1e-9)
    assert views.camera is None


def test_near_views_are_what_their_camera_projects() -> None:
    views = views_of(BIRD, np.arange(6), distance=2.0)
    assert views.camera is not None
    size = rms_sizes(views.joints, views.is_valid)
    placed = views.joints / size[:, None, None] + [0.0, 0.0, 4.0]
    projected = placed @ views.camera.intrinsics.T
    np.testing.assert_allclose(projected[..., :2] / projected[..., 2:], views.points, atol=1e-6)


def test_the_same_seed_gives_the_same_views_and_another_one_others() -> None:
    first, again, other = (views_of(BIRD, np.arange(4), seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.points, again.points)
    assert np.abs(first.points - other.points).max() > 1.0


def test_frames_are_those_of_the_split_and_all_where_it_has_none() -> None:
    frames, split = chosen_frames(BIRD, "val", 0)
    assert split == "val"
    assert BIRD.is_validation[frames].all()
    only_training = dataclasses.replace(BIRD, is_validation=np.zeros(len(BIRD.joints), bool))
    frames, split = chosen_frames(only_training, "val", 0)
    assert (len(frames), split) == (len(BIRD.joints), "all")
    assert len(chosen_frames(BIRD, "all", 7)[0]) == 7


def test_frames_with_fewer_than_four_points_are_not_scored() -> None:
    valid = BIRD.valid.copy()
    valid[0, 3:] = False
    frames, _ = chosen_frames(dataclasses.replace(BIRD, valid=valid), "all", 0)
    assert 0 not in frames
    assert len(frames) == len(BIRD.joints) - 1


def test_damage_hides_the_given_share_of_joints_and_moves_the_others() -> None:
    views = views_of(BIRD, np.arange(40))
    worse = damaged(views, missing=0.3, noise=0.02)
    assert (1.0 - worse.is_seen.mean()) == pytest.approx(0.3, abs=0.05)
    half = 0.5 * np.ptp(views.points, axis=1).max(axis=1)
    moved = (worse.points - views.points) / half[:, None, None]
    assert moved.std() == pytest.approx(0.02, rel=0.1)
    np.testing.assert_array_equal(worse.joints, views.joints)


def test_without_leaves_the_end_joints_are_gone_and_truth_is_centred_again() -> None:
    views = views_of(BIRD, np.arange(5))
    cut = without_leaves(views)
    assert cut is not None
    degree = views.skeleton.adjacency.sum(axis=1)
    assert len(cut.skeleton) == (degree > 1).sum()
    assert set(cut.skeleton.joint_names) == {
        name for name, edges in zip(views.skeleton.joint_names, degree, strict=True) if edges > 1
    }
    np.testing.assert_allclose(cut.joints.mean(axis=1), 0.0, atol=1e-9)


def test_a_skeleton_that_keeps_too_little_or_loses_nothing_has_no_such_view() -> None:
    views = views_of(BIRD, np.arange(3))
    count = len(views.skeleton)
    star = np.array([[0, joint] for joint in range(1, count)])
    ring = np.array([[joint, (joint + 1) % count] for joint in range(count)])
    for edges in (star, ring):
        skeleton = Skeleton("x", views.skeleton.joint_names, edges)
        assert without_leaves(dataclasses.replace(views, skeleton=skeleton)) is None


def test_names_that_repeat_do_not_matter() -> None:
    views = views_of(dataclasses.replace(BIRD, joint_names=("point",) * BIRD.num_joints), np.arange(2))
    assert len(set(views.skeleton.joint_names)) == BIRD.num_joints


def test_turned_pictures_show_the_truth_that_turned_along() -> None:
    views = views_of(BIRD, np.arange(8))
    turned = rolled(views)
    size = rms_sizes(turned.joints, turned.is_valid)
    expected = 300.0 * turned.joints[..., :2] / size[:, None, None]
    seen = turned.points - turned.points.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(seen, expected - expected.mean(axis=1, keepdims=True), atol=1e-9)
    np.testing.assert_allclose(turned.joints[..., 2], views.joints[..., 2])
    assert np.abs(turned.points - views.points).max() > 10.0
