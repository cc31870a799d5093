"""Applies the drawn changes to pictures and depths, on the device and for all cameras of a batch at once.

Letters: N cameras of all samples, H x W pixels, h x w depth cells.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lift3d_ros.datasets.cell_depths import CELL
from lift3d_ros.types import Float64Array


class PictureChange(NamedTuple):
    """What :class:`lift3d_ros.training.dfa3d.augmentation.SampleChange` says about pixels, for N cameras, float32.

    Args:
        sampling: (N, 2, 3), see :func:`sampling_matrices`.
        depth_scale: (N,).
        colors: (N, 3, 4).
        noise, blur: (N,).
        grid: (N, 4).
    """

    sampling: Tensor
    depth_scale: Tensor
    colors: Tensor
    noise: Tensor
    blur: Tensor
    grid: Tensor


def change_pictures(images: Tensor, change: PictureChange) -> Tensor:
    """Return pictures (N, 3, H, W) float32 in 0..255, black where the prepared ones end, as at their own borders."""
    count, _, height, width = images.shape
    grid = _sampling_grid(change.sampling, height, width)
    pictures = F.grid_sample(images.to(torch.float32), grid, align_corners=False)
    softer = F.avg_pool2d(pictures, 3, 1, 1, count_include_pad=False)
    pictures = torch.lerp(pictures, softer, change.blur[:, None, None, None])
    mix, offset = change.colors[..., :3], change.colors[..., 3:]
    pictures = torch.baddbmm(offset, mix, pictures.flatten(2)).reshape(count, 3, height, width)
    pictures = pictures + torch.randn_like(pictures) * change.noise[:, None, None, None]
    return (pictures * _grid_keep(change.grid, height, width)).clamp_(0.0, 255.0)


def change_depths(cell_depths: Tensor, change: PictureChange, height: int, width: int) -> Tensor:
    """Return depths (N, h, w) float32 of the cells of the changed pictures, metres, 0 where unknown.

    Args:
        cell_depths: (N, h, w), inf where unknown; the last row and column may reach beyond the picture.
        height, width: of the pictures, px.
    """
    rows, columns = cell_depths.shape[-2:]
    depths = known_depths(cell_depths)
    share_x, share_y = CELL * columns / width, CELL * rows / height  # of what the cells cover, in pictures
    grid = _sampling_grid(change.sampling, rows, columns, share_x, share_y)
    grid = torch.stack([(grid[..., 0] + 1) / share_x - 1, (grid[..., 1] + 1) / share_y - 1], dim=-1)
    moved = F.grid_sample(depths[:, None], grid, mode="nearest", align_corners=False)[:, 0]
    return moved * change.depth_scale[:, None, None]


def known_depths(cell_depths: Tensor) -> Tensor:
    """Return depths in float32 with 0 in place of infinite ones."""
    depths = cell_depths.to(torch.float32)
    return torch.where(depths.isfinite(), depths, torch.zeros_like(depths))


def sampling_matrices(warps: Float64Array, height: int, width: int) -> Float64Array:
    """Return (N, 2, 3), normalised coordinates of the changed picture to those of the prepared one.

    They reach from -1 to 1 between the outer borders, at any resolution.

    Args:
        warps: (N, 3, 3) pixels of the prepared picture to those of the changed one.
    """
    normalise = np.array([[2 / width, 0, 1 / width - 1], [0, 2 / height, 1 / height - 1], [0, 0, 1]])
    return np.asarray((normalise @ np.linalg.inv(warps) @ np.linalg.inv(normalise))[:, :2])


def _sampling_grid(matrices: Tensor, rows: int, columns: int, share_x: float = 1.0, share_y: float = 1.0) -> Tensor:
    """Return where each pixel of the changed map (rows, columns) lies in the picture before, -1 to 1 at its borders.

    Args:
        share_x, share_y: how many pictures wide and high the map is.
    """
    # Sums and not a matrix product, which a GPU rounds to ten bits where that is allowed.
    x = (torch.arange(columns, device=matrices.device) * 2 + 1) * (share_x / columns) - 1
    y = ((torch.arange(rows, device=matrices.device) * 2 + 1) * (share_y / rows) - 1)[:, None]
    part = matrices[..., None, None]
    return torch.stack([part[:, i, 0] * x + part[:, i, 1] * y + part[:, i, 2] for i in range(2)], dim=-1)


def _grid_keep(grid: Tensor, height: int, width: int) -> Tensor:
    """Return (N, 1, H, W), 0 in the squares that are cut out."""
    period, size = grid[:, :1].clamp(min=1.0), grid[:, 1:2]
    u = torch.arange(width, device=grid.device, dtype=grid.dtype)
    v = torch.arange(height, device=grid.device, dtype=grid.dtype)
    in_column = (u + grid[:, 2:3]) % period < size
    in_row = (v + grid[:, 3:4]) % period < size
    is_cut = in_row[:, :, None] & in_column[:, None, :] & (grid[:, :1, None] > 0)
    return (~is_cut)[:, None].to(grid.dtype)
