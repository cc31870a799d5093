"""What depth depends on beside the picture, by the calibration: focal length, stance of the camera, and the ground.

Letters: N cameras, K depth bins, h x w feature cells.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lift3d_ros.models.dfa3d.config import Dfa3dConfig

NUM_FACTS = 6
_TYPICAL_HEIGHT_M = 1.5
_ANGLE_GAIN = 10.0  # cameras are nearly level: brings the angles to the size of the other facts


class CameraViews(NamedTuple):
    """How cameras look at the ground, z = 0 of the model frame.

    Args:
        zoom: (N,) focal length over that of the reference camera.
        facts: (N, 6), about zero for a usual camera, the same for every heading: logarithm of `zoom`, principal point
            from the middle of the picture in widths and heights, height above the ground, slope of the optical axis
            and of the rows of pixels.
        heights: (N, K, h, w) metres above the ground of the point that a cell sees if it lies in the middle of a bin
            of the reference camera.
    """

    zoom: Tensor
    facts: Tensor
    heights: Tensor


class CameraAxes(NamedTuple):
    """Projections taken apart.

    Args:
        axis: (N, 3) unit vector along the optical axis, in the model frame.
        across: (N, 2, 3) unit vectors along the rows and the columns of pixels.
        focal, center: (N, 2) px.
        offset: (N, 3) last column of the projection, depth in metres.
    """

    axis: Tensor
    across: Tensor
    focal: Tensor
    center: Tensor
    offset: Tensor


def camera_axes(image_from_model: Tensor) -> CameraAxes:
    """Take apart projections (N, 4, 4), model frame to (u*depth, v*depth, depth, 1)."""
    matrices = image_from_model.float()
    rows, offsets = matrices[:, :3, :3], matrices[:, :3, 3]
    scale = rows[:, 2].norm(dim=-1, keepdim=True).clamp(min=1e-6)
    rows, offsets = rows / scale[..., None], offsets / scale
    axis = rows[:, 2]
    center = (rows[:, :2] * axis[:, None]).sum(-1)
    across = rows[:, :2] - center[..., None] * axis[:, None]
    focal = across.norm(dim=-1).clamp(min=1e-6)
    return CameraAxes(axis, across / focal[..., None], focal, center, offsets)


def camera_views(image_from_model: Tensor, level: tuple[int, int], config: Dfa3dConfig) -> CameraViews:
    """Take apart projections (N, 4, 4), model frame to (u*depth, v*depth, depth, 1), for feature maps of size `level`.

    The reference camera has the focal length `config.depth.focal_px`.
    """
    depth = config.depth
    (height, width), (num_rows, num_columns) = config.padded_size, level
    axis, across, focal, center, offsets = camera_axes(image_from_model)
    shift = (offsets[:, :2] - center * offsets[:, 2:]) / focal
    elevation = -(across[..., 2] * shift).sum(-1) - axis[:, 2] * offsets[:, 2]
    zoom = focal.log().mean(-1).exp() / depth.focal_px
    offset = 0.5 if config.pixel_origin == "center" else 0.0
    u = (torch.arange(num_columns, device=axis.device) + 0.5) * (width / num_columns) - offset
    v = (torch.arange(num_rows, device=axis.device) + 0.5) * (height / num_rows) - offset
    tilt = across[..., 2] / focal
    slope = (
        (axis[:, 2] - (tilt * center).sum(-1))[:, None, None]
        + tilt[:, 0, None, None] * u
        + tilt[:, 1, None, None] * v[:, None]
    )
    near, far = depth.range
    bins = near + (torch.arange(depth.num_bins, device=axis.device) + 0.5) * ((far - near) / depth.num_bins)
    heights = elevation[:, None, None, None] + (zoom[:, None] * bins)[..., None, None] * slope[:, None]
    facts = torch.stack(
        [
            zoom.log(),
            center[:, 0] / width - 0.5,
            center[:, 1] / height - 0.5,
            elevation - _TYPICAL_HEIGHT_M,
            _ANGLE_GAIN * axis[:, 2],
            _ANGLE_GAIN * across[:, 0, 2],
        ],
        dim=-1,
    )
    return CameraViews(zoom, facts, heights)
