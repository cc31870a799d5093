"""ResNet with basic or bottleneck blocks, in torch and caffe style, optionally with deformable 3x3 convolutions.

Names of weights are those of the published checkpoints (``layer3.0.conv2.conv_offset.weight``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from torch import Tensor, nn

from lift3d_ros.models.backbones.config import BackboneConfig
from lift3d_ros.ops.deformable_convolution import DeformableConv2d

_BLOCKS_OF_DEPTH: Mapping[Literal[18, 34, 50, 101], tuple[int, ...]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C in, H, W) to (N, C, H / stride, W / stride)."""
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        result: Tensor = self.relu(out + self.downsample(x))
        return result


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution with a shortcut; `is_caffe` puts the stride on the first, else on the 3x3 one."""

    expansion = 4

    def __init__(
        self, in_channels: int, channels: int, stride: int, *, is_caffe: bool = False, is_deformable: bool = False
    ) -> None:
        super().__init__()
        first, middle = (stride, 1) if is_caffe else (1, stride)
        out_channels = channels * self.expansion
        self.conv1 = nn.Conv2d(in_channels, channels, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2: nn.Module
        if is_deformable:
            self.conv2 = DeformableConv2d(channels, channels, 3, middle, 1, is_modulated=True)
        else:
            self.conv2 = nn.Conv2d(channels, channels, 3, middle, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C in, H, W) to (N, 4 C, H / stride, W / stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        result: Tensor = self.relu(self.bn3(self.conv3(out)) + self.downsample(x))
        return result


class ResNet(nn.Module):
    """Features at the strides of `config.output_stages`; stages behind the last of them are not built."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels, outputs = width, []
        self.num_stages = max(config.output_stages)
        for stage, count in enumerate(_BLOCKS_OF_DEPTH[config.depth][: self.num_stages], start=1):
            blocks: list[nn.Module] = []
            for block in range(count):
                stride = 2 if stage > 1 and block == 0 else 1
                blocks.append(_block(config, stage, channels, width * 2 ** (stage - 1), stride))
                channels = width * 2 ** (stage - 1) * (BasicBlock if config.depth < 50 else Bottleneck).expansion
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            if stage in config.output_stages:
                outputs.append(channels)
        self.out_channels = tuple(outputs)
        if config.has_frozen_norms:
            for norm in self._norms():
                norm.requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map pictures (N, 3, H, W) to the features of the output stages, finest first."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        features = []
        for stage in range(1, self.num_stages + 1):
            x = self.get_submodule(f"layer{stage}")(x)
            if stage in self.config.output_stages:
                features.append(x)
        return features

    def train(self, mode: bool = True) -> ResNet:
        """Switch to training; frozen norms stay with their stored statistics."""
        super().train(mode)
        if self.config.has_frozen_norms:
            for norm in self._norms():
                norm.eval()
        return self

    def _norms(self) -> Iterator[nn.Module]:
        modules: Iterable[nn.Module] = self.modules()
        return (module for module in modules if isinstance(module, nn.BatchNorm2d))


def _block(config: BackboneConfig, stage: int, in_channels: int, channels: int, stride: int) -> nn.Module:
    if config.depth < 50:
        return BasicBlock(in_channels, channels, stride)
    return Bottleneck(
        in_channels,
        channels,
        stride,
        is_caffe=config.style == "caffe",
        is_deformable=stage in config.deformable_stages,
    )


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


def resnet_config(shapes: Mapping[str, tuple[int, ...]]) -> BackboneConfig | None:
    """Return the configuration of a published ResNet of torchvision, None where names and sizes are of none.

    Args:
        shapes: published name -> shape.
    """
    parts = [name.split(".") for name in shapes if name.startswith("layer")]
    stages = ({part[1] for part in parts if part[0] == f"layer{stage}"} for stage in range(1, 5))
    counts = tuple(len(blocks) for blocks in stages)
    is_deep = "layer1.0.conv3.weight" in shapes
    for depth, blocks in _BLOCKS_OF_DEPTH.items():
        if blocks == counts and (depth >= 50) == is_deep:
            width = shapes["layer1.0.conv1.weight"][0]
            return BackboneConfig(depth=depth, width=width, output_stages=(1, 2, 3, 4), has_frozen_norms=True)
    return None
