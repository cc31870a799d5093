"""BEV detectors of a size for tests: one as ours, one with every habit of the published checkpoints."""

from __future__ import annotations

from dataclasses import replace

from lift3d_ros.models.backbones.config import BackboneConfig
from lift3d_ros.models.dfa3d.config import NUSCENES_CAMERAS, DepthConfig, Dfa3dConfig

SMALL = Dfa3dConfig(
    image_width=192,
    image_height=96,
    backbone=BackboneConfig(width=8),
    depth=DepthConfig(num_bins=16),
    embed_dims=32,
    ffn_dims=64,
    bev_height=20,
    bev_width=24,
    num_queries=30,
)
PUBLISHED = replace(
    SMALL,
    image_height=90,
    reads_bgr=True,
    pixel_origin="corner",
    backbone=BackboneConfig(50, 4, "caffe", (3, 4), (2, 3, 4), has_frozen_norms=True),
    depth=DepthConfig("aspp", 16, level=2, channels=16, repeats_code_probability=True),
    num_levels=4,
    num_level_embeddings=4,
    camera_names=NUSCENES_CAMERAS,
    ego_input="can_bus",
    rotation_center=(12.0, 10.0),
    shifts_current_references=True,
    keeps_initial_queries=True,
    yaw_code="mmdet3d",
)
