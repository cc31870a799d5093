"""Labels are compared where they are at the stamp of a result: vehicle and objects have moved on since."""

from __future__ import annotations

import numpy as np
import pytest

from lift3d_ros.evaluation.labels import RunLabels
from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.rotations import yaw_matrix
from lift3d_ros.replay.source import Labels
from lift3d_ros.types import Boxes3D, EgoMotion

MS = 1_000_000
LABEL_NS = 90 * MS


def boxes(at: tuple[float, float], velocity: tuple[float, float]) -> Boxes3D:
    one = np.ones(1)
    return Boxes3D(
        "base_link", ("car",), np.array([[*at, 0.5]]), np.array([[4.0, 2.0, 1.5]]), 0 * one, np.array([velocity]), one,
        np.zeros(1, np.int64),
    )  # fmt: skip


def ego(stamp_ns: int, x: float, yaw: float = 0.0, world_frame: str = "odom") -> EgoMotion:
    return EgoMotion(stamp_ns, make_transform(yaw_matrix(yaw), [x, 0.0, 0.0]), world_frame)


def at_zero(labelled: Boxes3D, of_label: EgoMotion | None, of_result: EgoMotion | None) -> Boxes3D | None:
    """Return labels of 90 ms as they are at the result of 0 ms."""
    return RunLabels({LABEL_NS: Labels(labelled, of_label)}, {0: of_result}).at(0)


def test_the_vehicle_drives_between_result_and_labels() -> None:
    found = at_zero(boxes((10.0, 2.0), (np.nan, np.nan)), ego(LABEL_NS, 0.9), ego(0, 0.0))
    assert found is not None
    np.testing.assert_allclose(found.centers, [[10.9, 2.0, 0.5]])
    assert np.isnan(found.velocities).all()


def test_the_vehicle_turns_between_result_and_labels() -> None:
    found = at_zero(boxes((10.0, 0.0), (0.0, 0.0)), ego(LABEL_NS, 0.0, yaw=0.1), ego(0, 0.0))
    assert found is not None
    np.testing.assert_allclose(found.centers, [[10 * np.cos(0.1), 10 * np.sin(0.1), 0.5]])
    np.testing.assert_allclose(found.yaws, [0.1])


def test_objects_move_between_result_and_labels() -> None:
    found = at_zero(boxes((10.0, 0.0), (10.0, -20.0)), ego(LABEL_NS, 3.0), ego(0, 3.0))
    assert found is not None
    np.testing.assert_allclose(found.centers, [[10.0 - 0.9, 1.8, 0.5]])


@pytest.mark.parametrize(
    ("of_label", "of_result"),
    [(None, ego(0, 0.0)), (ego(LABEL_NS, 0.0), None), (ego(LABEL_NS, 0.0, world_frame="map"), ego(0, 0.0))],
)
def test_labels_that_cannot_be_moved_are_not_shown_elsewhere(
    of_label: EgoMotion | None, of_result: EgoMotion | None
) -> None:
    assert at_zero(boxes((10.0, 0.0), (0.0, 0.0)), of_label, of_result) is None
    labels = RunLabels({LABEL_NS: Labels(boxes((10.0, 0.0), (0.0, 0.0)), of_label)}, {LABEL_NS: of_result})
    found = labels.at(LABEL_NS)
    assert found is not None
    np.testing.assert_allclose(found.centers, [[10.0, 0.0, 0.5]])


def test_labels_far_from_every_result_are_not_shown() -> None:
    labels = RunLabels({0: Labels(boxes((1.0, 0.0), (0.0, 0.0)), ego(0, 0.0))}, {300 * MS: ego(0, 0.0)})
    assert labels.at(300 * MS) is None
    assert RunLabels({}, {}).at(0) is None
