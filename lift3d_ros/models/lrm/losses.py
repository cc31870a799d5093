"""What training asks of planes and fields beyond squared errors of colour."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

from lift3d_ros.models.lrm.field import TriplaneField

# Keeps the logarithm of a density a number.
_SMALLEST_DENSITY = 1e-8


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
