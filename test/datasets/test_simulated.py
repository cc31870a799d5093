"""The simulator's frames enter training as a recording of a vehicle would."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from lift3d_ros.datasets.frames import CLASS_NAMES, SceneCamera
from lift3d_ros.datasets.prepared import prepare_sample
from lift3d_ros.datasets.simulated import SimulatedData
from lift3d_ros.errors import DatasetError
from lift3d_ros.geometry.rigid import invert, make_transform
from lift3d_ros.images.preprocess import InputSpec
from lift3d_ros.simulation.frame import SimulatedFrame, SimulatedView
from lift3d_ros.types import Boxes3D, CameraModel

SIZE = (64, 32)
PERIOD_NS = 500_000_000


class Drives:
    """Stands for the simulator: 10 m/s ahead, flat pictures whose grey is the number of the frame."""

    def __init__(self) -> None:
        self.rendered: list[tuple[int, int]] = []

    def __call__(self, seed: int) -> Iterator[SimulatedFrame]:
        K = np.array([[40.0, 0.0, 31.5], [0.0, 40.0, 15.5], [0.0, 0.0, 1.0]])
        T_base_cam = make_transform([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]], [1.0, 0.0, 1.5])
        cameras = {name: SceneCamera(CameraModel(name, name, *SIZE, K), T_base_cam) for name in ("front", "back")}
        for index in range(3):
            self.rendered.append((seed, index))
            stamp_ns = (index + 1) * PERIOD_NS
            views = {}
            for i, name in enumerate(cameras):
                fired_ns = stamp_ns - (1 - i) * 40_000_000
                rgb = np.full((*SIZE[::-1], 3), 10 * index + i, np.uint8)
                depth = np.full(SIZE[::-1], 12.0, np.float32)
                views[name] = SimulatedView(rgb, depth, np.zeros(SIZE[::-1], np.int32), fired_ns, pose(fired_ns))
            boxes = Boxes3D(
                "base_link", CLASS_NAMES, np.array([[12.0, 0.0, 1.0]]), np.array([[4.0, 2.0, 1.5]]), np.zeros(1),
                np.zeros((1, 2)), np.ones(1), np.zeros(1, np.int64),
            )  # fmt: skip
            points = np.zeros((0, 3), np.float32)
            yield SimulatedFrame(
                index, stamp_ns, pose(stamp_ns), cameras, views, boxes, np.array([0.5]), np.array([9]), points,
                np.zeros(0, np.uint8),
            )  # fmt: skip


def pose(stamp_ns: int) -> np.ndarray:
    return make_transform(np.eye(3), [10.0 * stamp_ns * 1e-9, 0.0, 0.0])


def test_a_frame_has_the_pictures_poses_and_depths_of_its_cameras() -> None:
    data = SimulatedData(Drives(), 3, [4, 7])
    assert data.scenes == ("simulated-000004", "simulated-000007")
    found = data.load("simulated-000007", 1)
    assert found.frame_set.ego is not None
    assert found.frame_set.ego.linear_velocity is not None
    np.testing.assert_allclose(found.frame_set.ego.linear_velocity, [10.0, 0.0, 0.0], atol=1e-6)
    front = found.frame_set.views["front"]
    np.testing.assert_allclose(front.T_reference_capture, invert(pose(1_000_000_000)) @ pose(960_000_000), atol=1e-9)
    sample = prepare_sample(found, InputSpec(64, 32), data.class_names, index=1)
    assert (sample.images[0] == 10).all()
    assert (sample.images[1] == 11).all()
    assert (sample.cell_depths == 12.0).all()
    assert sample.visibility.tolist() == [0.5]
    assert sample.num_points.tolist() == [9]
    assert sample.has_pose


def test_reading_in_order_renders_each_frame_once() -> None:
    drives = Drives()
    data = SimulatedData(drives, 3, [4, 7])
    for scene in data.scenes:
        for index in range(data.num_frames(scene)):
            data.load(scene, index)
            data.load(scene, index)
    assert drives.rendered == [(4, 0), (4, 1), (4, 2), (7, 0), (7, 1), (7, 2)]


def test_going_back_gives_the_same_frame_again() -> None:
    data = SimulatedData(Drives(), 3, [4])
    first = data.load("simulated-000004", 0)
    data.load("simulated-000004", 2)
    again = data.load("simulated-000004", 0)
    assert again.frame_set.stamp_ns == first.frame_set.stamp_ns
    np.testing.assert_array_equal(again.frame_set.views["back"].image.data, first.frame_set.views["back"].image.data)


def test_a_drive_that_is_shorter_than_said_is_an_error() -> None:
    with pytest.raises(DatasetError, match=r"'simulated-000004' has 3 items; asked for item 3"):
        SimulatedData(Drives(), 9, [4]).load("simulated-000004", 3)
