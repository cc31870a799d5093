"""The whole network: picture and camera in, planes of a radiance field out, and the field that reads them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lift3d_ros.models.backbones.vit import VisionTransformer
from lift3d_ros.models.lrm.config import CAMERA_NUMBERS, LrmConfig, ObjectImageConfig
from lift3d_ros.models.lrm.decoder import FRONT_PLANE, TriplaneDecoder
from lift3d_ros.models.lrm.detail import PictureDetail
from lift3d_ros.models.lrm.field import TriplaneField


class PictureInput(nn.Module):
    """The first step inside the network: values 0..255 to what the encoder was trained with."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: ObjectImageConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(config.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(config.std)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map pictures (N, 3, H, W) RGB 0..255 to normalised ones."""
        return (images.to(self.mean.dtype) / 255.0 - self.mean) / self.std


class Lrm(nn.Module):
    """Encoder, triplane decoder and field; the forward pass ends with the planes."""

    def __init__(self, config: LrmConfig) -> None:
        super().__init__()
        self.config = config
        self.picture_input = PictureInput(config.image)
        self.encoder = VisionTransformer(config.encoder)
        width = config.decoder.camera_width
        self.camera_embedding = (
            nn.Sequential(nn.Linear(CAMERA_NUMBERS, width), nn.SiLU(), nn.Linear(width, width)) if width else None
        )
        self.decoder = TriplaneDecoder(config.decoder, config.encoder.width)
        self.detail = PictureDetail(config) if config.decoder.detail_width else None
        self.field = TriplaneField(config.field, config.decoder.channels, config.view)

    def forward(self, images: Tensor, cameras: Tensor | None = None) -> Tensor:
        """Reconstruct the objects of pictures.

        Args:
            images: (N, 3, S, S) uint8 or float32, RGB 0..255.
            cameras: (N, 16) as in ``camera_numbers``, for models that are told their camera.

        Returns:
            Planes (N, 3, C, R, R), which `field` reads.
        """
        normalised = self.picture_input(images)
        planes: Tensor = self.decoder(self.encoder(normalised), self.embed_cameras(cameras))
        if self.detail is None:
            return planes
        front = planes[:, FRONT_PLANE] + self.detail(normalised)
        return torch.stack([front if plane == FRONT_PLANE else planes[:, plane] for plane in range(3)], dim=1)

    def embed_cameras(self, cameras: Tensor | None) -> Tensor | None:
        """Return cameras (N, 16) embedded as (N, camera width), None for models that are not told."""
        if self.camera_embedding is None:
            return None
        if cameras is None:
            raise ValueError("this model is told its camera: 'cameras' is missing; expected (N, 16)")
        embedded: Tensor = self.camera_embedding(cameras)
        return embedded


def build_lrm(config: LrmConfig, seed: int) -> Lrm:
    """Return a network with random weights that are the same for the same seed, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Lrm(config)
    return network.eval()
