"""Groups of one cloud as arrays, for runtimes without torch; of tensors in :mod:`lift3d_ros.models.i2p_mae.tokenizer`.

Letters: B clouds, N points, G groups, K points of a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.models.i2p_mae.config import TokenConfig
from lift3d_ros.ops.cloud_search import farthest_points, nearest_points


class CloudGroups(NamedTuple):
    """The groups of one scale, see :class:`lift3d_ros.models.i2p_mae.tokenizer.PointGroups`.

    Args:
        centers: (G, 3) float32.
        neighbours: (G, K) int64.
        points: (G, K, 3) float32.
    """

    centers: NDArray[np.float32]
    neighbours: NDArray[np.int64]
    points: NDArray[np.float32]


def group_cloud(
    points: NDArray[np.floating[Any]], config: TokenConfig, *, is_sampled: bool = False
) -> tuple[CloudGroups, ...]:
    """Group a cloud (N, 3), then the centres of its groups, and so on.

    Args:
        points: at least one; those that are not finite are left out.
        is_sampled: the points are finite and in the order of farthest-point sampling, so that the first ones are the
            centres of every scale.

    Returns:
        The groups of each scale, finest first, as the torch form gives them. Those of a cloud without finite points
        lie in the origin.
    """
    is_finite: NDArray[np.bool_] = np.isfinite(points).all(axis=1)
    usable: NDArray[np.bool_] | None = is_finite
    among = np.where(is_finite[:, None], points, 0.0).astype(np.float32)
    scales: list[CloudGroups] = []
    for count, size in zip(config.num_groups, config.group_sizes, strict=True):
        if is_sampled and count <= len(among) and not config.skips_near_origin:
            centers = among[:count]
        else:
            centers = among[farthest_points(among, count, usable, skips_near_origin=config.skips_near_origin)]
        neighbours = nearest_points(centers, among, size, usable)[1]
        scales.append(CloudGroups(centers, neighbours, among[neighbours]))
        among, usable = centers, None
    return tuple(scales)


def batch_groups(clouds: Sequence[tuple[CloudGroups, ...]]) -> dict[str, NDArray[Any]]:
    """Return the groups of several clouds as the arrays that an engine takes.

    Args:
        clouds: groups of each scale, finest first, of at least one cloud.

    Returns:
        The arguments of :meth:`lift3d_ros.models.i2p_mae.grouped_encoder.GroupedEncoder.forward`, by name.
    """
    held = [[groups.neighbours.reshape(-1) for groups in scales[1:]] for scales in clouds]
    return {
        "points": np.stack([scales[0].points for scales in clouds]),
        "centers": np.stack([np.concatenate([groups.centers for groups in scales]) for scales in clouds]),
        "neighbours": np.stack([np.concatenate([np.zeros(0, np.int64), *parts]) for parts in held]),
    }
