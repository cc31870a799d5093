"""Inputs of a detector whose cameras stand in a ring, and its outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from dfa3d_configs import SMALL

from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.models.dfa3d.visibility import find_visible_pairs


def camera_ring(config: Dfa3dConfig, yaws_deg: list[float]) -> np.ndarray[Any, Any]:
    """Projections (N, 4, 4) of cameras 1.5 m above the origin that look in these directions."""
    focal = 0.6 * config.image_width
    K = np.array(
        [[focal, 0, config.image_width / 2, 0], [0, focal, config.image_height / 2, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    )
    rows = []
    for yaw in np.deg2rad(yaws_deg):
        c, s = np.cos(yaw), np.sin(yaw)
        rows.append(K @ np.array([[s, -c, 0, 0], [0, 0, -1, 1.5], [c, s, 0, 0], [0, 0, 0, 1]]))
    return np.stack(rows).astype(np.float32)


def with_pairs(values: dict[str, Any], config: Dfa3dConfig, is_used: list[bool] | None = None) -> dict[str, Any]:
    """Return the inputs with the visible pairs of their projections; `is_used` leaves cameras out."""
    pairs = find_visible_pairs(values["image_from_model"].numpy(), config, is_used)
    return {
        **values,
        "pair_camera": torch.from_numpy(pairs.camera),
        "pair_cell": torch.from_numpy(pairs.cell),
        "pairs_of_cell": torch.from_numpy(pairs.pairs_of_cell),
    }


def inputs(config: Dfa3dConfig = SMALL, num_cameras: int = 6, seed: int = 0, turned_deg: float = 0.0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    yaws = [360.0 * i / num_cameras + turned_deg for i in range(num_cameras)]
    shape = (num_cameras, 3, config.image_height, config.image_width)
    values = {
        "images": torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8),
        "image_from_model": torch.from_numpy(camera_ring(config, yaws)),
        "ego": torch.eye(4)[None],
        "history_valid": torch.ones(1),
        "history": torch.randn(1, config.num_cells, config.embed_dims, generator=generator),
    }
    if config.ego_input == "can_bus":
        values["ego"] = torch.randn(1, 18, generator=generator)
    if config.camera_names:
        values["camera_rows"] = torch.arange(num_cameras)
    return with_pairs(values, config)


def run(network: Any, values: dict[str, Any]) -> list[Any]:
    with torch.inference_mode():
        return [output.clone() for output in network(**values)]
