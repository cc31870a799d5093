"""Labels, depth and instance numbers of a rendered picture agree with each other and with the calibration."""

from __future__ import annotations

import numpy as np
import pytest

from lift3d_ros.geometry.boxes import corners
from lift3d_ros.geometry.camera import project, unproject
from lift3d_ros.geometry.rigid import invert, transform_points
from lift3d_ros.simulation.renderer import SAMPLE_OFFSET_PX
from lift3d_ros.simulation.road import MAIN
from lift3d_ros.simulation.scene_writer import DriveFrame, DriveRenderer
from lift3d_ros.simulation.tracks import world_boxes

TOLERANCE_PX = 1.5


def box_rectangles(drive: DriveRenderer, camera: str, time_s: float) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return the first and last pixel (u, v) around each box that lies wholly in the picture, by instance."""
    entry = drive.cameras[camera]
    T_cam_world = invert(drive.street.ego.T_world_base(time_s) @ entry.T_base_cam)
    boxes = world_boxes(drive.street.tracks, time_s)
    assert boxes.track_ids is not None
    rectangles = {}
    for instance, points in zip(boxes.track_ids, corners(boxes), strict=True):
        pixels, is_valid = project(entry.model, transform_points(T_cam_world, points))
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        size = np.array([entry.model.width, entry.model.height])
        if is_valid.all() and (low >= 0).all() and (high <= size - 1).all():
            rectangles[int(instance)] = (low, high)
    return rectangles


def pixel_rectangle(instances: np.ndarray, instance: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.nonzero(instances == instance)
    return np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()])


def test_visible_objects_lie_inside_their_projected_boxes(drive: DriveRenderer, first_frame: DriveFrame) -> None:
    checked = 0
    for camera, view in first_frame.views.items():
        for instance, (low, high) in box_rectangles(drive, camera, first_frame.times_s[camera]).items():
            if np.count_nonzero(view.instances == instance) < 40:
                continue
            first, last = pixel_rectangle(view.instances, instance)
            assert (first >= low - TOLERANCE_PX).all(), f"{camera}: object {instance} leaves its box"
            assert (last <= high + TOLERANCE_PX).all(), f"{camera}: object {instance} leaves its box"
            checked += 1
    assert checked > 25


def test_boxes_are_tight(drive: DriveRenderer, first_frame: DriveFrame) -> None:
    by_instance = {track.instance: track for track in drive.street.tracks}
    seen_classes = set()
    for camera in ("front", "back"):
        time_s = first_frame.times_s[camera]
        entry = drive.cameras[camera]
        T_world_cam = drive.street.ego.T_world_base(time_s) @ entry.T_base_cam
        for instance, (low, high) in box_rectangles(drive, camera, time_s).items():
            if (high - low).min() < 22:
                continue
            alone = [item for item in drive.items(time_s) if item.instance == instance]
            instances = drive.renderer.render(entry.model, T_world_cam, alone).instances
            first, last = pixel_rectangle(instances, instance)
            share = (last - first + 1) / (high - low + 1)
            track = by_instance[instance]
            # The box of someone who walks holds the whole stride; at an instant the legs may be closed.
            least_width = 0.4 if track.user.cycle_m else 0.8
            assert share[0] > least_width, f"{camera}: {track.user.class_name} {instance} fills {share} of its box"
            assert share[1] > 0.75, f"{camera}: {track.user.class_name} {instance} fills {share} of its box"
            seen_classes.add(track.user.class_name)
    assert len(seen_classes) >= 5


@pytest.mark.parametrize("camera", ["front", "back_left"])
def test_depth_of_the_road_follows_from_calibration_and_pose(
    drive: DriveRenderer, first_frame: DriveFrame, camera: str
) -> None:
    view, entry = first_frame.views[camera], drive.cameras[camera]
    rows, columns = np.nonzero(view.instances == 0)
    rays = unproject(entry.model, np.stack([columns, rows], axis=1) + SAMPLE_OFFSET_PX) @ entry.T_base_cam[:3, :3].T
    down = -rays[:, 2]
    depth = view.depth[rows, columns][down > 0.02]
    height = entry.T_base_cam[2, 3]
    expected = [(height - z) / down[down > 0.02] for z in (0.0, MAIN.kerb_height)]
    errors = np.abs(depth - expected) / depth
    on_ground = errors.min(axis=0) < 1e-4
    # What is left stands on the ground: houses, trees, kerbs.
    assert np.count_nonzero(on_ground) > 20_000
    is_low = rows[down > 0.02] > 0.85 * entry.model.height
    assert on_ground[is_low].mean() > 0.9


def test_sky_has_no_depth_and_no_instance(first_frame: DriveFrame) -> None:
    view = first_frame.views["front"]
    is_sky = np.isinf(view.depth)
    assert 0.05 < is_sky.mean() < 0.6
    assert (view.instances[is_sky] == -1).all()
    assert (view.instances[~is_sky] >= 0).all()


def test_visible_pixels_count_all_pictures(first_frame: DriveFrame) -> None:
    boxes = first_frame.boxes
    assert boxes.track_ids is not None
    nearest = int(np.argmax(first_frame.visible_px))
    pixels = sum(np.count_nonzero(view.instances == boxes.track_ids[nearest]) for view in first_frame.views.values())
    assert pixels == first_frame.visible_px[nearest] > 1000
