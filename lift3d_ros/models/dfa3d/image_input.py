"""The first step inside the network: colour order, normalisation, scaling and padding of uint8 pictures."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lift3d_ros.models.dfa3d.config import Dfa3dConfig


class ImageInput(nn.Module):
    """Normalises RGB pictures; padding is added afterwards, so it means the mean colour."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: Dfa3dConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.tensor(config.image_mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(config.image_std)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map pictures (N, 3, H, W) uint8 RGB to (N, 3, padded height, padded width) float32."""
        pictures = (images.to(torch.float32) - self.mean) / self.std
        if self.config.reads_bgr:
            pictures = pictures.flip(1)
        height, width = self.config.scaled_size
        if pictures.shape[-2:] != (height, width):
            pictures = F.interpolate(pictures, size=(height, width), mode="bilinear", align_corners=False)
        padded_height, padded_width = self.config.padded_size
        if (padded_height, padded_width) == (height, width):
            return pictures
        return F.pad(pictures, (0, padded_width - width, 0, padded_height - height))
