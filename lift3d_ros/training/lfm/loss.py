"""Losses of the skeleton lifter: distance after Procrustean alignment, mirror image, expected error."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lift3d_ros.models.lfm.network import LfmOutput
from lift3d_ros.ops.procrustes import similarity_alignment
from lift3d_ros.training.lfm.batches import LiftingBatch
from lift3d_ros.training.lfm.settings import LfmLossSettings

_SOFT = 0.02  # distances below this share of the size weigh less and less
# Mean distance of the flat guess, in sizes, at which `relative` changes nothing, and how much it changes at most.
_USUAL_FLAT, _MOST_RELATIVE = 0.3, 5.0


def lifting_losses(output: LfmOutput, batch: LiftingBatch, settings: LfmLossSettings) -> dict[str, Tensor]:
    """Return named losses, each a mean over instances, times its weight.

    The shape is compared with the truth up to rotation, scale and place, in RMS sizes of the instance. Where its mirror
    image may be right, too, the better of both is trained, and the sign logit learns which of the two it is, the more
    the more it matters (fact sheet 13.6). ``sides`` trains the better of both for instances without sides only: there
    the view does not decide, and an average of both would be flat. The sign is learned for all: sides may be hidden.
    """
    weights = batch.is_valid.to(output.shape.dtype)
    if not settings.has_procrustes:
        return _weighted(
            _distances(_scaled(output.shape, batch.target, weights), batch.target), output, batch, settings
        )
    proper = similarity_alignment(output.shape, batch.target, weights)
    distances = _distances(proper.apply(output.shape), batch.target)
    if settings.alignment == "proper":
        return _weighted(distances, output, batch, settings)
    free = similarity_alignment(output.shape, batch.target, weights, allows_reflection=True)
    best = _distances(free.apply(output.shape), batch.target)
    if settings.alignment == "sides":
        best = torch.where((batch.side != 0).any(1)[:, None], distances, best)
    losses = _weighted(best, output, batch, settings)
    is_right = (free.chirality > 0).to(output.sign_logit.dtype)
    wrong = F.binary_cross_entropy_with_logits(output.sign_logit, is_right, reduction="none")
    losses["loss_sign"] = settings.sign * (wrong * (2.0 * free.chirality.abs()).clamp(max=1.0)).mean()
    return losses


def _weighted(
    distances: Tensor, output: LfmOutput, batch: LiftingBatch, settings: LfmLossSettings
) -> dict[str, Tensor]:
    """Return the losses of distances (B, J), and of the spread that should expect them."""
    weights = batch.is_valid.to(distances.dtype)
    total = weights.sum(1).clamp(min=1.0)
    soft = ((distances**2 + _SOFT**2).sqrt() - _SOFT) * _importance(batch.target, weights, settings.relative)[:, None]
    expected = distances.detach() / output.spread + output.spread.log()
    return {
        "loss_shape": ((soft * weights).sum(1) / total).mean(),
        "loss_spread": settings.spread * ((expected * weights).sum(1) / total).mean(),
    }


def _importance(target: Tensor, weights: Tensor, relative: float) -> Tensor:
    """Return (B,) how much each instance counts: the more, the less the flat guess is wrong."""
    if not relative:
        return torch.ones_like(target[:, 0, 0])
    flat = target * target.new_tensor([1.0, 1.0, 0.0])
    moved = similarity_alignment(flat, target, weights).apply(flat)
    error = (_distances(moved, target) * weights).sum(1) / weights.sum(1).clamp(min=1.0)
    ratio = _USUAL_FLAT / error.clamp(min=_USUAL_FLAT / _MOST_RELATIVE)
    return ratio**relative


def _distances(moved: Tensor, target: Tensor) -> Tensor:
    """Return (B, J), with a gradient of zero where a point is exactly right."""
    return ((moved - target) ** 2).sum(-1).clamp(min=1e-12).sqrt()


def _scaled(shape: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Return the shape with the best scale and place, its axes those of the camera."""
    inside = weights[..., None]
    centred = shape - (shape * inside).sum(1, keepdim=True) / inside.sum(1, keepdim=True).clamp(min=1.0)
    fit = (centred * target * inside).sum((1, 2))
    norm = (centred * centred * inside).sum((1, 2)).clamp(min=1e-12)
    scaled: Tensor = centred * torch.clamp(fit / norm, min=0.1)[:, None, None]
    return scaled
