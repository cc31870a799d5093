"""What training asks of planes and fields beyond squared errors of colour."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from lift3d_ros.models.lrm.field import TriplaneField

# Keeps the logarithm of a density a number.
_SMALLEST_DENSITY = 1e-8
_SMALLEST_NORM = 1e-10


def plane_variation(planes: Tensor) -> Tensor:
    """Return the total variation of planes (N, 3, C, H, W): mean squared step along rows plus that along columns.

    Source: fact sheet LRM, section 10.2.
    """
    down = (planes[..., 1:, :] - planes[..., :-1, :]).square().mean()
    across = (planes[..., 1:] - planes[..., :-1]).square().mean()
    return down + across


def occupancy_loss(field: TriplaneField, raw: Tensor, is_inside: Tensor, weights: Tensor) -> Tensor:
    """Return the mean cross entropy of inside or outside, where the density of the surface is as likely as not.

    Args:
        raw: (N, P) densities as the field's network gives them.
        is_inside: (N, P) 0 or 1.
        weights: (N, P) of the points.
    """
    density = field.density(raw).clamp(min=_SMALLEST_DENSITY)
    odds = density.log() - math.log(field.config.surface_density)
    losses = F.binary_cross_entropy_with_logits(odds, is_inside, reduction="none")
    return (losses * weights).sum() / weights.sum().clamp(min=1.0)


def perceptual_distance(
    first: Sequence[Tensor], second: Sequence[Tensor], weights: Sequence[Tensor] | None = None
) -> Tensor:
    """Return how differently a network sees two sets of N pictures, (N,).

    At each place of each map the channels of both are scaled to a norm of 1; squared differences are summed over
    channels, averaged over places and summed over maps.

    Args:
        first, second: features (N, C, h, w), one of each depth.
        weights: of the squared differences of each map's channels, (C,); None: all are 1.

    Source: "The Unreasonable Effectiveness of Deep Features" (arXiv 1801.03924), equation 1.
    """
    total = first[0].new_zeros(len(first[0]))
    for number, (one, other) in enumerate(zip(first, second, strict=True)):
        squared = (_unit_channels(one) - _unit_channels(other)).square()
        if weights is not None:
            squared = squared * weights[number][:, None, None]
        total = total + squared.sum(dim=1).mean(dim=(1, 2))
    return total


def _unit_channels(features: Tensor) -> Tensor:
    return features / (features.square().sum(dim=1, keepdim=True) + _SMALLEST_NORM).sqrt()
