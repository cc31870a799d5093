"""Pictures, depth, instances and labels of a simulated frame agree with each other and with the calibration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lift3d_ros.errors import CalibrationError, ConfigError
from lift3d_ros.geometry.boxes import corners, points_in_boxes
from lift3d_ros.geometry.camera import project, unproject
from lift3d_ros.geometry.rig import Rig, RigCamera
from lift3d_ros.geometry.rigid import invert, transform_points
from lift3d_ros.simulation.drive import Simulator, firing_offsets_ns, rig_cameras, scene_weather
from lift3d_ros.simulation.frame import SimulatedFrame
from lift3d_ros.simulation.renderer import SAMPLE_OFFSET_PX
from lift3d_ros.simulation.settings import SimulationSettings

TOLERANCE_PX = 2.0


def test_labelled_objects_lie_inside_their_projected_boxes(drive: tuple[SimulatedFrame, ...]) -> None:
    frame, checked = drive[0], 0
    assert frame.boxes.track_ids is not None
    for name, view in frame.views.items():
        camera = frame.cameras[name]
        T_cam_frame = invert(view.T_world_base @ camera.T_base_cam) @ frame.T_world_base
        late_s = (view.stamp_ns - frame.stamp_ns) * 1e-9
        for i, instance in enumerate(frame.boxes.track_ids):
            shift = np.append(frame.boxes.velocities[i] * late_s, 0.0)
            points = transform_points(T_cam_frame, corners(frame.boxes.select(np.array([i])))[0] + shift)
            rows, columns = np.nonzero(view.instances == instance)
            if len(rows) < 40 or points[:, 2].min() < 0.5:
                continue
            pixels = project(camera.model, points)[0]
            low, high = pixels.min(axis=0) - TOLERANCE_PX, pixels.max(axis=0) + TOLERANCE_PX
            assert low[0] <= columns.min(), f"{name}: object {instance} leaves its box"
            assert columns.max() <= high[0], f"{name}: object {instance} leaves its box"
            assert low[1] <= rows.min(), f"{name}: object {instance} leaves its box"
            assert rows.max() <= high[1], f"{name}: object {instance} leaves its box"
            checked += 1
    assert checked >= 8


def test_depth_of_the_road_follows_from_calibration_and_pose(drive: tuple[SimulatedFrame, ...]) -> None:
    view, camera = drive[0].views["front"], drive[0].cameras["front"]
    is_ground = (view.instances == 0) & (view.depth > 0)
    is_ground[: int(0.8 * camera.model.height)] = False
    rows, columns = np.nonzero(is_ground)
    rays = unproject(camera.model, np.stack([columns, rows], axis=1) + SAMPLE_OFFSET_PX) @ camera.T_base_cam[:3, :3].T
    expected = camera.T_base_cam[2, 3] / -rays[:, 2]
    error = np.abs(view.depth[rows, columns] - expected) / expected
    assert np.mean(error < 1e-3) > 0.8


def test_sky_has_no_depth(drive: tuple[SimulatedFrame, ...]) -> None:
    view = drive[0].views["front"]
    is_sky = view.instances == -1
    assert 0.02 < is_sky.mean() < 0.7
    assert (view.depth[is_sky] == 0).all()
    assert (view.depth[~is_sky] > 0).all()


def test_labels_are_seen_and_near(drive: tuple[SimulatedFrame, ...], small_settings: SimulationSettings) -> None:
    for frame in drive:
        assert frame.boxes.track_ids is not None
        assert len(frame.boxes) > 5
        for i, instance in enumerate(frame.boxes.track_ids):
            pixels = sum(np.count_nonzero(view.instances == instance) for view in frame.views.values())
            assert pixels >= small_settings.min_visible_px
            assert 0 < frame.visibility[i] <= 1
        assert np.linalg.norm(frame.boxes.centers[:, :2], axis=1).max() <= small_settings.range_m


def test_lidar_points_lie_in_the_base_frame_and_hit_the_labelled_boxes(drive: tuple[SimulatedFrame, ...]) -> None:
    frame = drive[0]
    assert len(frame.points) == len(frame.intensities) > 5000
    ground = np.abs(frame.points[:, 2]) < 0.15
    assert 0.2 < ground.mean() < 0.95
    grown = replace(frame.boxes, sizes=frame.boxes.sizes + 0.2)
    inside = np.count_nonzero(points_in_boxes(frame.points, grown), axis=0)
    assert (inside[frame.num_points > 5] > 0.8 * frame.num_points[frame.num_points > 5]).all()
    assert np.count_nonzero(frame.num_points) > 0.5 * len(frame.boxes)


def test_cameras_fire_one_after_the_other_and_see_the_world_at_their_own_time(
    drive: tuple[SimulatedFrame, ...], small_settings: SimulationSettings
) -> None:
    frame = drive[0]
    offsets = firing_offsets_ns(frame.cameras, 45_000_000)
    assert {name: view.stamp_ns - frame.stamp_ns for name, view in frame.views.items()} == offsets
    assert min(offsets.values()) == -45_000_000
    assert max(offsets.values()) == 0
    assert sorted(offsets, key=lambda name: offsets[name]) == [
        "front_left", "front", "front_right", "back_right", "back", "back_left",
    ]  # fmt: skip
    poses = {view.T_world_base.tobytes() for view in frame.views.values()}
    assert len(poses) == len(frame.views)


def test_frames_follow_each_other_at_the_interval(
    drive: tuple[SimulatedFrame, ...], small_settings: SimulationSettings
) -> None:
    assert drive[1].stamp_ns - drive[0].stamp_ns == 500_000_000
    step = np.linalg.norm((drive[1].T_world_base - drive[0].T_world_base)[:3, 3])
    assert step <= 0.5 * small_settings.ego_speed[1] + 1.0


def test_the_same_seed_gives_the_same_bytes(simulator: Simulator, drive: tuple[SimulatedFrame, ...]) -> None:
    list(simulator.drive(3))
    again = next(iter(simulator.drive(21)))
    for name, view in drive[0].views.items():
        np.testing.assert_array_equal(view.rgb, again.views[name].rgb)
        np.testing.assert_array_equal(view.depth, again.views[name].depth)
    np.testing.assert_array_equal(drive[0].points, again.points)
    np.testing.assert_array_equal(drive[0].boxes.centers, again.boxes.centers)


def test_a_random_rig_with_errors_and_sensor_gives_whole_frames(simulator: Simulator) -> None:
    settings = SimulationSettings(
        frames=1, width=200, random_rigs=1.0, calibration_errors=1.0, body_motion=1.0, min_visible_px=3
    )
    with Simulator(settings, None) as other:
        for seed in (1, 2):
            frame = next(iter(other.drive(seed)))
            assert 4 <= len(frame.views) <= 8
            for name, view in frame.views.items():
                model = frame.cameras[name].model
                assert view.rgb.shape == (model.height, model.width, 3)
                assert view.depth.shape == view.instances.shape == (model.height, model.width)


def test_some_scenes_have_errors_of_calibration() -> None:
    plain, some = (SimulationSettings(frames=1, width=64, calibration_errors=share) for share in (0.0, 0.5))
    with Simulator(plain, None) as without, Simulator(some, None) as mixed:
        same = []
        for seed in range(8):
            first, second = next(iter(without.drive(seed))), next(iter(mixed.drive(seed)))
            same.append(np.array_equal(first.views["front"].depth, second.views["front"].depth))
    assert 2 <= sum(same) <= 6


def test_a_fifth_of_the_evaluation_scenes_is_dark_or_wet(repository: Path) -> None:
    settings = SimulationSettings(dark_or_wet=0.2, other_weather=0.4)
    kinds = [scene_weather(seed, settings).kind for seed in range(9000, 9020)]
    assert (kinds.count("night"), kinds.count("rain")) == (2, 2)
    assert (kinds.count("overcast"), kinds.count("dusk"), kinds.count("fog")) == (4, 2, 2)


def test_a_rig_without_calibration_is_refused_by_name() -> None:
    with pytest.raises(CalibrationError, match="camera 'front' of the rig has no calibration or no mounting"):
        rig_cameras(Rig(cameras={"front": RigCamera()}), 400)


def test_a_drive_that_is_left_early_may_outlive_its_simulator(simulator: Simulator) -> None:
    assert simulator.renderer.device
    with Simulator(SimulationSettings(frames=2, width=64), None) as short:
        steps = short.drive(1)
        next(steps)
    steps.close()  # type: ignore[attr-defined]


def test_training_refuses_the_seeds_of_the_evaluation(simulator: Simulator) -> None:
    with (
        Simulator(SimulationSettings(purpose="training"), None) as trainer,
        pytest.raises(ConfigError, match=r"seed 9004 .*9000-9019.* is not trained on"),
    ):
        next(iter(trainer.drive(9004)))
