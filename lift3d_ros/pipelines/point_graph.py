"""Graphs of the point encoder: its tensors, and the ONNX files made of a network.

Sampling and neighbour search stay outside. A graph serves any number of crops, whose groups have fixed sizes.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np

from lift3d_ros.engines.protocol import Arrays, EngineSignature, Shapes, TensorSpec, profile_of
from lift3d_ros.models.i2p_mae.cloud_groups import batch_groups, group_cloud
from lift3d_ros.models.i2p_mae.config import I2pMaeConfig
from lift3d_ros.pipelines.network_graph import cached_source_graph, check_exporter, facts_of_weights
from lift3d_ros.pipelines.point_network import PointSource, load_point_network
from lift3d_ros.types import ModelIdentity

# What an exported graph is compared with: numbers of crops.
_COMPARED_SIZES = (1, 5)
_TRACED_SIZE = 3
# Of TensorRT engines: smallest, usual and largest number of crops.
_ENGINE_SIZES = (1, 10, 32)


def points_signature(config: I2pMaeConfig) -> EngineSignature:
    """Return the tensors of an encoder, for any number of crops."""
    counts, sizes = config.tokens.num_groups, config.tokens.group_sizes
    held = sum(count * size for count, size in zip(counts[1:], sizes[1:], strict=True))
    return EngineSignature(
        inputs=(
            TensorSpec("points", (None, counts[0], sizes[0], 3)),
            TensorSpec("centers", (None, sum(counts), 3)),
            TensorSpec("neighbours", (None, held), "int64"),
        ),
        outputs=(
            TensorSpec("descriptor", (None, config.descriptor_dims)),
            TensorSpec("tokens", (None, counts[-1], config.encoder.dims[-1])),
        ),
    )


def export_point_graph(source: PointSource, path: Path) -> ModelIdentity:
    """Write the ONNX graph of an encoder for any number of crops, and return which weights it holds.

    Raises:
        EngineError: torch or onnx is not installed, or the graph deviates from PyTorch.
        WeightsError: as :func:`lift3d_ros.pipelines.point_network.load_point_network`.
    """
    network, identity = load_point_network(source)
    check_exporter(source.name)
    from lift3d_ros.engines.export import export_onnx
    from lift3d_ros.models.i2p_mae.grouped_encoder import GroupedEncoder

    facts = {**facts_of_weights(identity), "config": dataclasses.asdict(source.config)}
    others = [example_crops(source.config, size) for size in _COMPARED_SIZES]
    module = GroupedEncoder(network, source.config.tokens)
    export_onnx(
        module, points_signature(source.config), facts, example_crops(source.config, _TRACED_SIZE), path, others=others
    )
    return identity


def cached_point_graph(source: PointSource, *, is_remade: bool = False) -> Path:
    """Return the cached graph of an encoder, see :func:`lift3d_ros.engines.graph_cache.cached_graph`."""
    export = functools.partial(export_point_graph, source)
    return cached_source_graph(source, points_signature(source.config), export, is_remade=is_remade)


def points_profile(config: I2pMaeConfig) -> dict[str, Shapes]:
    """Return the sizes that TensorRT engines are built for; larger sets run on the fallback."""
    return profile_of(*(example_crops(config, crops) for crops in _ENGINE_SIZES))


def example_crops(config: I2pMaeConfig, crops: int) -> Arrays:
    """Return the groups of random ellipsoids, for tracing, comparing and timing engines."""
    rng = np.random.default_rng(crops)
    points = rng.standard_normal((crops, config.num_points, 3))
    points /= np.linalg.norm(points, axis=2, keepdims=True)
    points *= rng.uniform(0.2, 1.0, (crops, 1, 3))
    return batch_groups([group_cloud(cloud.astype(np.float32), config.tokens) for cloud in points])
