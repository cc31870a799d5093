"""Rays of a camera's pixels, and where they cross the cube of the object.

Letters: V views, R rays. Poses are of optical frames (x right, y down, z forward).
"""

from __future__ import annotations

import torch
from torch import Tensor

# A ray that runs along a face of the cube has no direction across it; this keeps the division a number.
_SMALLEST_COMPONENT = 1e-6


def pixel_rays(
    T_object_cameras: Tensor,
    intrinsics: Tensor,
    size: tuple[int, int],
    window: tuple[int, int] | None = None,
    anchors: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return origins and unit directions (V, R, 3) in the object frame, row by row.

    Args:
        T_object_cameras: (V, 4, 4).
        intrinsics: (V, 3, 3) in units of width and height of the picture, with skew.
        size: rows and columns of the picture.
        window: rows and columns to make rays for; the whole picture where it is not given.
        anchors: (V, 2) first row and column of each view's window.
    """
    rows, columns = window or size
    device, dtype = intrinsics.device, intrinsics.dtype
    row = torch.arange(rows, device=device, dtype=dtype).repeat_interleave(columns) + 0.5
    column = torch.arange(columns, device=device, dtype=dtype).repeat(rows) + 0.5
    if anchors is None:
        anchors = torch.zeros(len(intrinsics), 2, device=device)
    v = (row + anchors[:, :1].to(dtype)) / size[0]
    u = (column + anchors[:, 1:].to(dtype)) / size[1]
    y = (v - intrinsics[:, 1, 2, None]) / intrinsics[:, 1, 1, None]
    x = (u - intrinsics[:, 0, 2, None] - intrinsics[:, 0, 1, None] * y) / intrinsics[:, 0, 0, None]
    directions = torch.stack([x, y, torch.ones_like(x)], dim=-1) @ T_object_cameras[:, :3, :3].transpose(1, 2)
    directions = directions / directions.norm(dim=-1, keepdim=True)
    return T_object_cameras[:, None, :3, 3].expand_as(directions), directions


def cross_cube(origins: Tensor, directions: Tensor, half_side: float) -> tuple[Tensor, Tensor]:
    """Return at which distance rays (..., 3) enter and leave the cube about the origin, (...).

    The distance of entering is negative for rays that start inside, and larger than that of leaving for rays whose line
    misses the cube.
    """
    smallest = torch.full_like(directions, _SMALLEST_COMPONENT)
    directions = torch.where(directions.abs() < _SMALLEST_COMPONENT, smallest, directions)
    first, second = (-half_side - origins) / directions, (half_side - origins) / directions
    return torch.minimum(first, second).amax(dim=-1), torch.maximum(first, second).amin(dim=-1)
