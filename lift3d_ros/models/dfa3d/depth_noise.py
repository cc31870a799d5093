"""Makes the predicted depth of a detector worse, to measure how much its boxes rest on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lift3d_ros.errors import EngineError
from lift3d_ros.models.dfa3d.config import DepthConfig
from lift3d_ros.types import Float64Array


@dataclass(frozen=True)
class DepthNoise:
    """A change of the distribution over depth that each cell of a picture has.

    Args:
        shift_m: every depth is predicted farther by so much; what leaves the range stays in its last bin.
        blur_m: standard deviation of the normal distribution that the prediction is convolved with.
        is_uniform: all depths are equally likely: nothing is known of depth.
    """

    shift_m: float = 0.0
    blur_m: float = 0.0
    is_uniform: bool = False

    @property
    def name(self) -> str:
        """Return it in words."""
        if self.is_uniform:
            return "all depths equally likely"
        parts = [f"farther by {self.shift_m:g} m"] if self.shift_m else []
        parts += [f"blurred by {self.blur_m:g} m"] if self.blur_m else []
        return ", ".join(parts) or "as predicted"


def disturb_depth(network: nn.Module, noise: DepthNoise) -> None:
    """Let a detector see its own depth distributions changed, from now on.

    Raises:
        EngineError: the detector predicts no depth.
    """
    head, config = getattr(network, "depth_head", None), getattr(getattr(network, "config", None), "depth", None)
    if not isinstance(head, nn.Module) or not isinstance(config, DepthConfig):
        raise EngineError(
            "depth noise needs a model that predicts depth; this one has no depth head. Leave out --depth-noise"
        )
    matrix = torch.tensor(transfer_matrix(config, noise), dtype=torch.float32)

    def change(_: nn.Module, __: tuple[Tensor, ...], scores: Tensor) -> Tensor:
        return torch.einsum("dc,nchw->ndhw", matrix.to(scores), scores)

    head.register_forward_hook(change)


def transfer_matrix(config: DepthConfig, noise: DepthNoise) -> Float64Array:
    """Return the (codes, codes) matrix that maps probabilities of a depth head to changed ones; columns sum to one."""
    centers = np.arange(config.num_bins, dtype=np.float64)
    width_m = (config.range[1] - config.range[0]) / config.num_bins
    if noise.is_uniform:
        bins = np.full((config.num_bins, config.num_bins), 1.0 / config.num_bins)
    else:
        target = centers + noise.shift_m / width_m
        spread = max(noise.blur_m / width_m, 0.0)
        if spread > 0.0:
            bins = np.exp(-0.5 * ((centers[:, None] - np.clip(target, 0, centers[-1])[None]) / spread) ** 2)
        else:
            # Between two bins the probability is shared by nearness.
            bins = np.maximum(1.0 - np.abs(centers[:, None] - np.clip(target, 0, centers[-1])[None]), 0.0)
        bins = bins / bins.sum(axis=0, keepdims=True)
    if not config.bins_per_code:
        return bins
    codes = np.arange(len(config.bins_per_code))
    members = (codes[:, None] == np.repeat(codes, config.bins_per_code)[None]).astype(np.float64)
    return np.asarray(members @ bins @ (members / members.sum(axis=1, keepdims=True)).T)
