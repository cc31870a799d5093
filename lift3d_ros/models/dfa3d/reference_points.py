"""Where the cells of the BEV grid lie, and where their pillars appear in each camera."""

from __future__ import annotations

import torch
from torch import Tensor

from lift3d_ros.models.dfa3d.config import Dfa3dConfig

_MIN_DEPTH = 1e-5


def bev_cell_centers(config: Dfa3dConfig) -> Tensor:
    """Return x, y of every cell in metres, (bev_height * bev_width, 2), row by row."""
    x_min, y_min, _, x_max, y_max, _ = config.point_range
    x = x_min + (torch.arange(config.bev_width) + 0.5) * ((x_max - x_min) / config.bev_width)
    y = y_min + (torch.arange(config.bev_height) + 0.5) * ((y_max - y_min) / config.bev_height)
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([columns, rows], dim=-1).reshape(-1, 2)


def pillar_anchors(config: Dfa3dConfig) -> Tensor:
    """Return the anchors of every cell, (cells, Z, 3) metres in the base frame."""
    centers = bev_cell_centers(config)[:, None].expand(-1, len(config.pillar_heights), -1)
    heights = torch.tensor(config.pillar_heights)[None, :, None].expand(centers.shape[0], -1, -1)
    return torch.cat([centers, heights], dim=-1)


def project_anchors(anchors: Tensor, image_from_base: Tensor, config: Dfa3dConfig) -> tuple[Tensor, Tensor]:
    """Project pillar anchors into every camera.

    Args:
        anchors: (Q, Z, 3).
        image_from_base: (N, 4, 4).

    Returns:
        (N, Q, Z, 3) normalised (u, v, d), and (N, Q, Z) whether the anchor lies in front of the camera and
        inside the picture. Depth is not part of that test: an anchor outside of the depth range scores zero.
    """
    homogeneous = torch.cat([anchors, torch.ones_like(anchors[..., :1])], dim=-1)
    projected = torch.einsum("nij,qzj->nqzi", image_from_base, homogeneous)
    depth = projected[..., 2]
    safe_depth = depth.clamp(min=_MIN_DEPTH)
    # Pixel (0, 0) is the centre of the first pixel, normalised 0 is its outer border.
    u = (projected[..., 0] / safe_depth + 0.5) / config.image_width
    v = (projected[..., 1] / safe_depth + 0.5) / config.image_height
    near, far = config.depth_range
    d = (depth - near) / (far - near)
    is_visible = (depth > _MIN_DEPTH) & (u > 0) & (u < 1) & (v > 0) & (v < 1)
    return torch.stack([u, v, d], dim=-1), is_visible
