"""Where the pillars of BEV cells appear in the cameras."""

from __future__ import annotations

import torch
from torch import Tensor

from lift3d_ros.models.dfa3d.config import Dfa3dConfig

MIN_DEPTH = 1e-5


def project_anchors(anchors: Tensor, image_from_model: Tensor, config: Dfa3dConfig) -> Tensor:
    """Project the pillar anchors of pairs of a cell and a camera.

    Args:
        anchors: (P, Z, 3) metres in the model frame.
        image_from_model: (P, 4, 4) of the camera of each pair, into pixels of the padded network input.

    Returns:
        (P, Z, 3) normalised (u, v, d) in float32. An anchor outside of the depth range scores zero.
    """
    matrices = image_from_model.float()
    projected = torch.matmul(anchors, matrices[:, :3, :3].transpose(1, 2)) + matrices[:, None, :3, 3]
    depth = projected[..., 2]
    safe_depth = depth.clamp(min=MIN_DEPTH)
    # Pixel (0, 0) is the centre of the first pixel, normalised 0 is its outer border.
    offset = 0.5 if config.pixel_origin == "center" else 0.0
    height, width = config.padded_size
    u = (projected[..., 0] / safe_depth + offset) / width
    v = (projected[..., 1] / safe_depth + offset) / height
    near, far = config.depth.range
    return torch.stack([u, v, (depth - near) / (far - near)], dim=-1)
