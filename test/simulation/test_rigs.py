"""Random rigs are ones that could be built, and their disturbances stay small."""

from __future__ import annotations

import numpy as np
import pytest

from lift3d_ros.datasets.frames import SceneCamera
from lift3d_ros.simulation.lens import Lens
from lift3d_ros.simulation.rigs import body_motion, disturbed, random_rig

RIGS = [random_rig(np.random.default_rng(seed)) for seed in range(60)]


def yaw(camera: SceneCamera) -> float:
    return float(np.arctan2(camera.T_base_cam[1, 2], camera.T_base_cam[0, 2]))


def test_rigs_look_all_around() -> None:
    gaps = []
    for rig in RIGS:
        assert 4 <= len(rig) <= 8
        seen = np.zeros(360, dtype=bool)
        for camera in rig.values():
            K, width = camera.model.intrinsics, camera.model.width
            half = np.rad2deg(np.arctan(width / 2 / K[0, 0]))
            turn = np.abs((np.arange(360) - np.rad2deg(yaw(camera)) + 180) % 360 - 180)
            seen |= turn <= half
        gaps.append(np.count_nonzero(~seen))
    assert np.median(gaps) == 0
    assert max(gaps) < 30


def test_rigs_differ_in_cameras_heights_shapes_and_lenses() -> None:
    cameras = [camera for rig in RIGS for camera in rig.values()]
    heights = [camera.T_base_cam[2, 3] for camera in cameras]
    assert min(heights) < 1.25
    assert max(heights) > 1.9
    assert min(heights) > 0.6
    assert max(heights) < 2.8
    assert {camera.model.distortion_model for camera in cameras} == {
        "none", "plumb_bob", "rational_polynomial", "equidistant",
    }  # fmt: skip
    assert len({round(camera.model.width / camera.model.height, 1) for camera in cameras}) == 3
    assert {len(rig) for rig in RIGS} >= {4, 5, 6, 7, 8}
    names = [name for rig in RIGS for name in rig]
    assert sum(set(rig) >= {"front", "front_left", "back", "back_right"} for rig in RIGS) > 30
    assert all(name == camera.model.name for rig in RIGS for name, camera in rig.items())
    assert names


def test_left_cameras_look_left_and_up_is_up() -> None:
    for rig in RIGS:
        for name, camera in rig.items():
            if "left" in name:
                assert yaw(camera) > 0
            if "right" in name:
                assert yaw(camera) < 0
            assert camera.T_base_cam[2, 1] < -0.98


@pytest.mark.parametrize("seed", range(0, 60, 3))
def test_every_camera_can_be_rendered(seed: int) -> None:
    for camera in RIGS[seed].values():
        lens = Lens(camera.model)
        assert lens.pinhole.width <= 2 * camera.model.width + 3


def test_the_true_cameras_differ_a_little_from_the_labelled_ones() -> None:
    rig = RIGS[0]
    true = disturbed(rig, np.random.default_rng(1))
    for name, camera in rig.items():
        rotation = camera.T_base_cam[:3, :3].T @ true[name].T_base_cam[:3, :3]
        angle = np.rad2deg(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1)))
        assert 0.09 < angle < 0.52
        assert abs(true[name].model.intrinsics[0, 0] / camera.model.intrinsics[0, 0] - 1) <= 0.005
        assert np.linalg.norm(true[name].T_base_cam[:3, 3] - camera.T_base_cam[:3, 3]) < 0.05


def test_the_body_rolls_and_pitches_within_bounds() -> None:
    for seed in range(20):
        motion = body_motion(np.random.default_rng(seed), largest_deg=0.8)
        tilts = [np.rad2deg(np.arccos(motion.T_base_body(t)[2, 2])) for t in np.linspace(0, 10, 200)]
        assert 0.0 < max(tilts) < 0.8 * 1.5
