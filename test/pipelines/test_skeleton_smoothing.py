"""The One-Euro filter of joints."""

from __future__ import annotations

import numpy as np

from lift3d_ros.pipelines.skeleton_smoothing import SkeletonSmoother, SmoothingConfig

PERIOD_NS = 33_000_000
CONFIG = SmoothingConfig(enabled=True)
TRACK = ("coco17", 17, 1)


def run(path: np.ndarray, config: SmoothingConfig = CONFIG, scale: float = 1.0) -> np.ndarray:
    """Return the filtered positions (T, J, 3) of a path (T, J, 3)."""
    smoother = SkeletonSmoother(config)
    return np.array(
        [smoother.update(TRACK, number * PERIOD_NS, scale * joints, scale, True) for number, joints in enumerate(path)]
    )


def test_joints_at_rest_tremble_much_less() -> None:
    noise = np.random.default_rng(0).normal(size=(120, 5, 3)) * 0.01
    assert run(noise)[30:].std() < 0.5 * noise[30:].std()


def test_a_fast_joint_lags_by_less_than_a_frame_and_a_half() -> None:
    speed = 3.0  # sizes per second
    path = np.zeros((60, 1, 3))
    path[:, 0, 0] = speed * np.arange(60) * PERIOD_NS * 1e-9
    lag_s = (path - run(path))[40:, 0, 0].max() / speed
    assert lag_s < 1.5 * PERIOD_NS * 1e-9


def test_the_unit_does_not_matter() -> None:
    path = np.random.default_rng(0).normal(size=(30, 4, 3)).cumsum(axis=0) * 0.05
    np.testing.assert_allclose(run(path, scale=1000.0), 1000.0 * run(path), rtol=1e-9)


def test_gaps_jumps_back_and_other_skeletons_start_afresh() -> None:
    joints = np.ones((4, 3))
    for stamp_ns, shape in ((10_000_000_000, (4, 3)), (-1, (4, 3)), (PERIOD_NS, (5, 3))):
        smoother = SkeletonSmoother(CONFIG)
        smoother.update(TRACK, 0, np.zeros((4, 3)), 1.0, True)
        later = np.ones(shape)
        np.testing.assert_array_equal(smoother.update(TRACK, stamp_ns, later, 1.0, True), later)
    smoother = SkeletonSmoother(CONFIG)
    smoother.update(TRACK, 0, np.zeros((4, 3)), 1.0, True)
    assert (smoother.update(TRACK, PERIOD_NS, joints, 1.0, True) < joints).all()
    np.testing.assert_array_equal(smoother.update(("coco17", 17, 2), PERIOD_NS, joints, 1.0, True), joints)


def test_a_track_that_becomes_metric_starts_afresh() -> None:
    smoother, metres = SkeletonSmoother(CONFIG), np.full((4, 3), 3.5)
    smoother.update(TRACK, 0, np.zeros((4, 3)), 1.0, False)
    np.testing.assert_array_equal(smoother.update(TRACK, PERIOD_NS, metres, 1.8, True), metres)


def test_a_joint_that_was_not_finite_comes_back_at_once() -> None:
    smoother = SkeletonSmoother(CONFIG)
    smoother.update(TRACK, 0, np.zeros((2, 3)), 1.0, True)
    lost = np.array([[0.0, 0, 0], [np.nan, np.nan, np.nan]])
    smoother.update(TRACK, PERIOD_NS, lost, 1.0, True)
    found = smoother.update(TRACK, 2 * PERIOD_NS, np.full((2, 3), 0.5), 1.0, True)
    np.testing.assert_allclose(found[1], 0.5)


def test_tracks_that_ended_are_forgotten() -> None:
    smoother = SkeletonSmoother(CONFIG)
    for number in range(1000):
        smoother.update(("coco17", 17, number), number * PERIOD_NS, np.zeros((2, 3)), 1.0, True)
        smoother.drop_older(number * PERIOD_NS)
    assert len(smoother._tracks) < 20
