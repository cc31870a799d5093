"""Losses of the object reconstructor: labelled points, and rays to pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from lift3d_ros.models.backbones.feature_maps import FeatureMaps
from lift3d_ros.models.lrm.config import RenderConfig
from lift3d_ros.models.lrm.field import TriplaneField
from lift3d_ros.models.lrm.losses import occupancy_loss, perceptual_distance, plane_variation
from lift3d_ros.models.lrm.renderer import RayJitter, Rendering, render_rays
from lift3d_ros.training.lrm.batches import ObjectBatch
from lift3d_ros.training.lrm.settings import LrmLossSettings


def object_losses(
    field: TriplaneField,
    planes: Tensor,
    batch: ObjectBatch,
    settings: LrmLossSettings,
    render: RenderConfig,
    *,
    features: FeatureMaps | None = None,
    computes_twice: bool = False,
) -> dict[str, Tensor]:
    """Return the weighted losses of planes (B, 3, C, R, R).

    Args:
        render: how the model renders; the recipe says with how many samples.
        features: compares patches where `settings` give that a weight.
        computes_twice: keep nothing of the renderer for the backward pass but its input.
    """
    losses: dict[str, Tensor] = {}
    if batch.points.shape[1]:
        raw, color = field(planes, batch.points)
        losses["loss_occupancy"] = settings.occupancy * occupancy_loss(field, raw, batch.is_inside, batch.counts)
        squared = (color - batch.colors).square().mean(dim=-1) * batch.is_near
        losses["loss_color"] = settings.color * squared.sum() / batch.is_near.sum().clamp(min=1.0)
    if batch.origins.shape[1]:
        few = dataclasses.replace(render, num_samples=settings.ray_samples, num_importance=settings.ray_importance)
        generator = torch.Generator(planes.device).manual_seed(int(torch.randint(2**31, ())))
        jitter = RayJitter.draw(len(planes), batch.origins.shape[1], few, generator)

        def rendered(planes: Tensor, origins: Tensor, directions: Tensor) -> Rendering:
            return render_rays(field, planes, origins, directions, few, batch.background, jitter)

        seen = _once_or_twice(rendered, computes_twice)(planes, batch.origins, batch.directions)
        losses["loss_rays"] = settings.ray_color * F.mse_loss(seen.color, batch.seen[..., :3])
        losses["loss_mask"] = settings.mask * F.mse_loss(seen.weight, batch.seen[..., 3])
        if features is not None and settings.perceptual_weight:
            drawn, truth = (
                colors.transpose(1, 2).reshape(-1, 3, settings.patch_side, settings.patch_side)
                for colors in (seen.color, batch.seen[..., :3])
            )
            with torch.no_grad():
                expected = features(truth)
            distance = perceptual_distance(features(drawn), expected)
            losses["loss_perceptual"] = settings.perceptual_weight * distance.mean()
    if settings.variation:
        losses["loss_variation"] = settings.variation * plane_variation(planes)
    return losses


def _once_or_twice(function: Callable[..., Rendering], computes_twice: bool) -> Callable[..., Rendering]:
    if not computes_twice:
        return function

    def twice(*arguments: Any) -> Rendering:
        result: Rendering = checkpoint(function, *arguments, use_reentrant=False)
        return result

    return twice
