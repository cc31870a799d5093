"""Makes the lifting network with random weights that are the same every time."""

from __future__ import annotations

import torch

from lift3d_ros.models.lfm.config import LfmConfig
from lift3d_ros.models.lfm.network import LfmNetwork


def build_lifter(config: LfmConfig, seed: int) -> LfmNetwork:
    """Return the network in eval mode with weights drawn from `seed`; the random state of the caller stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LfmNetwork(config).eval()
