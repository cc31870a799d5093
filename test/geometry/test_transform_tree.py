"""The transform tree interpolates, refuses to guess, and says what is missing."""

from __future__ import annotations

import numpy as np
import pytest

from lift3d_ros.errors import TransformError
from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.rotations import yaw_matrix, yaw_of
from lift3d_ros.geometry.transform_tree import ALWAYS_NS, TransformTree

S = 1_000_000_000
MOUNT = make_transform(yaw_matrix(0.5), [1.7, 0.1, 1.5])


def driving(tree: TransformTree, stamps_s: list[float]) -> None:
    for t in stamps_s:
        tree.add("odom", "base_link", round(t * S), make_transform(yaw_matrix(0.1 * t), [2 * t, 0, 0]))


@pytest.fixture
def tree() -> TransformTree:
    tree = TransformTree(history_s=10.0)
    tree.add("base_link", "front_optical", 0, MOUNT, is_static=True)
    driving(tree, [1.0, 2.0, 4.0])
    return tree


def test_chains_are_products_in_both_directions(tree: TransformTree) -> None:
    T = tree.lookup("odom", "front_optical", 2 * S)
    np.testing.assert_allclose(T, make_transform(yaw_matrix(0.2), [4, 0, 0]) @ MOUNT, atol=1e-12)
    np.testing.assert_allclose(tree.lookup("front_optical", "odom", 2 * S) @ T, np.eye(4), atol=1e-12)


def test_between_samples_pose_is_interpolated(tree: TransformTree) -> None:
    T = tree.lookup("odom", "base_link", 3 * S)
    assert T[0, 3] == pytest.approx(6.0)
    assert yaw_of(T) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("stamp_s", "expected"),
    [
        pytest.param(0.5, r"0\.500 s older than the samples of 'odom' -> 'base_link'", id="too old"),
        pytest.param(4.35, r"0\.350 s newer than the samples of 'odom' -> 'base_link'", id="too new"),
    ],
)
def test_nothing_is_extrapolated(tree: TransformTree, stamp_s: float, expected: str) -> None:
    with pytest.raises(TransformError, match=expected):
        tree.lookup("odom", "base_link", round(stamp_s * S))


def test_a_tolerance_holds_the_nearest_sample() -> None:
    tree = TransformTree(tolerance_s=0.5)
    driving(tree, [1.0, 2.0])
    assert tree.lookup("odom", "base_link", round(2.4 * S))[0, 3] == pytest.approx(4.0)


def test_a_look_up_may_ask_for_another_tolerance_than_that_of_the_tree() -> None:
    tree = TransformTree(tolerance_s=0.05)
    driving(tree, [1.0, 2.0])
    assert tree.lookup("odom", "base_link", round(2.4 * S), 0.5)[0, 3] == pytest.approx(4.0)
    with pytest.raises(TransformError, match=r"0\.400 s newer"):
        tree.lookup("odom", "base_link", round(2.4 * S))
    with pytest.raises(TransformError, match=r"0\.040 s newer"):
        tree.lookup("odom", "base_link", round(2.04 * S), 0.0)


def test_unknown_and_unconnected_frames_are_named(tree: TransformTree) -> None:
    with pytest.raises(TransformError, match=r"'front_optica' is not known; did you mean 'front_optical'.*rig file"):
        tree.lookup("base_link", "front_optica", S)
    tree.add("map", "lidar", 0, np.eye(4), is_static=True)
    with pytest.raises(TransformError, match="not connected: the first hangs below 'map', the second below 'odom'"):
        tree.lookup("base_link", "lidar", S)


def test_samples_out_of_order_are_sorted_in(tree: TransformTree) -> None:
    driving(tree, [3.0])
    tree.add("odom", "base_link", 3 * S, make_transform(np.eye(3), [100, 0, 0]))
    assert tree.lookup("odom", "base_link", 3 * S)[0, 3] == 100
    assert tree.lookup("odom", "base_link", 4 * S)[0, 3] == 8


def test_history_is_bounded() -> None:
    tree = TransformTree(history_s=1.0)
    driving(tree, [i * 0.1 for i in range(100)])
    with pytest.raises(TransformError, match="older"):
        tree.lookup("odom", "base_link", round(8.5 * S))
    assert tree.lookup("odom", "base_link", 9 * S)[0, 3] == pytest.approx(18.0)


def test_newest_common_stamp_is_the_oldest_newest_of_the_chain(tree: TransformTree) -> None:
    tree.add("map", "odom", 3 * S, np.eye(4))
    assert tree.newest_common_stamp_ns("odom", "front_optical") == 4 * S
    assert tree.newest_common_stamp_ns("map", "front_optical") == 3 * S
    assert tree.newest_common_stamp_ns("base_link", "front_optical") == ALWAYS_NS
    assert tree.newest_common_stamp_ns("base_link", "nowhere") is None


def test_a_clock_jump_clears_what_moves_and_keeps_what_is_mounted(tree: TransformTree) -> None:
    driving(tree, [2.5, 3.5])
    assert tree.newest_common_stamp_ns("odom", "base_link") == 3.5 * S
    np.testing.assert_array_equal(tree.lookup_static("base_link", "front_optical"), MOUNT)
    with pytest.raises(TransformError, match="older than the samples"):
        tree.lookup("odom", "base_link", 2 * S)


def test_a_sample_that_is_a_little_late_is_sorted_in(tree: TransformTree) -> None:
    driving(tree, [3.5])
    assert tree.newest_common_stamp_ns("odom", "base_link") == 4 * S
    assert tree.lookup("odom", "base_link", round(1.5 * S))[0, 3] == pytest.approx(3.0)


def test_a_new_parent_takes_over_and_loops_are_refused(tree: TransformTree) -> None:
    tree.add("rear_axle", "base_link", S, np.eye(4), is_static=True)
    assert tree.parent_of("base_link") == "rear_axle"
    with pytest.raises(TransformError, match="closes a loop"):
        tree.add("front_optical", "rear_axle", S, np.eye(4))
    with pytest.raises(TransformError, match="closes a loop"):
        tree.add("a", "a", S, np.eye(4))


def test_leading_slashes_of_ros_1_are_the_same_frames() -> None:
    tree = TransformTree()
    tree.add("/base_link", "/cam", 0, MOUNT, is_static=True)
    np.testing.assert_array_equal(tree.lookup_static("base_link", "cam"), MOUNT)
    assert tree.frames == ("base_link", "cam")


def test_it_tells_what_has_moved_from_what_is_only_published_often(tree: TransformTree) -> None:
    for stamp_s in (1, 2, 30):
        tree.add("odom", "charger", stamp_s * S, MOUNT)
    driving(tree, [40.0, 40.0])
    assert tree.has_moved("base_link")
    assert not tree.has_moved("charger")
    assert not tree.has_moved("front_optical")
    assert not tree.has_moved("nobody")
