"""Groups of points at several scales: what the encoder is given in place of a cloud.

Not part of a graph: sampling and neighbour search run before the network. Letters: B clouds, N points, G groups,
K points of a group.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from lift3d_ros.models.i2p_mae.config import TokenConfig
from lift3d_ros.ops.farthest_points import farthest_point_sampling, usable_points
from lift3d_ros.ops.grouping import gather_points
from lift3d_ros.ops.neighbours import nearest_neighbours


class PointGroups(NamedTuple):
    """The groups of one scale.

    Args:
        centers: (B, G, 3).
        neighbours: (B, G, K) int64 of the points of the cloud, or of the groups of the scale before.
        points: (B, G, K, 3) where the neighbours are.
    """

    centers: Tensor
    neighbours: Tensor
    points: Tensor

    @property
    def offsets(self) -> Tensor:
        """The points relative to the centre of their group, (B, G, K, 3)."""
        return self.points - self.centers[:, :, None]


def group_scales(points: Tensor, config: TokenConfig, is_valid: Tensor | None = None) -> tuple[PointGroups, ...]:
    """Group a cloud, then the centres of its groups, and so on; no gradients.

    Args:
        points: (B, N, 3). Points that are not finite are left out. A cloud with fewer points than groups has several
            groups around the same one.
        is_valid: (B, N) bool, false for points that are left out; None for all.

    Returns:
        The groups of each scale, finest first. Those of a cloud without points lie in the origin.
    """
    points = points.detach()
    usable = usable_points(points, is_valid)
    points = points.masked_fill(~usable[..., None], 0.0)
    scales: list[PointGroups] = []
    among: Tensor | None = usable
    for count, size in zip(config.num_groups, config.group_sizes, strict=True):
        chosen = farthest_point_sampling(points, count, among, skips_near_origin=config.skips_near_origin)
        centers = gather_points(points, chosen)
        neighbours = nearest_neighbours(centers, points, size, among).indices
        scales.append(PointGroups(centers, neighbours, gather_points(points, neighbours)))
        points, among = centers, None
    return tuple(scales)
