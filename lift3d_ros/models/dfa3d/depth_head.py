"""Predicts for each feature pixel how likely the surface it sees lies in each depth bin."""

from __future__ import annotations

from torch import Tensor, nn


class DepthHead(nn.Module):
    """Two convolutions and a softmax over bins along the optical axis."""

    def __init__(self, channels: int, num_bins: int) -> None:
        super().__init__()
        self.reduce_conv = _conv_bn_relu(channels)
        self.depth_conv = nn.Sequential(_conv_bn_relu(channels), nn.Conv2d(channels, num_bins, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, C, H, W) to depth scores (N, bins, H, W) that sum to one."""
        logits: Tensor = self.depth_conv(self.reduce_conv(features))
        return logits.softmax(dim=1)


def _conv_bn_relu(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
    )
