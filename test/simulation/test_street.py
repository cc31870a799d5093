"""A street holds every class, nothing overlaps while the drive lasts, and motion is what the labels say."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np
import pytest

from lift3d_ros.datasets.frames import SceneCamera
from lift3d_ros.errors import CalibrationError
from lift3d_ros.geometry.boxes import bev_iou, transform_boxes
from lift3d_ros.geometry.rig import Rig, RigCamera
from lift3d_ros.geometry.rigid import invert
from lift3d_ros.simulation.gl_context import RenderingError
from lift3d_ros.simulation.renderer import Lighting, Renderer
from lift3d_ros.simulation.road import MAIN
from lift3d_ros.simulation.scene_writer import SPREAD_NS, DriveSettings, firing_offsets_ns, rig_cameras
from lift3d_ros.simulation.street import Street, make_street
from lift3d_ros.simulation.tracks import ego_box, world_boxes

TIMES_S = np.arange(-0.045, 5.51, 0.37)


@pytest.mark.parametrize("seed", [7, 21])
def test_objects_never_overlap(street: Street, settings: DriveSettings, seed: int) -> None:
    scene = street if seed == settings.seed else make_street(seed, settings.duration_s)
    for time_s in TIMES_S:
        boxes = world_boxes(scene.tracks, float(time_s))
        overlap = bev_iou(boxes, boxes) - np.eye(len(boxes))
        assert overlap.max() < 1e-9, f"objects overlap at {time_s:.2f} s"
        assert bev_iou(boxes, ego_box(scene.ego, float(time_s))).max() == 0.0, f"ego vehicle hit at {time_s:.2f} s"


def test_all_classes_are_there_moving_and_parked(street: Street) -> None:
    counts: dict[str, int] = {}
    for track in street.tracks:
        counts[track.user.class_name] = counts.get(track.user.class_name, 0) + 1
    assert set(counts) == {
        "car", "truck", "construction_vehicle", "bus", "trailer", "barrier", "motorcycle", "bicycle", "pedestrian",
        "traffic_cone",
    }  # fmt: skip
    assert counts["car"] >= 10
    assert counts["pedestrian"] >= 10
    for class_name in ("car", "truck", "bicycle", "motorcycle", "pedestrian"):
        states = {track.is_moving for track in street.tracks if track.user.class_name == class_name}
        assert states == {True, False}, class_name


def test_boxes_enclose_their_meshes_and_stand_on_the_ground(street: Street) -> None:
    for track in street.tracks:
        low, high = track.user.center - track.user.size / 2, track.user.center + track.user.size / 2
        positions = np.concatenate([mesh.positions for mesh in track.user.meshes])
        np.testing.assert_allclose(positions.min(axis=0), low, atol=1e-4)
        np.testing.assert_allclose(positions.max(axis=0), high, atol=1e-4)
        assert abs(low[2]) < 0.015, f"{track.user.class_name} floats or sinks"


def test_nobody_walks_into_a_house(street: Street) -> None:
    for track in street.tracks:
        if not track.is_on_cross:
            d = track.start[1] + track.rate[1] * TIMES_S
            assert np.abs(d).max() < MAIN.pavement, f"{track.user.class_name} {track.instance}"


def test_velocity_is_the_change_of_place(street: Street) -> None:
    before, now, after = (world_boxes(street.tracks, time_s) for time_s in (1.9, 2.0, 2.1))
    moved = (after.centers - before.centers)[:, :2] / 0.2
    np.testing.assert_allclose(moved, now.velocities, atol=0.03)
    in_base = transform_boxes(invert(street.ego.T_world_base(2.0)), now, "base_link")
    is_moving = np.linalg.norm(in_base.velocities, axis=1) > 0.5
    heading = np.stack([np.cos(in_base.yaws), np.sin(in_base.yaws)], axis=1)[is_moving]
    direction = in_base.velocities[is_moving] / np.linalg.norm(in_base.velocities[is_moving], axis=1, keepdims=True)
    assert (heading * direction).sum(axis=1).min() > 0.999


def test_cameras_fire_one_after_the_other_from_the_left_front(cameras: Mapping[str, SceneCamera]) -> None:
    offsets = firing_offsets_ns(cameras)
    assert sorted(offsets, key=lambda name: offsets[name]) == [
        "front_left", "front", "front_right", "back_right", "back", "back_left"
    ]  # fmt: skip
    assert max(offsets.values()) - min(offsets.values()) == SPREAD_NS
    assert max(offsets.values()) == 0


def test_a_rig_without_calibration_is_refused() -> None:
    with pytest.raises(CalibrationError, match="camera 'front' of the rig has no calibration"):
        rig_cameras(Rig(cameras={"front": RigCamera()}), 704)


def test_missing_moderngl_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moderngl", None)
    with pytest.raises(RenderingError, match="pip install moderngl"):
        Renderer([], Lighting())


def test_missing_driver_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    moderngl = pytest.importorskip("moderngl")

    def fail(**_: object) -> None:
        raise Exception("libEGL.so.1: cannot open shared object file")

    monkeypatch.setattr(moderngl, "create_context", fail)
    with pytest.raises(RenderingError, match="libegl1 libgl1 libgl1-mesa-dri"):
        Renderer([], Lighting())
