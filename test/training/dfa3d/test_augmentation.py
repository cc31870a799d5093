"""Augmented pictures, projections, boxes and motions still belong together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from painted_street import HEIGHT, WIDTH, camera_matrices

from lift3d_ros.geometry.boxes import corners
from lift3d_ros.geometry.project import project_points
from lift3d_ros.training.dfa3d.augmentation import (
    SampleChange,
    change_boxes,
    change_motion,
    change_projections,
    draw_change,
)
from lift3d_ros.training.dfa3d.pictures import (
    PictureChange,
    change_depths,
    change_pictures,
    sampling_matrices,
)
from lift3d_ros.training.dfa3d.settings import AugmentationSettings
from lift3d_ros.types import Boxes3D

STRONG = AugmentationSettings(
    roll_deg=20.0, picture_flip=0.5, turn_deg=180.0, scale=(0.8, 1.2), flip_x=0.5, flip_y=0.5, calibration_px=0.0,
    calibration_focal=0.0, drops_camera=0.5,
)  # fmt: skip
PLAIN = dataclasses.replace(
    STRONG, brightness=0, contrast=0, saturation=0, hue_deg=0, tint=0, noise=0, blur=0, grid_mask=0
)


def draw(seed: int, options: AugmentationSettings = PLAIN, cameras: int = 4) -> SampleChange:
    return draw_change(options, cameras, WIDTH, HEIGHT, np.random.default_rng(seed))


def tensors(change: SampleChange) -> PictureChange:
    count = len(change.warps)
    arrays = (
        sampling_matrices(change.warps, HEIGHT, WIDTH), np.full(count, change.scale), change.colors, change.noise,
        change.blur, change.grid,
    )  # fmt: skip
    return PictureChange(*(torch.from_numpy(array.astype(np.float32)) for array in arrays))


def some_boxes(seed: int) -> Boxes3D:
    rng = np.random.default_rng(seed)
    return Boxes3D(
        "base_link", ("car",), rng.uniform((-20, -20, -1), (20, 20, 2), (6, 3)), rng.uniform(1, 5, (6, 3)),
        rng.uniform(-3, 3, 6), rng.uniform(-5, 5, (6, 2)), np.ones(6), np.zeros(6, dtype=int),
    )  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_box_corners_land_on_the_pixels_of_the_same_scene_point(seed: int) -> None:
    """Corner by corner: old picture and warp on the one hand, new box and new projection on the other."""
    change, boxes, matrices = draw(seed), some_boxes(seed), camera_matrices(4)
    centers, sizes, yaws, velocities = change_boxes(boxes.centers, boxes.sizes, boxes.yaws, boxes.velocities, change)
    changed = dataclasses.replace(boxes, centers=centers, sizes=sizes, yaws=yaws, velocities=velocities)
    new_matrices = change_projections(matrices, change)
    for old, new, warp in zip(matrices, new_matrices, change.warps, strict=True):
        pixels, depths = project_points(old, corners(boxes).reshape(-1, 3))
        ahead = depths > 0.5
        expected = np.column_stack([pixels, np.ones(len(pixels))]) @ warp.T
        found, new_depths = project_points(new, corners(changed).reshape(-1, 3))
        # A mirrored box is the same box with its left and right corners exchanged.
        sides = np.arange(8)
        by_side = corners(changed).reshape(6, 8, 3)
        target = corners(boxes).reshape(-1, 3) @ change.T_changed_base[:3, :3].T
        nearest = np.linalg.norm(by_side[:, None] - target.reshape(6, 8, 1, 3), axis=-1)
        order = (nearest.argmin(axis=2) + 8 * np.arange(6)[:, None]).reshape(-1)
        assert nearest.min(axis=2).max() < 1e-6
        assert sorted(order % 8) == sorted(np.tile(sides, 6))
        np.testing.assert_allclose(found[order][ahead], expected[ahead, :2], atol=1e-5)
        np.testing.assert_allclose(new_depths[order][ahead], change.scale * depths[ahead], rtol=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_a_bright_spot_moves_to_where_its_point_projects(seed: int) -> None:
    change, matrices = draw(seed), camera_matrices(4)
    point = np.array([[11.0, 0.6, 1.2]])
    pixel, _ = project_points(matrices[0], point)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    spot = 255 * np.exp(-((columns - pixel[0, 0]) ** 2 + (rows - pixel[0, 1]) ** 2) / 18.0)
    images = torch.from_numpy(np.broadcast_to(spot.round().astype(np.uint8), (4, 3, HEIGHT, WIDTH)).copy())
    moved = change_pictures(images, tensors(change))[0, 0].double().numpy()
    where, depth = project_points(change_projections(matrices, change)[0], point @ change.T_changed_base[:3, :3].T)
    assert depth[0] == pytest.approx(change.scale * 11.0 - change.scale * 0.4, abs=1e-9)
    if not (12 < where[0, 0] < WIDTH - 12 and 12 < where[0, 1] < HEIGHT - 12):
        return
    found = np.array([(moved * columns).sum(), (moved * rows).sum()]) / moved.sum()
    np.testing.assert_allclose(found, where[0], atol=0.15)


def test_depths_follow_the_scale_and_the_pictures() -> None:
    options = dataclasses.replace(PLAIN, roll_deg=0.0, shift=0.0, zoom=(2.0, 2.0), flip_x=0, flip_y=0, picture_flip=0)
    change = draw(3, options)
    depths = torch.full((4, HEIGHT // 16, WIDTH // 16), float("inf"), dtype=torch.float16)
    depths[:, 2:4, 5:7] = 8.0  # the four cells in the middle
    moved = change_depths(depths, tensors(change), HEIGHT, WIDTH)
    assert moved[0, 1:5, 4:8].numpy() == pytest.approx(8.0 * change.scale)
    assert int((moved[0] > 0).sum()) == 16


@pytest.mark.parametrize("flips", [False, True])
def test_depths_of_incomplete_cells_move_by_pixels(flips: bool) -> None:
    """A picture of 88 x 200 px; the picture moves by 32 px to the right, or is mirrored."""
    height, width = 88, 200
    warp = np.eye(3)
    warp[0] = [-1.0, 0.0, width - 1.0] if flips else [1.0, 0.0, 32.0]
    plain = tensors(draw(0))
    change = plain._replace(
        sampling=torch.from_numpy(sampling_matrices(warp[None], height, width)).float(), depth_scale=torch.ones(1)
    )
    depths = torch.full((1, 6, 13), float("inf"))
    depths[0, 5, 2] = 7.0  # columns 32 to 47 of the last, half row
    moved = change_depths(depths, change, height, width)
    rows, columns = moved[0].nonzero().T.tolist()
    assert set(rows) == {5}
    # Mirrored, the cell covers columns 152 to 167: the halves of two cells, of which one has its middle in it.
    assert columns in ([[9], [10]] if flips else [[4]])


def test_flips_keep_motions_rigid_and_boxes_moving_with_their_world() -> None:
    mirrored = next(change for change in map(draw, range(50)) if np.linalg.det(change.T_changed_base[:3, :3]) < 0)
    motion = np.eye(4)
    motion[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    motion[:3, 3] = [2.0, 0.5, 0.1]
    changed = change_motion(motion, mirrored)
    np.testing.assert_allclose(changed[:3, :3] @ changed[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(changed[:3, :3]) == pytest.approx(1.0)
    assert np.linalg.norm(changed[:3, 3]) == pytest.approx(mirrored.scale * np.linalg.norm(motion[:3, 3]))
    point = np.array([4.0, -3.0, 1.0, 1.0])
    np.testing.assert_allclose(
        changed @ mirrored.T_changed_base @ point, mirrored.T_changed_base @ motion @ point, atol=1e-9
    )
    boxes = some_boxes(1)
    centers, _, yaws, velocities = change_boxes(boxes.centers, boxes.sizes, boxes.yaws, boxes.velocities, mirrored)
    ahead = boxes.centers.copy()
    ahead[:, :2] += boxes.velocities
    later = change_boxes(ahead, boxes.sizes, boxes.yaws, boxes.velocities, mirrored)[0]
    np.testing.assert_allclose(later[:, :2] - centers[:, :2], velocities, atol=1e-9)
    tip = boxes.centers + np.column_stack([np.cos(boxes.yaws), np.sin(boxes.yaws), np.zeros(6)])
    moved_tip = change_boxes(tip, boxes.sizes, boxes.yaws, boxes.velocities, mirrored)[0]
    heading = np.arctan2(*(moved_tip - centers)[:, 1::-1].T)
    np.testing.assert_allclose(np.exp(1j * heading), np.exp(1j * yaws), atol=1e-9)


def test_unknown_velocities_stay_unknown() -> None:
    boxes = some_boxes(2)
    velocities = boxes.velocities.copy()
    velocities[2] = np.nan
    changed = change_boxes(boxes.centers, boxes.sizes, boxes.yaws, velocities, draw(1))[3]
    assert np.isnan(changed).any(axis=1).tolist() == [False, False, True, False, False, False]


def test_colours_change_within_bounds_and_no_change_keeps_the_picture() -> None:
    images = torch.randint(0, 256, (4, 3, HEIGHT, WIDTH), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    still = dataclasses.replace(PLAIN, zoom=(1.0, 1.0), shift=0.0, roll_deg=0.0, flip_x=0, flip_y=0, picture_flip=0)
    same = change_pictures(images, tensors(draw(0, still)))
    assert (same - images).abs().max() < 0.02
    loud = draw(5, dataclasses.replace(STRONG, grid_mask=1.0, blur=1.0))
    changed = change_pictures(images, tensors(loud))
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert float((changed == 0).all(dim=1).float().mean()) > 0.02  # squares were cut out


def test_a_dropped_camera_is_at_most_one_and_never_the_only_one() -> None:
    always = dataclasses.replace(PLAIN, drops_camera=1.0)
    assert all(draw(seed, always).is_kept.sum() == 3 for seed in range(5))
    assert draw(0, always, cameras=1).is_kept.all()
