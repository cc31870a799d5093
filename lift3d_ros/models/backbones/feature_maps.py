"""What a picture backbone sees at several depths, as maps; for comparing pictures. Letters: N pictures, C channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lift3d_ros.models.backbones.alexnet import AlexNet
from lift3d_ros.models.backbones.efficientnet_lite import EfficientNetLite
from lift3d_ros.models.backbones.resnet import ResNet
from lift3d_ros.models.backbones.vit import VisionTransformer

Backbone = ResNet | EfficientNetLite | AlexNet | VisionTransformer

_VIT_MAPS = 4


class FeatureMaps(nn.Module):
    """Maps pictures to features at several depths of a backbone, which stays as it is and has no gradient of its own.

    Convolutional ones give their output stages, a vision transformer the patches behind four of its blocks.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Backbone, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        """Take a backbone and its normalisation of values 0..1."""
        super().__init__()
        self.backbone = backbone.requires_grad_(requires_grad=False)
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1))
        self.eval()

    def train(self, mode: bool = True) -> FeatureMaps:
        """Stay in evaluation, whatever is asked for."""
        return super().train(mode=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map RGB pictures (N, 3, H, W) of 0..1 to maps (N, C, h, w), finest first.

        For a vision transformer, pictures are resized to the next multiples of its patch.
        """
        normalised = (images - self.mean) / self.std
        if not isinstance(self.backbone, VisionTransformer):
            maps: list[Tensor] = self.backbone(normalised)
            return maps
        patch = self.backbone.config.patch_size
        rows, columns = (-(-size // patch) for size in normalised.shape[-2:])
        size = (rows * patch, columns * patch)
        if size != tuple(normalised.shape[-2:]):
            normalised = F.interpolate(normalised, size, mode="bilinear", align_corners=False)
        return _patch_maps(self.backbone, normalised, (rows, columns))


def _patch_maps(network: VisionTransformer, images: Tensor, grid: tuple[int, int]) -> list[Tensor]:
    depth = len(network.blocks)
    chosen = {round(depth * part / _VIT_MAPS) - 1 for part in range(1, _VIT_MAPS + 1)}
    tokens, maps = network.embed(images), []
    for number, block in enumerate(network.blocks):
        tokens = block(tokens)
        if number in chosen:
            patches = network.without_registers(tokens)[:, 1:]
            maps.append(patches.transpose(1, 2).reshape(len(patches), -1, *grid))
    return maps
