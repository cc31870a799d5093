"""Brings the BEV map of the last frame to where the vehicle is now.

Two ways: a rigid transform with interpolation, and that of the published checkpoints, which turns the map to the
nearest cell and moves the references by the rest. Source: fact sheet DFA3D, sections 12, 13 and 18.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
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


class BevGrid(nn.Module):
    """The cells of the BEV map, and how a map follows the vehicle; has constants, no weights."""

    references: Tensor
    ground_points: Tensor
    low: Tensor
    size: Tensor
    from_center: Tensor

    def __init__(self, config: Dfa3dConfig) -> None:
        super().__init__()
        self.height, self.width = config.bev_height, config.bev_width
        self.rotation_center = config.rotation_center
        x_min, y_min, _, x_max, y_max, _ = config.point_range
        rows, columns = torch.meshgrid(torch.arange(self.height), torch.arange(self.width), indexing="ij")
        corners = torch.stack([columns, rows], dim=-1).reshape(-1, 2) + 0.5  # cell centres, counted in cells
        low, size = torch.tensor([x_min, y_min]), torch.tensor([x_max - x_min, y_max - y_min])
        references = corners / torch.tensor([self.width, self.height])
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("size", size, persistent=False)
        # Normalised cell centres (Q, 2), row by row, 0 and 1 at the borders of the grid.
        self.register_buffer("references", references, persistent=False)
        self.register_buffer("ground_points", low + references * size, persistent=False)  # (Q, 2) metres
        self.register_buffer("from_center", corners - torch.tensor(self.rotation_center), persistent=False)

    def align_rigidly(self, history: Tensor, T_history_current: Tensor) -> Tensor:
        """Sample the last map (B, Q, C) at the current cells, bilinear, zero where it was not seen.

        Args:
            T_history_current: (B, 4, 4) points of the current model frame into that of the last frame.
        """
        x, y = self.ground_points.unbind(-1)
        # Sums and not a matrix product, which hardware may round to a few bits where that is allowed.
        turned = x[:, None] * T_history_current[:, None, :2, 0] + y[:, None] * T_history_current[:, None, :2, 1]
        before = turned + T_history_current[:, None, :2, 3]
        grid = ((before - self.low) / self.size) * 2 - 1
        picture = history.transpose(1, 2).reshape(history.shape[0], -1, self.height, self.width)
        sampled = F.grid_sample(picture, grid[:, None], mode="bilinear", padding_mode="zeros", align_corners=False)
        return sampled[:, :, 0].transpose(1, 2)

    def turn_to_nearest_cell(self, history: Tensor, angle_deg: Tensor) -> Tensor:
        """Turn the last map (B, Q, C) by `angle_deg` (B,) about the configured centre, zero from outside.

        The map is seen as a picture with row 0 at the top and turned counter-clockwise.
        """
        center_x, center_y = self.rotation_center
        angle = (angle_deg * (math.pi / 180.0)).reshape(-1, 1)
        cosine, sine = angle.cos(), angle.sin()
        x, y = self.from_center.unbind(-1)
        column = torch.round(cosine * x - sine * y + (center_x - 0.5))
        row = torch.round(sine * x + cosine * y + (center_y - 0.5))
        is_inside = (column >= 0) & (column < self.width) & (row >= 0) & (row < self.height)
        source = row.clamp(0, self.height - 1) * self.width + column.clamp(0, self.width - 1)
        batch, cells, dims = history.shape
        first = torch.arange(batch, device=history.device)[:, None] * cells
        index = (first + source.to(torch.int64)).reshape(-1)
        turned = history.reshape(-1, dims).index_select(0, index).reshape(history.shape)
        return torch.where(is_inside[..., None], turned, torch.zeros_like(turned))

    def shift_of_can_bus(self, can_bus: Tensor) -> Tensor:
        """Return how far the vehicle moved, (B, 2) as x, y in fractions of the grid; `can_bus` is (B, 18)."""
        heading = can_bus[:, 16]
        forward = heading.cos() * can_bus[:, 0] + heading.sin() * can_bus[:, 1]
        right = heading.sin() * can_bus[:, 0] - heading.cos() * can_bus[:, 1]
        return torch.stack([right, forward], dim=-1) / self.size
