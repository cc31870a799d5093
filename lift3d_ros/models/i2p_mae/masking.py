"""Which tokens are hidden: drawn at the coarsest scale, carried over to the finer ones.

Letters: B clouds, G groups. Masks are bool, true for hidden tokens. Source: fact sheet I2P-MAE, section 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lift3d_ros.models.i2p_mae.config import MaskConfig
from lift3d_ros.models.i2p_mae.tokenizer import PointGroups


class MaskDraw(NamedTuple):
    """Tokens in the order in which they were drawn; the first ones stay visible.

    Args:
        probabilities: (B, G), of being drawn first.
        order: (B, G) int64.
        masked: (B, G) bool.
    """

    probabilities: Tensor
    order: Tensor
    masked: Tensor


def num_visible(num_groups: int, config: MaskConfig) -> int:
    """Return how many of the coarsest tokens stay visible."""
    return num_groups - int(config.ratio * num_groups)


def gumbel_noise(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return standard Gumbel noise with shape and device of `like`, float32."""
    uniform = torch.rand(like.shape, generator=generator, device=like.device)
    smallest = torch.finfo(torch.float32).tiny
    exponential = -torch.log(uniform.clamp(min=smallest))
    return -torch.log(exponential.clamp(min=smallest))


def draw_masks(saliency: Tensor, noise: Tensor, config: MaskConfig) -> MaskDraw:
    """Draw visible tokens without replacement, with probabilities that grow with their saliency.

    Sorting log probabilities with Gumbel noise added is such a draw.

    Args:
        saliency: (B, G) of the coarsest tokens; not read where masks are random.
        noise: (B, G) standard Gumbel noise.
    """
    logits = torch.zeros_like(noise) if config.guidance == "random" else saliency.float()
    if config.guidance == "saliency" and config.normalises_saliency:
        # Interpolation can undershoot, so the mean may come near zero where nothing stands out.
        logits = logits / logits.abs().mean(1, keepdim=True).clamp(min=1e-6)
    log_probabilities = torch.log_softmax(logits / config.temperature, dim=1)
    order = torch.argsort(log_probabilities + noise, dim=1, descending=True, stable=True)
    visible = order[:, : num_visible(noise.shape[1], config)]
    masked = torch.ones_like(noise, dtype=torch.bool).scatter(1, visible, False)
    return MaskDraw(log_probabilities.exp(), order, masked)


def mask_finer_scales(
    masked: Tensor, neighbours: Sequence[Tensor], *, reveals_first_token: bool = False
) -> list[Tensor]:
    """Carry the mask of the coarsest scale over: what a visible group holds is visible, all else is hidden.

    Args:
        masked: (B, G) of the coarsest scale.
        neighbours: (B, G, K) of each scale, finest first, see :class:`PointGroups`.
        reveals_first_token: published habit, see :class:`MaskConfig`.

    Returns:
        The mask (B, G) of each scale, finest first.
    """
    masks = [masked]
    for scale in range(len(neighbours) - 1, 0, -1):
        held, hidden = neighbours[scale], masks[0]
        times = torch.zeros(len(hidden), neighbours[scale - 1].shape[1], dtype=torch.int32, device=hidden.device)
        times.scatter_add_(1, held.flatten(1), (~hidden)[..., None].expand_as(held).flatten(1).to(torch.int32))
        finer = times == 0
        if reveals_first_token:
            finer[0, 0] &= ~hidden.any()
        masks.insert(0, finer)
    return masks


def unused_tokens(scales: Sequence[PointGroups]) -> list[Tensor]:
    """Return masks (B, G), finest first, of the tokens that no group of the next scale holds."""
    nothing = torch.zeros(scales[-1].centers.shape[:2], dtype=torch.bool, device=scales[-1].centers.device)
    return mask_finer_scales(nothing, [groups.neighbours for groups in scales])
