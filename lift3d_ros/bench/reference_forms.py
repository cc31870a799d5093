"""3D deformable attention written with ``grid_sample``: the definition, and the form that needs no volume.

Tests compare the operator with them, and measurements say how much it saves. Arguments, letters and result as in
:mod:`lift3d_ros.ops.deformable_attention_3d`; every query of row b reads item b.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from lift3d_ros.ops.deformable_attention_3d import Levels


def product_volume_attention(
    value: Tensor, depth_scores: Tensor, locations: Tensor, weights: Tensor, levels: Levels
) -> Tensor:
    """Sample the volume feature x depth score, (B * M, C, K, H, W) for each level, trilinearly."""
    batch, _, heads, channels = value.shape
    total = torch.zeros((), dtype=value.dtype, device=value.device)
    for level, (features, scores) in enumerate(_level_maps(value, depth_scores, levels)):
        volume = (features[:, :, :, None] * scores[:, :, None]).flatten(0, 1)
        grid = locations[:, :, :, level].transpose(1, 2).flatten(0, 1)[:, :, None] * 2 - 1  # (B * M, Q, 1, P, 3)
        sampled = F.grid_sample(volume, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        weight = weights[:, :, :, level].transpose(1, 2).flatten(0, 1)  # (B * M, Q, P)
        total = total + (sampled[:, :, :, 0] * weight[:, None]).sum(-1)  # (B * M, C, Q)
    return total.reshape(batch, heads * channels, -1).transpose(1, 2)


def product_volume_bytes(heads: int, channels: int, bins: int, levels: Levels, batch: int = 1) -> int:
    """Return the size of the largest float32 volume that :func:`product_volume_attention` builds."""
    return batch * heads * channels * bins * max(height * width for height, width in levels) * 4


def four_nearest_attention(
    value: Tensor, depth_scores: Tensor, locations: Tensor, weights: Tensor, levels: Levels
) -> Tensor:
    """Sample each of the four pixels around a point by itself: its feature, and its depth score between two bins."""
    batch, _, heads, channels = value.shape
    total = torch.zeros((), dtype=value.dtype, device=value.device)
    for level, (features, scores) in enumerate(_level_maps(value, depth_scores, levels)):
        size = torch.tensor([features.shape[-1], features.shape[-2]], device=value.device, dtype=locations.dtype)
        place = locations[:, :, :, level].transpose(1, 2).flatten(0, 1)  # (B * M, Q, P, 3)
        position = place[..., :2] * size - 0.5
        corner = position.floor()
        fraction = position - corner
        # Heads that share the scores become more queries of one map; (B, 1, K, H, W) or (B * M, 1, K, H, W).
        score_maps = scores.flatten(0, 1)[:, None]
        weight = weights[:, :, :, level].transpose(1, 2).flatten(0, 1)
        for step in ((0, 0), (1, 0), (1, 1), (0, 1)):
            offset = torch.tensor(step, device=value.device, dtype=locations.dtype)
            pixel = (corner + offset + 0.5) / size * 2 - 1  # the centre of a pixel
            mix = torch.where(offset > 0, fraction, 1 - fraction).prod(-1) * weight
            feature = F.grid_sample(features.flatten(0, 1), pixel, "nearest", "zeros", align_corners=False)
            grid = torch.cat([pixel, place[..., 2:] * 2 - 1], dim=-1)
            grid = grid.reshape(score_maps.shape[0], -1, 1, *grid.shape[2:])
            score = F.grid_sample(score_maps, grid, "bilinear", "zeros", align_corners=False)
            total = total + (feature * (score.reshape(mix.shape) * mix)[:, None]).sum(-1)
    return total.reshape(batch, heads * channels, -1).transpose(1, 2)


def _level_maps(value: Tensor, depth_scores: Tensor, levels: Levels) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the features (B, M, C, H, W) and depth scores (B, 1 or M, K, H, W) of each level."""
    scores = depth_scores[:, :, None] if depth_scores.dim() == 3 else depth_scores
    start = 0
    for height, width in levels:
        part = slice(start, start + height * width)
        yield _as_maps(value[:, part], height, width), _as_maps(scores[:, part], height, width)
        start += height * width


def _as_maps(part: Tensor, height: int, width: int) -> Tensor:
    return part.permute(0, 2, 3, 1).reshape(part.shape[0], part.shape[2], -1, height, width)
