"""Lift-splat: features of every pixel are spread along its ray by the depth scores and summed into BEV cells.

The other way to use predicted depth, kept to be compared with 3D deformable attention at equal size.
Letters: N cameras of all samples, S feature pixels, K depth bins, Q cells of a sample, C embedding width.
Source: Lift, Splat, Shoot (arXiv 2008.05711), sections 3.1 and 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lift3d_ros.errors import ConfigError
from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.models.dfa3d.cross_attention import CameraFeatures


@dataclass(frozen=True, eq=False)
class RayCells:
    """The cell that each depth bin of each pixel falls into, (N, S, K) int64 in 0..B*Q-1; B*Q outside of the grid."""

    index: Tensor


class LiftSplat(nn.Module):
    """Sums depth-weighted picture features into the cells; has the interface of an encoder's spatial attention."""

    def __init__(self, config: Dfa3dConfig) -> None:
        super().__init__()
        if config.depth.source == "none":
            raise ConfigError(
                "view_transform 'lift_splat' needs depth, depth.source is 'none'; set light, aspp or lidar"
            )
        if config.num_levels != 1:
            raise ConfigError(f"view_transform 'lift_splat' reads one level, num_levels is {config.num_levels}; set 1")
        dims = config.embed_dims
        self.value_proj = nn.Linear(dims, dims)
        self.output_proj = nn.Linear(dims, dims)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, query: Tensor, cameras: CameraFeatures, rays: RayCells) -> Tensor:
        """Map the cells (B, Q, C) to updated cells (B, Q, C)."""
        assert cameras.depth_scores is not None
        batch, cells, dims = query.shape
        values = self.value_proj(cameras.value)
        weighted = cameras.depth_scores.to(values.dtype)[..., None] * values[:, :, None]
        total = values.new_zeros(batch * cells + 1, dims)
        total = total.index_add(0, rays.index.reshape(-1), weighted.reshape(-1, dims))
        result: Tensor = query + self.dropout(self.output_proj(total[:-1].reshape(batch, cells, dims)))
        return result


def find_ray_cells(
    image_from_model: Tensor, sample: Tensor, num_samples: int, level: tuple[int, int], config: Dfa3dConfig
) -> RayCells:
    """Place the middle of every depth bin of every feature pixel in the grid.

    Args:
        image_from_model: (N, 4, 4), as the detector takes it.
        sample: (N,) int64, the sample that each camera belongs to; negative for one that is left out.
        level: (height, width) of the feature map.
    """
    device = image_from_model.device
    (rows, columns), (height, width) = level, config.padded_size
    near, far = config.depth.range
    offset = 0.5 if config.pixel_origin == "center" else 0.0
    u = (torch.arange(columns, device=device) + 0.5) * (width / columns) - offset
    v = (torch.arange(rows, device=device) + 0.5) * (height / rows) - offset
    bins = torch.arange(config.depth.num_bins, device=device) + 0.5
    depth = near + bins * ((far - near) / config.depth.num_bins)
    v, u, depth = torch.meshgrid(v, u, depth, indexing="ij")
    points = torch.stack([u * depth, v * depth, depth, torch.ones_like(depth)], dim=-1).reshape(-1, 4)
    placed = points @ torch.linalg.inv(image_from_model.float()).transpose(1, 2)  # (N, S * K, 4)
    low = placed.new_tensor(config.point_range[:3])
    size = placed.new_tensor(config.point_range[3:]) - low
    steps = (placed[..., :3] - low) / size
    is_inside = ((steps >= 0) & (steps < 1)).all(-1)
    column = (steps[..., 0] * config.bev_width).long().clamp(0, config.bev_width - 1)
    row = (steps[..., 1] * config.bev_height).long().clamp(0, config.bev_height - 1)
    index = sample[:, None] * config.num_cells + row * config.bev_width + column
    outside = num_samples * config.num_cells
    index = torch.where(is_inside & (sample >= 0)[:, None], index, torch.full_like(index, outside))
    return RayCells(index.reshape(image_from_model.shape[0], rows * columns, -1))
