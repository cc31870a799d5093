"""LPIPS on AlexNet: how differently two pictures look, by features whose channels have learned weights.

Source: "The Unreasonable Effectiveness of Deep Features" (arXiv 1801.03924), version 0.1 of its weights.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from lift3d_ros.models.backbones.alexnet import CHANNELS, AlexNet
from lift3d_ros.models.backbones.feature_maps import FeatureMaps
from lift3d_ros.models.lrm.losses import perceptual_distance
from lift3d_ros.types import UInt8Array

LINEAR_SHAPES = {f"lin{number}.model.1.weight": (1, width, 1, 1) for number, width in enumerate(CHANNELS)}
"""Names and shapes of the learned weights, one for each map."""

# LPIPS has pictures of -1..1, and its own rounded mean and standard deviation of ImageNet in these units.
_MEAN, _STD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


def backbone_shapes() -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the weights of AlexNet that are used."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in AlexNet().state_dict().items()}


class Lpips:
    """Compares pictures."""

    def __init__(self, backbone: Mapping[str, Tensor], linear: Mapping[str, Tensor]) -> None:
        """Take the weights of AlexNet and those learned on top, with the names and shapes above."""
        network = AlexNet()
        network.load_state_dict(dict(backbone))
        self._weights = [linear[name].flatten().float() for name in LINEAR_SHAPES]
        mean = tuple(0.5 * (value + 1.0) for value in _MEAN)
        self._features = FeatureMaps(network, mean, tuple(0.5 * value for value in _STD))

    def __call__(self, first: UInt8Array, second: UInt8Array) -> float:
        """Compare two RGB pictures (H, W, 3), 31 px or more along both sides."""
        pair = np.stack([first, second]).transpose(0, 3, 1, 2) / 255.0
        with torch.inference_mode():
            maps = self._features(torch.from_numpy(pair).float())
            return float(perceptual_distance([one[:1] for one in maps], [one[1:] for one in maps], self._weights))
