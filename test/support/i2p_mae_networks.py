"""Small networks of I2P-MAE, clouds and a teacher for tests."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from lift3d_ros.models.i2p_mae.build import PointNetwork, build
from lift3d_ros.models.i2p_mae.config import (
    ClassificationConfig,
    EncoderConfig,
    Head,
    I2pMaeConfig,
    ReconstructionConfig,
    SegmentationConfig,
    TokenConfig,
)
from lift3d_ros.models.i2p_mae.teacher import TeacherMaps

TEACHER_DIMS = 4


def small_config(head: Head = "none", **encoder: Any) -> I2pMaeConfig:
    """Return a configuration whose network runs in milliseconds."""
    settings: dict[str, Any] = {"dims": (12, 18, 24), "depths": (1, 2, 1), "embedding_dims": (8, 16, 16)}
    return I2pMaeConfig(
        head=head,
        tokens=TokenConfig((40, 20, 10), (8, 5, 4)),
        encoder=EncoderConfig(**{**settings, "has_norms": head != "classification", **encoder}),
        reconstruction=ReconstructionConfig((24, 18), (1, 1), num_points=5, teacher_dims=TEACHER_DIMS),
        classification=ClassificationConfig(num_classes=6, hidden_dims=16),
        segmentation=SegmentationConfig(7, 3, 4, (16, 8), (16, 16, 8)),
    )


def small_network(config: I2pMaeConfig, seed: int = 0) -> PointNetwork:
    """Return its network in eval mode, with reproducible weights and statistics of batch norms that do something."""
    torch.manual_seed(seed)
    network = build(config).eval()
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(std=0.1)
    return network


def clouds(batch: int, num_points: int = 200, seed: int = 0) -> Tensor:
    """Return clouds (B, N, 3) in the unit sphere, each on an ellipsoid of its own."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(batch, num_points, 3, generator=generator)
    points = points / points.norm(dim=-1, keepdim=True)
    return points * (0.3 + 0.7 * torch.rand(batch, 1, 3, generator=generator))


def edge_teacher(images: Tensor) -> TeacherMaps:
    """Stand in for a teacher: brightness of the patches, and how much it varies."""
    patches = torch.nn.functional.unfold(images[:, :1], 16, stride=16).unflatten(2, (14, 14))
    mean, spread = patches.mean(1, keepdim=True), patches.std(1, keepdim=True)
    return TeacherMaps(torch.cat([mean, spread, mean * spread, mean.square()], dim=1), spread)


def without_teacher(config: I2pMaeConfig) -> I2pMaeConfig:
    """Return the configuration without semantic head."""
    return dataclasses.replace(config, reconstruction=dataclasses.replace(config.reconstruction, teacher_dims=0))
