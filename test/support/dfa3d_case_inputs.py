"""Configurations and inputs of the numeric cases of BEVFormer + DFA3D; every size comes from the case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lift3d_ros.models.backbones.config import BackboneConfig
from lift3d_ros.models.dfa3d.config import DepthConfig, Dfa3dConfig, published_pillar_heights
from lift3d_ros.models.dfa3d.detector import Dfa3dDetector
from lift3d_ros.models.dfa3d.visibility import find_visible_pairs, join_pairs

Arrays = Mapping[str, Tensor]


def published_config(case: Mapping[str, Any], **changes: Any) -> Dfa3dConfig:
    """Return the configuration of a case; what it does not name is as in the published models."""
    point_range = tuple(case.get("pc_range", (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)))
    near, far, step = case.get("d_bound", (2.0, 58.0, 0.5))
    num_bins = round((far - near) / step)
    dims = case.get("embed_dims", 32)
    height, width = case.get("padded", (case.get("img_h", 96), case.get("img_w", 160)))
    arguments: dict[str, Any] = {
        "image_width": width,
        "image_height": height,
        "image_std": (1.0, 1.0, 1.0),
        "reads_bgr": True,
        "pixel_origin": "corner",
        "backbone": BackboneConfig(18, 4),
        "depth": DepthConfig("lidar", num_bins, (near, far)),
        "embed_dims": dims,
        "ffn_dims": case.get("ffn", 2 * dims),
        "num_heads": case.get("heads", case.get("num_heads", 8)),
        "num_levels": case.get("levels", case.get("num_levels", 1)),
        "num_level_embeddings": 4,
        "camera_names": tuple(f"camera_{i}" for i in range(case.get("num_cams", 6))),
        "point_range": point_range,
        "bev_height": case.get("bev_h", 1),
        "bev_width": case.get("bev_w", 1),
        "pillar_heights": published_pillar_heights(
            point_range, case.get("num_points_in_pillar", case.get("num_z_anchors", 4))
        ),
        "num_points": case.get("num_points", 8),
        "num_temporal_points": 4,
        "num_encoder_layers": case.get("enc_layers", 1),
        "num_decoder_layers": case.get("dec_layers", 1),
        "num_queries": case.get("num_query", 4),
        "ego_input": "can_bus",
        "rotation_center": tuple(float(x) for x in case.get("rotate_center_xy", (100.0, 100.0))),
        "shifts_current_references": True,
        "keeps_initial_queries": True,
        "yaw_code": "mmdet3d",
        "max_detections": case.get("max_num", 300),
    }
    return Dfa3dConfig(**{**arguments, **changes})


def learned_sizes(arrays: Arrays) -> dict[str, Any]:
    """Return what the weights of a case tell of its configuration: cameras, level embeddings, classes."""
    rows = {name.rpartition(".")[2]: array.shape[0] for name, array in arrays.items() if name.endswith("_embeds")}
    sizes: dict[str, Any] = {}
    if "cams_embeds" in rows:
        sizes["camera_names"] = tuple(f"camera_{i}" for i in range(rows["cams_embeds"]))
    if "level_embeds" in rows:
        sizes["num_level_embeddings"] = rows["level_embeds"]
    if "w.pts_bbox_head.cls_branches.0.6.weight" in arrays:
        num_classes = arrays["w.pts_bbox_head.cls_branches.0.6.weight"].shape[0]
        sizes["class_names"] = tuple(f"class_{i}" for i in range(num_classes))
    return sizes


def levels_of(arrays: Arrays) -> list[tuple[int, int]]:
    return [(int(row[0]), int(row[1])) for row in arrays["in.spatial_shapes"]]


def maps_of(arrays: Arrays, prefix: str) -> list[Tensor]:
    """Return the inputs `<prefix>0`, `<prefix>1`, ... with samples and cameras as one axis."""
    maps = []
    while f"in.{prefix}{len(maps)}" in arrays:
        array = arrays[f"in.{prefix}{len(maps)}"]
        maps.append(array.flatten(0, 1) if array.dim() == 5 else array)
    return maps


def pairs_for(matrices: Tensor, config: Dfa3dConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Return camera, cell and inverse table of the visible pairs for matrices (B, N, 4, 4)."""
    samples = [find_visible_pairs(sample.cpu().numpy().astype(np.float32), config) for sample in matrices]
    pairs = join_pairs(samples, matrices.shape[1], config)
    return torch.tensor(pairs.camera), torch.tensor(pairs.cell), torch.tensor(pairs.pairs_of_cell)


def encode(
    detector: Dfa3dDetector,
    maps: Sequence[Tensor],
    scores: Sequence[Tensor],
    matrices: Tensor,
    can_bus: Tensor,
    history: Tensor | None,
) -> Tensor:
    """Run the encoder for matrices (B, N, 4, 4) and can_bus (B, 18); cameras are in the published order."""
    samples, cameras = matrices.shape[:2]
    flat = matrices.flatten(0, 1)
    features = detector.embed_cameras(maps, scores, flat, torch.arange(cameras).repeat(samples))
    pairs = detector.place_pillars(flat, *pairs_for(matrices, detector.config))
    config = detector.config
    empty = torch.zeros(samples, config.num_cells, config.embed_dims)
    is_valid = torch.full((samples,), float(history is not None))
    aligned = detector.align(empty if history is None else history, can_bus)
    return detector.encode(features, pairs, can_bus, is_valid, aligned)
