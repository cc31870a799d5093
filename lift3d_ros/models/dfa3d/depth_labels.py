"""Measured depth as the network reads and learns it: one distribution over depth bins per feature cell.

Letters: N pictures, H x W pixels, h x w feature cells, K depth bins or codes.
Source: fact sheet DFA3D, sections 7, 17 and 18 (copy, item 15).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lift3d_ros.errors import ConfigError
from lift3d_ros.models.dfa3d.config import DepthConfig


def depth_map_from_points(points: Tensor, height: int, width: int) -> Tensor:
    """Draw projected LiDAR points into a sparse depth map (height, width), metres, 0 where there is no return.

    Args:
        points: (P, 3) u and v in pixels, depth along the optical axis in metres. Pixels are cut to integers towards
            zero; of several points on one pixel the last one counts; points outside, without positive depth or not
            finite are left out.
    """
    points = points.to(torch.float32)
    # Cut as floats: an integer made of an infinite or huge number is undefined.
    u, v = points[:, :2].trunc().unbind(-1)
    is_inside = (u >= 0) & (u < width) & (v >= 0) & (v < height) & (points[:, 2] > 0) & points[:, 2].isfinite()
    kept = points[is_inside]
    pixel = kept[:, 1].long() * width + kept[:, 0].long()
    # Writing in place would leave the winner of a pixel to chance on a GPU.
    order = torch.arange(1, len(kept) + 1, device=points.device)
    last = order.new_zeros(height * width).scatter_reduce(0, pixel, order, "amax")
    depths = torch.cat([points.new_zeros(1), kept[:, 2]])
    return depths[last].reshape(height, width)


def nearest_cell_depths(depth_maps: Tensor, downsample: int) -> Tensor:
    """Return the smallest measured depth of each cell of `downsample` x `downsample` pixels; infinite without any.

    Maps (N, H, W) in metres with 0 for no return become (N, h, w); cells at the bottom and right may be incomplete.
    """
    height, width = depth_maps.shape[-2:]
    rows, columns = -(-height // downsample), -(-width // downsample)
    depths = depth_maps.to(torch.float32)
    if (rows * downsample, columns * downsample) != (height, width):
        depths = F.pad(depths, (0, columns * downsample - width, 0, rows * downsample - height))
    depths = torch.where(depths > 0, depths, math.inf)
    return depths.reshape(-1, rows, downsample, columns, downsample).amin(dim=(2, 4))


def depth_scores_from_lidar(depth_maps: Tensor, config: DepthConfig, downsample: int) -> Tensor:
    """Return depth scores (N, bins, h, w) of measured depth maps (N, H, W), 0 for no return.

    Bins around the nearest depth of a cell score nearly one, all others zero; a cell without a return, or with one
    outside of the range, is all zero.
    """
    return _scores(_hits(depth_maps, config, downsample), config)


def depth_labels(depth_maps: Tensor, config: DepthConfig, downsample: int) -> Tensor:
    """Return what the depth head is to predict: (N, K, h, w), K codes of `config.bins_per_code` or, without, K bins.

    Raises:
        ConfigError: the codes do not stand for all bins.
    """
    hits = _hits(depth_maps, config, downsample)
    if config.bins_per_code:
        if sum(config.bins_per_code) != config.num_bins:
            raise ConfigError(
                f"depth.bins_per_code stands for {sum(config.bins_per_code)} bins, depth.num_bins is "
                f"{config.num_bins}; they must be equal"
            )
        hits = torch.stack([bins.sum(1) for bins in hits.split_with_sizes(config.bins_per_code, dim=1)], dim=1)
    return _scores(hits, config)


def depth_loss(predicted: Tensor, labels: Tensor, weight: float = 0.5) -> Tensor:
    """Return the binary cross entropy of cells with a label, summed and divided by their number; a float32 scalar.

    Args:
        predicted: (N, K, h, w) probabilities.
        labels: the same shape, of :func:`depth_labels`; without any label the loss is zero.
    """
    probability = predicted.to(torch.float32)
    smallest = torch.finfo(torch.float32).tiny
    hit, miss = (p.clamp(min=smallest).log() for p in (probability, 1 - probability))
    entropy = -(labels * hit + (1 - labels) * miss)
    is_labelled = labels.amax(dim=1, keepdim=True) > 0
    return weight * torch.where(is_labelled, entropy, 0.0).sum() / is_labelled.sum().clamp(min=1)


def _hits(depth_maps: Tensor, config: DepthConfig, downsample: int) -> Tensor:
    """Count hits (N, bins, h, w): one in the bin of the nearest depth, spread over the tolerance window."""
    nearest, farthest = config.range
    bin_width = (farthest - nearest) / config.num_bins
    # Bins are counted from one, so that the rounding is that of the published labels.
    index = ((nearest_cell_depths(depth_maps, downsample) - (nearest - bin_width)) / bin_width).floor()
    bins = torch.arange(1, config.num_bins + 1, device=index.device, dtype=index.dtype)
    hits = (index[:, None] == bins[:, None, None]).to(torch.float32)
    # First to the near side, then to the far side: what falls off the near end does not come back.
    for _ in range(config.bin_tolerance):
        hits = hits + F.pad(hits[:, 1:], (0, 0, 0, 0, 0, 1))
    for _ in range(config.bin_tolerance):
        hits = hits + F.pad(hits[:, :-1], (0, 0, 0, 0, 1, 0))
    return hits


def _scores(hits: Tensor, config: DepthConfig) -> Tensor:
    return hits / (hits + 1e-5) if config.bin_tolerance else hits
