"""Losses of pre-training and of the heads. Source: fact sheet I2P-MAE, sections 10 and 11."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lift3d_ros.models.i2p_mae.guidance import Guidance
from lift3d_ros.models.i2p_mae.reconstruction import Reconstruction
from lift3d_ros.models.i2p_mae.tokenizer import PointGroups
from lift3d_ros.ops.chamfer import chamfer_distance


def point_loss(found: Reconstruction, groups: PointGroups) -> Tensor:
    """Return the mean squared Chamfer distance between predicted and true points of hidden groups, a scalar.

    Args:
        groups: of the scale that the decoder reaches.
    """
    if not len(found.points):
        return found.points.sum()
    return chamfer_distance(found.points.float(), groups.offsets[found.masked]).l2()


def feature_loss(found: Reconstruction, groups: PointGroups, guidance: Guidance) -> Tensor:
    """Return the mean squared error of the teacher's features at the points of visible groups, a scalar.

    Raises:
        ValueError: the network has no semantic head.
    """
    if found.features is None:
        raise ValueError("the network has no semantic head; set reconstruction.teacher_dims to the teacher's channels")
    if not len(found.features):
        return found.features.sum()
    target = visible_features(found.masked, groups, guidance)
    return F.mse_loss(found.features.float(), target)


@torch.no_grad()
def visible_features(masked: Tensor, groups: PointGroups, guidance: Guidance) -> Tensor:
    """Return the teacher's features at the points of visible groups, (visible groups, K, 3 * channels)."""
    # Only visible groups are looked up: each cloud's, padded to as many as the cloud with most has.
    longest = int((~masked).sum(1).max())
    places = torch.argsort(masked.to(torch.uint8), dim=1, stable=True)[:, :longest]
    members = groups.points.shape[2]
    points = groups.points.gather(1, places[..., None, None].expand(-1, -1, members, 3))
    features = guidance.features_at(points.flatten(1, 2)).reshape(len(points), longest, members, -1)
    result: Tensor = features[~masked.gather(1, places)].float()
    return result


def classification_loss(logits: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    """Return the cross entropy of logits (B, classes), with `label_smoothing` shared by the wrong classes."""
    log_probabilities = F.log_softmax(logits.float(), dim=-1)
    num_classes = logits.shape[-1]
    others = label_smoothing / max(num_classes - 1, 1)
    target = torch.full_like(log_probabilities, others)
    target.scatter_(1, labels[:, None], 1.0 - label_smoothing)
    return -(target * log_probabilities).sum(-1).mean()


def segmentation_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross entropy of logits (B, N, parts) with labels (B, N) int64."""
    return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())


def restrict_parts(logits: Tensor, allowed: Sequence[Sequence[int]]) -> Tensor:
    """Return the best part (B, N) int64 among those that the category of each cloud has.

    Args:
        logits: (B, N, parts).
        allowed: the parts of each cloud's category.
    """
    is_allowed = torch.zeros(len(logits), logits.shape[-1], dtype=torch.bool, device=logits.device)
    for item, parts in enumerate(allowed):
        is_allowed[item, list(parts)] = True
    return logits.masked_fill(~is_allowed[:, None], -torch.inf).argmax(-1)
