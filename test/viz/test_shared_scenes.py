"""Real labelled scenes: what is drawn lies on the objects that the lidar measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lift3d_ros.datasets.frames import frame_set, read_scene
from lift3d_ros.geometry.camera import project
from lift3d_ros.geometry.rigid import invert, transform_points
from lift3d_ros.images.decode import decode
from lift3d_ros.types import Boxes3D, Float64Array
from lift3d_ros.viz.calibration import _HORIZON, draw_calibration
from lift3d_ros.viz.overlay import draw_overlay
from lift3d_ros.viz.wireframe import wireframes


def points_inside(boxes: Boxes3D, index: int, points: Float64Array) -> Float64Array:
    offset = points - boxes.centers[index]
    c, s = np.cos(boxes.yaws[index]), np.sin(boxes.yaws[index])
    local = np.stack([c * offset[:, 0] + s * offset[:, 1], c * offset[:, 1] - s * offset[:, 0], offset[:, 2]], axis=1)
    return points[(np.abs(local) <= boxes.sizes[index] / 2).all(axis=1)]


@pytest.mark.parametrize("name", ["nc_nuscenes_scene0061", "nc_dgp_scene02", "nc_kitti_000008"])
def test_lidar_points_of_a_box_lie_within_its_wireframe(name: str, shared_dir: Path) -> None:
    directory = shared_dir / "data" / "driving" / name
    if not directory.is_dir():
        pytest.skip(f"no scene: {directory} does not exist")
    scene = read_scene(directory)
    frame = scene.frames[0]
    assert frame.boxes is not None
    assert frame.points_path is not None
    points = np.load(frame.points_path)["xyz"].astype(np.float64)  # in the base frame
    checked = 0
    for view in frame_set(scene, frame).views.values():
        rgb = decode(view.image)
        before = rgb.copy()
        picture = draw_overlay(rgb, view, frame.boxes)
        np.testing.assert_array_equal(rgb, before)
        seen = wireframes(view, frame.boxes)
        assert (picture != rgb).any() == bool(seen)
        for wireframe in seen:
            inside = points_inside(frame.boxes, wireframe.index, points)
            pixels, is_valid = project(view.model, transform_points(view.T_cam_reference, inside))
            pixels = pixels[is_valid & ((pixels > 0) & (pixels < [view.model.width - 1, view.model.height - 1])).all(1)]
            outline = np.concatenate(wireframe.polylines)
            if len(pixels) and wireframe.depth > 5.0:  # of nearer boxes, corners lie outside the picture
                checked += 1
                assert (pixels >= outline.min(axis=0) - 1).all()
                assert (pixels <= outline.max(axis=0) + 1).all()
    assert checked >= 4


def test_the_horizon_of_each_camera_is_near_its_middle_row(shared_dir: Path) -> None:
    """The cameras of the nuScenes rig are level within a degree or two."""
    directory = shared_dir / "data" / "driving" / "nc_nuscenes_scene0061"
    if not directory.is_dir():
        pytest.skip(f"no scene: {directory} does not exist")
    scene = read_scene(directory)
    for view in frame_set(scene, scene.frames[0]).views.values():
        picture = draw_calibration(decode(view.image), view)
        rows = np.flatnonzero((np.abs(picture[:, 30].astype(int) - _HORIZON) <= 60).all(axis=1))
        forward = invert(view.T_base_cam)[:3, :3] @ [*view.T_base_cam[:2, 2], 0.0]  # level, straight ahead
        expected = project(view.model, forward[None])[0][0, 1]
        assert rows.mean() == pytest.approx(expected, abs=12)
        assert rows.mean() == pytest.approx(view.model.intrinsics[1, 2], abs=25)
