"""Clouds with boxes and small point encoders for tests of the pipeline."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from i2p_mae_networks import small_config
from numpy.typing import NDArray

from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.point_encoder import PointEncoder, PointEncoderConfig
from lift3d_ros.pipelines.point_engine import open_point_source
from lift3d_ros.pipelines.point_network import PointSource, load_point_network
from lift3d_ros.types import Boxes3D, Float32Array

CONFIG = dataclasses.replace(small_config(), num_points=128, fills_gaps=True, pooling="all_scales")
SOURCE = PointSource("small", CONFIG, seed=3)


def encoder(backend: Literal["torch", "onnxruntime"] = "torch", **settings: Any) -> PointEncoder:
    """Return an encoder with random weights that takes milliseconds."""
    config = PointEncoderConfig(model="small", backend=backend, num_threads=1, **settings)
    return PointEncoder(open_point_source(SOURCE, EngineConfig(backend, threads=1)), config)


def write_encoder(path: Path) -> Path:
    """Write the weights of that encoder as a training does; they count as trained."""
    from safetensors.torch import save_file

    network, _ = load_point_network(SOURCE)
    header = {"method": "i2p_mae", "stage": "pretrain", "network": json.dumps(dataclasses.asdict(SOURCE.config))}
    save_file(network.state_dict(), str(path), metadata=header)
    return path


def ellipsoid(count: int, axes: tuple[float, float, float] = (1.0, 0.6, 0.3), seed: int = 0) -> Float32Array:
    """Return points (count, 3) on an ellipsoid around the origin."""
    directions = np.random.default_rng(seed).standard_normal((count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.asarray(directions * axes, np.float32)


def boxes_at(centers: Any, size: Any = 2.5, frame_id: str = "lidar", scores: Any = None) -> Boxes3D:
    """Return boxes around places (M, 3)."""
    places: NDArray[np.float64] = np.asarray(centers, dtype=np.float64).reshape(-1, 3)
    count = len(places)
    return Boxes3D(
        frame_id,
        ("object",),
        places,
        np.broadcast_to(size, (count, 3)),
        np.zeros(count),
        np.zeros((count, 2)),
        np.ones(count) if scores is None else scores,
        np.zeros(count, np.int64),
    )
