"""Brings the BEV map of the last frame to where the vehicle is now.

Two ways: a rigid transform with interpolation, and that of the published checkpoints, which turns the map to the
nearest cell and moves the references by the rest. Source: fact sheet DFA3D, sections 12, 13 and 18.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lift3d_ros.models.dfa3d.config import Dfa3dConfig


@dataclass(frozen=True, eq=False)
class History:
    """What every encoder layer needs of the last frame.

    Args:
        aligned: (B, Q, C) map of the last frame, moved to where the vehicle is now.
        initial: (B, Q, C) queries as they enter the first layer, or None where layers see the updated map.
        is_valid: (B, 1, 1) bool; where False the current map takes the place of both.
        references: (B, 2, Q, 2) normalised places of the cells in the last and in the current map.
    """

    aligned: Tensor
    initial: Tensor | None
    is_valid: Tensor
    references: Tensor

    def maps_for(self, query: Tensor) -> Tensor:
        """Return the maps (B, 2, Q, C) that a layer with the input `query` attends to."""
        # Selected and not weighted: a history that is not finite must not outlive the frame that ignores it.
        before = torch.where(self.is_valid, self.aligned, query)
        now = query if self.initial is None else torch.where(self.is_valid, self.initial, query)
        return torch.stack([before, now], dim=1)


def align_rigidly(history: Tensor, T_history_current: Tensor, config: Dfa3dConfig) -> Tensor:
    """Sample the last map (B, Q, C) at the current cells, bilinear, zero where it was not seen.

    Args:
        T_history_current: (B, 4, 4) points of the current model frame into that of the last frame.
    """
    cells = cell_centers(config).to(history.device, torch.float32)
    homogeneous = F.pad(F.pad(cells, (0, 1)), (0, 1), value=1.0)  # z = 0
    before = (homogeneous @ T_history_current.transpose(1, 2))[..., :2]
    x_min, y_min, _, x_max, y_max, _ = config.point_range
    low = torch.tensor([x_min, y_min], device=history.device)
    size = torch.tensor([x_max - x_min, y_max - y_min], device=history.device)
    grid = ((before - low) / size) * 2 - 1
    picture = history.transpose(1, 2).reshape(history.shape[0], -1, config.bev_height, config.bev_width)
    sampled = F.grid_sample(picture, grid[:, None], mode="bilinear", padding_mode="zeros", align_corners=False)
    return sampled[:, :, 0].transpose(1, 2)


def rotate_to_nearest_cell(history: Tensor, angle_deg: Tensor, config: Dfa3dConfig) -> Tensor:
    """Turn the last map (B, Q, C) by `angle_deg` (B,) about the configured centre, zero from outside.

    The map is seen as a picture with row 0 at the top and turned counter-clockwise.
    """
    height, width = config.bev_height, config.bev_width
    center_x, center_y = config.rotation_center
    angle = (angle_deg * (math.pi / 180.0)).reshape(-1, 1)
    cosine, sine = angle.cos(), angle.sin()
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x = (columns.reshape(1, -1).to(history.device) + 0.5) - center_x
    y = (rows.reshape(1, -1).to(history.device) + 0.5) - center_y
    column = torch.round(cosine * x - sine * y + (center_x - 0.5))
    row = torch.round(sine * x + cosine * y + (center_y - 0.5))
    is_inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    source = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    batch, cells, dims = history.shape
    first = torch.arange(batch, device=history.device)[:, None] * cells
    index = (first + source.to(torch.int64)).reshape(-1)
    turned = history.reshape(-1, dims).index_select(0, index).reshape(history.shape)
    return torch.where(is_inside[..., None], turned, torch.zeros_like(turned))


def shift_of_can_bus(can_bus: Tensor, config: Dfa3dConfig) -> Tensor:
    """Return how far the vehicle moved, (B, 2) as x, y in fractions of the grid; `can_bus` is (B, 18)."""
    heading = can_bus[:, 16]
    forward = heading.cos() * can_bus[:, 0] + heading.sin() * can_bus[:, 1]
    right = heading.sin() * can_bus[:, 0] - heading.cos() * can_bus[:, 1]
    x_min, y_min, _, x_max, y_max, _ = config.point_range
    return torch.stack([right / (x_max - x_min), forward / (y_max - y_min)], dim=-1)


def cell_centers(config: Dfa3dConfig) -> Tensor:
    """Return x, y of every cell in metres, (Q, 2), row by row."""
    x_min, y_min, _, x_max, y_max, _ = config.point_range
    x = x_min + (torch.arange(config.bev_width) + 0.5) * ((x_max - x_min) / config.bev_width)
    y = y_min + (torch.arange(config.bev_height) + 0.5) * ((y_max - y_min) / config.bev_height)
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([columns, rows], dim=-1).reshape(-1, 2)


def cell_references(config: Dfa3dConfig) -> Tensor:
    """Return the normalised centre of every cell, (Q, 2), 0 and 1 at the borders of the grid."""
    x = (torch.arange(config.bev_width) + 0.5) / config.bev_width
    y = (torch.arange(config.bev_height) + 0.5) / config.bev_height
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([columns, rows], dim=-1).reshape(-1, 2)
