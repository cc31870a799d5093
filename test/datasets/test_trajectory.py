"""Poses between and beyond the known ones."""

from __future__ import annotations

import numpy as np
import pytest

from lift3d_ros.datasets.trajectory import Trajectory
from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.rotations import yaw_matrix, yaw_of

SECOND = 1_000_000_000


def turning(seconds: float) -> np.ndarray:
    return make_transform(yaw_matrix(0.2 * seconds), [10.0 * seconds, 1.0, 0.0])


def test_known_poses_come_back_exactly() -> None:
    poses = {0: turning(0.0), SECOND // 3: turning(1 / 3), SECOND: turning(1.0)}
    trajectory = Trajectory(poses)
    assert trajectory.stamps_ns == (0, SECOND // 3, SECOND)
    for stamp_ns, pose in poses.items():
        assert np.array_equal(trajectory.at(stamp_ns), pose)


@pytest.mark.parametrize("seconds", [-0.4, 0.25, 0.9, 1.3, 2.2])
def test_motion_is_steady_between_and_beyond_the_known_poses(seconds: float) -> None:
    trajectory = Trajectory({0: turning(0.0), SECOND: turning(1.0), 2 * SECOND: turning(2.0)})
    pose = trajectory.at(round(seconds * SECOND))
    assert pose[:3, 3] == pytest.approx([10.0 * seconds, 1.0, 0.0], abs=1e-6)
    assert yaw_of(pose[:3, :3]) == pytest.approx(0.2 * seconds, abs=1e-6)


def test_a_pair_of_close_poses_is_not_extended_over_a_long_time() -> None:
    jitter = turning(0.001) + np.array([[0, 0, 0, 0.0], [0, 0, 0, 0.05], [0, 0, 0, 0.0], [0, 0, 0, 0.0]])
    trajectory = Trajectory({0: turning(0.0), SECOND // 1000: jitter, SECOND: turning(1.0)})
    assert trajectory.at(-SECOND // 5)[:3, 3] == pytest.approx([-2.0, 1.0, 0.0], abs=1e-6)


def test_a_single_pose_stays() -> None:
    assert np.array_equal(Trajectory({5: turning(1.0)}).at(900), turning(1.0))
