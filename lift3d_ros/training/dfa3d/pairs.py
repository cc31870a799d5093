"""Which cells of the BEV grid each camera of a batch sees, as tensors.

Equal to :func:`lift3d_ros.models.dfa3d.visibility.find_visible_pairs` for one sample, but for all cameras of many
samples at once, whose calibrations change with every augmentation.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.models.dfa3d.visibility import anchor_grid

_MIN_DEPTH = 1e-5


class PairTensors(NamedTuple):
    """Pairs of a camera and a cell that it sees, the cells of sample b counted from b * cells.

    Args:
        camera, cell: (P,) int64, sorted by camera, within a camera by cell.
        of_cell: (B * cells, K) int64 pairs of each cell; P where there are fewer than K; K is at least 1.
    """

    camera: Tensor
    cell: Tensor
    of_cell: Tensor


def find_pairs(image_from_model: Tensor, sample: Tensor, num_samples: int, config: Dfa3dConfig) -> PairTensors:
    """List the cells of which an anchor lies before the camera and strictly inside of its padded picture.

    Args:
        image_from_model: (N, 4, 4) cameras of all samples, model frame to (u*depth, v*depth, depth, 1).
        sample: (N,) int64 sample of each camera.
    """
    device, num_cells = image_from_model.device, config.num_cells
    camera, cell = _seen(image_from_model, config).nonzero(as_tuple=True)
    target = sample[camera] * num_cells + cell
    # The place of a pair among those of its cell: pairs are sorted by camera, and a stable sort by cell keeps that.
    order = torch.argsort(target, stable=True)
    ordered = target[order]
    counts = torch.bincount(ordered, minlength=num_samples * num_cells)
    first = counts.cumsum(0) - counts
    place = torch.arange(len(order), device=device) - first[ordered]
    most = max(1, int(counts.max())) if len(order) else 1
    of_cell = torch.full((num_samples * num_cells, most), len(order), dtype=torch.int64, device=device)
    of_cell[ordered, place] = order
    return PairTensors(camera, target, of_cell)


def _seen(image_from_model: Tensor, config: Dfa3dConfig) -> Tensor:
    """Return (N, cells) bool; the planes and their rounding are those of the search on the vehicle."""
    matrices = image_from_model.to(torch.float64)
    device = matrices.device
    height, width = config.padded_size
    origin = 0.5 if config.pixel_origin == "center" else 0.0
    borders = [[0.0, 0.0, 1.0], [1.0, 0.0, origin], [-1.0, 0.0, width - origin], [0.0, 1.0, origin]]
    borders.append([0.0, -1.0, height - origin])
    planes = torch.tensor(borders, dtype=torch.float64, device=device) @ matrices[:, :3]  # (N, 5, 4)
    anchors = anchor_grid(config)
    axes = anchors[: config.bev_width, 0, 0], anchors[:: config.bev_width, 0, 1], anchors[0, :, 2]
    x, y, z = (torch.tensor(axis, dtype=torch.float64, device=device) for axis in axes)
    by_column = (planes[..., 0, None] * x).float()
    offset = planes[..., 3] - torch.tensor([_MIN_DEPTH, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64, device=device)
    rest = planes[..., 2, None, None] * z[:, None] + planes[..., 1, None, None] * y + offset[..., None, None]
    limit = -rest.float()  # (N, 5, Z, rows); inside is by_column > limit
    is_inside = by_column[:, 0, None, None, :] > limit[:, 0, ..., None]
    for plane in range(1, 5):
        is_inside &= by_column[:, plane, None, None, :] > limit[:, plane, ..., None]
    return is_inside.any(dim=1).flatten(1)
