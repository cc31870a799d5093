"""What the 2D teacher says of a cloud: how much each of its tokens stands out, and features to be learned.

Letters: B clouds, N points, G groups, K points of a group, Q queries, C channels of the teacher.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lift3d_ros.models.i2p_mae.projection import NUM_VIEWS, View, normalise_images, project_views, read_features
from lift3d_ros.models.i2p_mae.teacher import ImageTeacher
from lift3d_ros.ops.farthest_points import usable_points


class Guidance(NamedTuple):
    """Maps of the teacher for the three views of each cloud, and how points find theirs.

    Args:
        views: where points lie in the pictures.
        features: (3 views, B, C, h, w).
        saliency: (3 views, B, 1, h, w).
    """

    views: tuple[View, ...]
    features: Tensor
    saliency: Tensor

    def saliency_at(self, points: Tensor) -> Tensor:
        """Return the saliency (B, Q) of points (B, Q, 3), the mean of the views."""
        of_views = [read_features(map_, view, points) for map_, view in zip(self.saliency, self.views, strict=True)]
        return torch.stack(of_views).mean(0)[..., 0]

    def features_at(self, points: Tensor) -> Tensor:
        """Return the features (B, Q, 3 * C) of points (B, Q, 3), one view after the other."""
        of_views = [read_features(map_, view, points) for map_, view in zip(self.features, self.views, strict=True)]
        return torch.cat(of_views, dim=-1)


@torch.no_grad()
def ask_teacher(points: Tensor, teacher: ImageTeacher, is_valid: Tensor | None = None) -> Guidance:
    """Show a cloud (B, N, 3) to the teacher from three sides; points that are not finite or not valid are not drawn."""
    usable = usable_points(points, is_valid)
    depth_maps, views = project_views(points.masked_fill(~usable[..., None], 0.0), usable)
    maps = teacher(normalise_images(depth_maps))
    features, saliency = (of_all.reshape(NUM_VIEWS, len(points), *of_all.shape[1:]) for of_all in maps)
    return Guidance(views, features, saliency)
