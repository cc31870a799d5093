"""The One-Euro filter of joints."""

from __future__ import annotations

import numpy as np

from lift3d_ros.pipelines.skeleton_smoothing import SkeletonSmoother, SmoothingConfig

PERIOD_NS = 33_000_000
CONFIG = SmoothingConfig(enabled=True)
TRACK = ("coco17", 17, 1)


def both(joints: np.ndarray) -> np.ndarray:
    return np.stack([joints, joints * [1.0, 1.0, -1.0]])


def run(path: np.ndarray, config: SmoothingConfig = CONFIG, scale: float = 1.0) -> np.ndarray:
    """Return the filtered positions (T, J, 3) of a path (T, J, 3)."""
    smoother = SkeletonSmoother(config)
    return np.array(
        [
            smoother.update(TRACK, number * PERIOD_NS, both(scale * joints), scale, "depth")
            for number, joints in enumerate(path)
        ]
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
        smoother.update(TRACK, 0, both(np.zeros((4, 3))), 1.0, "depth")
        later = np.ones(shape)
        np.testing.assert_array_equal(smoother.update(TRACK, stamp_ns, both(later), 1.0, "depth"), later)
    smoother = SkeletonSmoother(CONFIG)
    smoother.update(TRACK, 0, both(np.zeros((4, 3))), 1.0, "depth")
    assert (smoother.update(TRACK, PERIOD_NS, both(joints), 1.0, "depth") < joints).all()
    np.testing.assert_array_equal(smoother.update(("coco17", 17, 2), PERIOD_NS, both(joints), 1.0, "depth"), joints)


def test_a_track_that_becomes_metric_starts_afresh() -> None:
    smoother, metres = SkeletonSmoother(CONFIG), np.full((4, 3), 3.5)
    smoother.update(TRACK, 0, both(np.zeros((4, 3))), 1.0, "none")
    np.testing.assert_array_equal(smoother.update(TRACK, PERIOD_NS, both(metres), 1.8, "depth"), metres)


def test_a_track_whose_metres_come_from_elsewhere_starts_afresh() -> None:
    smoother, nearer = SkeletonSmoother(CONFIG), np.full((4, 3), 3.5)
    smoother.update(TRACK, 0, both(np.full((4, 3), 4.0)), 1.8, "category_size")
    np.testing.assert_array_equal(smoother.update(TRACK, PERIOD_NS, both(nearer), 1.8, "depth"), nearer)


def test_between_two_mirror_images_there_is_no_pose() -> None:
    smoother, place = SkeletonSmoother(CONFIG), np.array([0.0, 0.0, 5.0])
    copies = np.array([[0.0, 0.0, 0.0], [0.0, 0.5, 0.3], [0.0, 1.0, 0.0]]) * [[[1.0, 1, 1]], [[1, 1, -1]]]
    noise = np.random.default_rng(0).normal(size=(12, 3, 3)) * 0.01
    # The distance of a skeleton jumps about more than its joints do, and the network may give either copy first.
    shifts = np.random.default_rng(1).normal(size=12) * 0.3
    is_raw = []
    for number in range(12):
        likelier = copies[0 if number < 6 else 1] + noise[number]
        hypotheses = np.stack([likelier, likelier * [1.0, 1.0, -1.0]]) + place + [0.0, 0.0, shifts[number]]
        found = smoother.update(TRACK, number * PERIOD_NS, hypotheses, 1.0, "depth")
        is_raw.append(bool((found == hypotheses[0]).all()))
    assert [number for number in range(12) if is_raw[number]] == [0, 6]


def test_a_pose_whose_depths_are_all_alike_is_smoothed_all_the_time() -> None:
    smoother, generator = SkeletonSmoother(CONFIG), np.random.default_rng(0)
    flat = generator.normal(size=(17, 3)) * [1.0, 1.0, 0.0]
    for number in range(200):
        noisy = flat + generator.normal(size=flat.shape) * 0.01
        found = smoother.update(TRACK, number * PERIOD_NS, both(noisy), 1.0, "none")
        assert number == 0 or not (found == noisy).all()


def test_a_joint_that_was_not_finite_comes_back_at_once() -> None:
    smoother = SkeletonSmoother(CONFIG)
    smoother.update(TRACK, 0, both(np.zeros((2, 3))), 1.0, "depth")
    lost = np.array([[0.0, 0, 0], [np.nan, np.nan, np.nan]])
    smoother.update(TRACK, PERIOD_NS, both(lost), 1.0, "depth")
    found = smoother.update(TRACK, 2 * PERIOD_NS, both(np.full((2, 3), 0.5)), 1.0, "depth")
    np.testing.assert_allclose(found[1], 0.5)


def test_tracks_that_ended_are_forgotten() -> None:
    smoother = SkeletonSmoother(CONFIG)
    for number in range(1000):
        smoother.update(("coco17", 17, number), number * PERIOD_NS, both(np.zeros((2, 3))), 1.0, "depth")
        smoother.drop_older(number * PERIOD_NS)
    assert len(smoother._tracks) < 20
