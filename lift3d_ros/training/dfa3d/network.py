"""The detector with a head that only training uses."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.models.dfa3d.dense_losses import PerspectiveHead
from lift3d_ros.models.dfa3d.detector import Dfa3dDetector, build_detector

_TRAINING_ONLY = "perspective."


class TrainedDetector(Dfa3dDetector):
    """A detector whose picture features are also asked where objects are in the pictures."""

    def __init__(self, config: Dfa3dConfig) -> None:
        super().__init__(config)
        self.perspective = PerspectiveHead(config)


def build_trained_detector(config: Dfa3dConfig, seed: int) -> TrainedDetector:
    """Return a detector with the random weights of :func:`build_detector`, in training mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TrainedDetector(config)
    network.load_state_dict(build_detector(config, seed).state_dict(), strict=False)
    return network.train()


def detector_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights that the detector has outside of training."""
    return {name: tensor for name, tensor in state.items() if not name.startswith(_TRAINING_ONLY)}
