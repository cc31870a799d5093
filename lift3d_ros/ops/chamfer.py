"""Chamfer distance between clouds: how far each point is from the nearest one of the other cloud.

Which point is nearest is found without gradients; the distance to it has them. Letters: B clouds, N and M points.
Source: Fan et al., A point set generation network (arXiv 1612.00603), equation 1.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lift3d_ros.ops.farthest_points import usable_points
from lift3d_ros.ops.grouping import gather_points
from lift3d_ros.ops.neighbours import nearest_neighbours


class Chamfer(NamedTuple):
    """Squared distances to the nearest point of the other cloud, 0 for points that do not count.

    Args:
        first, second: (B, N) and (B, M).
        counts_first, counts_second: the same shapes, bool: which points count.
    """

    first: Tensor
    second: Tensor
    counts_first: Tensor
    counts_second: Tensor

    def l2(self) -> Tensor:
        """Return the mean squared distance of each side, summed."""
        return _mean(self.first, self.counts_first) + _mean(self.second, self.counts_second)

    def l1(self) -> Tensor:
        """Return the mean distance of each side, averaged."""
        return 0.5 * (_mean(_root(self.first), self.counts_first) + _mean(_root(self.second), self.counts_second))


def chamfer_distance(
    first: Tensor, second: Tensor, first_is_valid: Tensor | None = None, second_is_valid: Tensor | None = None
) -> Chamfer:
    """Measure two batches of clouds against each other.

    Args:
        first: (B, N, 3); any floating type, differentiable.
        second: (B, M, 3).
        first_is_valid: (B, N) bool, false for points that do not count; None for all.
        second_is_valid: (B, M) bool.

    Points that are not finite do not count, nor do those of a cloud whose counterpart has no point that counts.
    """
    counts_first, counts_second = usable_points(first, first_is_valid), usable_points(second, second_is_valid)
    has_both = counts_first.any(1, keepdim=True) & counts_second.any(1, keepdim=True)
    counts_first, counts_second = counts_first & has_both, counts_second & has_both
    # Zeros in their place: what is not finite would reach the gradient of every other point.
    first = first.masked_fill(~counts_first[..., None], 0.0)
    second = second.masked_fill(~counts_second[..., None], 0.0)
    return Chamfer(
        _to_nearest(first, counts_first, second, counts_second),
        _to_nearest(second, counts_second, first, counts_first),
        counts_first,
        counts_second,
    )


def _to_nearest(query: Tensor, counts: Tensor, points: Tensor, is_usable: Tensor) -> Tensor:
    nearest = nearest_neighbours(query, points, 1, is_usable).indices[..., 0]
    squared = (query - gather_points(points, nearest)).square().sum(-1)
    return torch.where(counts, squared, 0.0)


def _root(squared: Tensor) -> Tensor:
    """Return the square root, with gradient 0 at 0."""
    is_positive = squared > 0
    return torch.where(is_positive, torch.where(is_positive, squared, 1.0).sqrt(), 0.0)


def _mean(values: Tensor, counts: Tensor) -> Tensor:
    return values.sum() / counts.sum().clamp(min=1)
