"""Graphs of the object reconstructor: one from picture to planes, one that reads density and colour from them.

They stand side by side, ``lrm.onnx`` and ``lrm.field.onnx``, and hold the same facts.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lift3d_ros.engines.protocol import Arrays, EngineSignature, Shapes, profile_of
from lift3d_ros.errors import EngineError
from lift3d_ros.models.lrm.cameras import view_numbers
from lift3d_ros.models.lrm.config import PRESETS, LrmConfig, preset
from lift3d_ros.pipelines.network_graph import check_exporter, facts_of_weights
from lift3d_ros.types import ModelIdentity

if TYPE_CHECKING:
    from lift3d_ros.models.lrm.network import Lrm

GRAPH_ENDING = ".onnx"

# The field takes any number of points: what the graph is traced and compared with.
_TRACED_POINTS = 7
_COMPARED_POINTS = (1, 1000)
# Smallest, usual and largest number that TensorRT engines are built for.
_ENGINE_POINTS = (1, 4096, 65536)


def field_path(path: Path) -> Path:
    """Return where the graph of the field is, of a model whose other graph is at `path`."""
    return path.with_name(f"{path.stem}.field{GRAPH_ENDING}")


def plain_config(config: LrmConfig) -> dict[str, Any]:
    """Return a configuration as it is read back from JSON."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return plain


def export_lrm_graphs(
    network: Lrm,
    identity: ModelIdentity,
    planes_signature: EngineSignature,
    field_signature: EngineSignature,
    path: Path,
) -> None:
    """Write both graphs of a network, after comparing them with PyTorch.

    Args:
        path: of the graph from picture to planes; the other one stands beside it.

    Raises:
        EngineError: onnx is not installed, the network has no preset, or a graph deviates from PyTorch.
    """
    check_exporter(identity.name)
    from lift3d_ros.engines.export import export_onnx
    from lift3d_ros.models.lrm.stages import PlanesGraph, PointsToField

    config = network.config
    facts = {
        **facts_of_weights(identity),
        "preset": next((name for name in PRESETS if preset(name) == config), ""),
        "config": plain_config(config),
    }
    if not facts["preset"]:
        raise EngineError(
            f"model '{identity.name}': its configuration is none of {', '.join(PRESETS)}, and a graph of it could not "
            "be opened again; add it to models/lrm/config.py"
        )
    export_onnx(PlanesGraph(network), planes_signature, facts, example_picture(config), path)
    shape = planes_signature.outputs[0].shape
    examples = [example_points(shape, count) for count in (_TRACED_POINTS, *_COMPARED_POINTS)]
    export_onnx(
        PointsToField(network.field), field_signature, facts, examples[0], field_path(path), others=examples[1:]
    )


def example_picture(config: LrmConfig) -> Arrays:
    """Return a random picture with the camera that the model assumes, for tracing, comparing and timing."""
    side = config.image.side
    return {
        "images": np.random.default_rng(0).uniform(0.0, 255.0, (1, 3, side, side)).astype(np.float32),
        "cameras": view_numbers(config.view).astype(np.float32)[None],
    }


def example_points(planes_shape: tuple[int | None, ...], count: int) -> Arrays:
    """Return random planes and points, some of which lie outside of them."""
    rng = np.random.default_rng(count)
    return {
        "planes": rng.standard_normal([size or 1 for size in planes_shape], dtype=np.float32),
        "points": rng.uniform(-1.1, 1.1, (1, count, 3)).astype(np.float32),
    }


def field_profile(planes_shape: tuple[int | None, ...]) -> dict[str, Shapes]:
    """Return the numbers of points that TensorRT engines of the field are built for."""
    return profile_of(*(example_points(planes_shape, count) for count in _ENGINE_POINTS))
