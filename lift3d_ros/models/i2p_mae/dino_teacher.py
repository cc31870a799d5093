"""DINO and DINOv2 as 2D teachers: features of their patches, and what their class token attends to.

Letters: M pictures, C channels, h w patches. Source: fact sheets LRM, section 3, and I2P-MAE, section 7.
"""

from __future__ import annotations

from torch import Tensor, nn

from lift3d_ros.models.backbones.vit import VisionTransformer
from lift3d_ros.models.backbones.vit_config import VitConfig
from lift3d_ros.models.i2p_mae.teacher import TeacherMaps


class DinoTeacher(nn.Module):
    """A vision transformer of DINO or DINOv2; pictures are normalised as it was trained, with ImageNet's statistics."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.vision = VisionTransformer(config)

    def forward(self, images: Tensor) -> TeacherMaps:
        """Return features of all patches, and the attention that the class token pays them in the last layer."""
        vision, size = self.vision, self.vision.config.patch_size
        height, width = images.shape[-2] // size, images.shape[-1] // size
        tokens = vision.embed(images)
        for block in vision.blocks[:-1]:
            tokens = block(tokens)
        attention = vision.class_attention(tokens)
        patches = vision.without_registers(vision.norm(vision.blocks[-1](tokens)))[:, 1:]
        features = patches.transpose(1, 2).reshape(len(images), -1, height, width)
        return TeacherMaps(features.float(), attention.float().reshape(-1, 1, height, width))
