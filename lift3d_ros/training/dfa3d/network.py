"""The detector with a head that only training uses, and with parts of the backbone that training leaves alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lift3d_ros.models.backbones.efficientnet_lite import EfficientNetLite, InvertedBottleneck
from lift3d_ros.models.backbones.resnet import ResNet
from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.models.dfa3d.dense_losses import PerspectiveHead
from lift3d_ros.models.dfa3d.detector import Dfa3dDetector, build_detector

_TRAINING_ONLY = "perspective."


class TrainedDetector(Dfa3dDetector):
    """A detector whose picture features are also asked where objects are in the pictures."""

    def __init__(self, config: Dfa3dConfig) -> None:
        super().__init__(config)
        self.perspective = PerspectiveHead(config)
        self.frozen_stages = 0

    def freeze(self, stages: int) -> None:
        """Let the stem and the first stages of the backbone keep weights and statistics; 0 trains all."""
        self.frozen_stages = stages
        for part in frozen_parts(self.backbone, stages):
            part.requires_grad_(requires_grad=False)
        self.train(self.training)

    def train(self, mode: bool = True) -> TrainedDetector:
        """Switch to training; what is frozen goes on as in inference."""
        super().train(mode)
        # Looked up anew, because synchronised norms replace modules.
        for part in frozen_parts(self.backbone, self.frozen_stages):
            part.eval()
        return self

    @property
    def frozen_names(self) -> frozenset[str]:
        """Names of the tensors that training leaves alone."""
        frozen = {id(part) for part in frozen_parts(self.backbone, self.frozen_stages)}
        prefixes = [f"backbone.{name}." for name, part in self.backbone.named_modules() if id(part) in frozen]
        return frozenset(name for name in self.state_dict() if name.startswith(tuple(prefixes)))


def frozen_parts(backbone: ResNet | EfficientNetLite, stages: int) -> list[nn.Module]:
    """Return the stem and the blocks of the first stages, none where `stages` is 0."""
    if not stages:
        return []
    if isinstance(backbone, ResNet):
        layers = [backbone.get_submodule(f"layer{n}") for n in range(1, min(stages, backbone.num_stages) + 1)]
        return [backbone.conv1, backbone.bn1, *layers]
    parts: list[nn.Module] = [backbone.conv_stem, backbone.bn0]
    stride = 2
    for block in backbone.blocks:
        assert isinstance(block, InvertedBottleneck)
        stride *= block.depthwise_conv.stride[0]
        if stride > 2 ** (stages + 1):
            break
        parts.append(block)
    return parts


def build_trained_detector(config: Dfa3dConfig, seed: int, frozen_stages: int = 0) -> TrainedDetector:
    """Return a detector with the random weights of :func:`build_detector`, in training mode.

    Args:
        frozen_stages: so many first stages of the backbone, and its stem, keep weights and statistics; 0 trains all.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TrainedDetector(config)
    network.load_state_dict(build_detector(config, seed).state_dict(), strict=False)
    network.freeze(frozen_stages)
    return network.train()


def detector_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights that the detector has outside of training."""
    return {name: tensor for name, tensor in state.items() if not name.startswith(_TRAINING_ONLY)}
