"""Lift-splat puts the features of a pixel where its depth says the surface is."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from dfa3d_configs import SMALL  # noqa: E402

from lift3d_ros.errors import ConfigError  # noqa: E402
from lift3d_ros.models.dfa3d.cross_attention import CameraFeatures  # noqa: E402
from lift3d_ros.models.dfa3d.lift_splat import LiftSplat, RayCells, find_ray_cells  # noqa: E402
from lift3d_ros.models.dfa3d.reference_points import project_anchors  # noqa: E402

CONFIG = replace(SMALL, view_transform="lift_splat", num_levels=1, num_level_embeddings=1)


def looking_ahead(height: float = 0.0) -> torch.Tensor:
    """One camera at the origin that looks along +x."""
    width, rows = CONFIG.image_width, CONFIG.image_height
    focal = 0.6 * width
    return torch.tensor(
        [[[width / 2, -focal, 0, 0], [rows / 2, 0, -focal, focal * height], [1.0, 0, 0, 0], [0, 0, 0, 1]]]
    )


def test_a_bin_falls_into_the_cell_that_projects_back_onto_it() -> None:
    level = (CONFIG.image_height // 32, CONFIG.image_width // 32)
    camera = looking_ahead()
    index = find_ray_cells(camera, torch.zeros(1).long(), 1, level, CONFIG).index[0]
    x_min, y_min, _, x_max, y_max, _ = CONFIG.point_range
    checked = 0
    for pixel in range(index.shape[0]):
        for bin_ in range(0, index.shape[1], 5):
            cell = int(index[pixel, bin_])
            if cell == CONFIG.num_cells:
                continue
            row, column = divmod(cell, CONFIG.bev_width)
            near, far = CONFIG.depth.range
            depth = near + (bin_ + 0.5) * (far - near) / CONFIG.depth.num_bins
            cell_m = (x_max - x_min) / CONFIG.bev_width, (y_max - y_min) / CONFIG.bev_height
            assert abs(x_min + (column + 0.5) * cell_m[0] - depth) <= cell_m[0] / 2 + 1e-4
            # The side follows from the column of the pixel.
            u = (pixel % level[1] + 0.5) / level[1]
            anchor = torch.tensor([[[depth, y_min + (row + 0.5) * cell_m[1], 0.0]]])
            found = float(project_anchors(anchor, camera, CONFIG)[0, 0, 0])
            assert abs(found - u) * CONFIG.image_width * depth / (0.6 * CONFIG.image_width) <= cell_m[1] / 2 + 0.1
            checked += 1
    assert checked > 20


def test_features_arrive_weighted_by_their_depth_score() -> None:
    module = LiftSplat(CONFIG).eval()
    with torch.no_grad():
        for layer in (module.value_proj, module.output_proj):
            layer.weight.copy_(torch.eye(CONFIG.embed_dims))
            layer.bias.zero_()
    value = torch.ones(1, 1, CONFIG.embed_dims)
    scores = torch.tensor([[[0.25, 0.75, 0.0]]])
    query = torch.zeros(1, CONFIG.num_cells, CONFIG.embed_dims)
    rays = RayCells(torch.tensor([[[3, 7, CONFIG.num_cells]]]))
    result = module(query, CameraFeatures(value, scores, [(1, 1)]), rays)[0, :, 0]
    assert result[3] == 0.25
    assert result[7] == 0.75
    assert result.sum() == 1.0


def test_a_camera_that_is_left_out_fills_no_cell() -> None:
    index = find_ray_cells(looking_ahead(), torch.tensor([-1]), 1, (2, 4), CONFIG).index
    assert (index == CONFIG.num_cells).all()


def test_without_depth_it_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"depth\.source is 'none'"):
        LiftSplat(replace(CONFIG, depth=replace(CONFIG.depth, source="none")))


def test_cameras_of_a_batch_fill_the_cells_of_their_own_sample() -> None:
    level = (2, 4)
    cameras = looking_ahead().repeat(2, 1, 1)
    index = find_ray_cells(cameras, torch.tensor([0, 1]), 2, level, CONFIG).index
    inside = index < 2 * CONFIG.num_cells
    assert (index[0][inside[0]] < CONFIG.num_cells).all()
    assert (index[1][inside[1]] >= CONFIG.num_cells).all()
