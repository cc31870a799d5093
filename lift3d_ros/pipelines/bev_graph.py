"""Graphs of the BEV detector: its tensors, its network with weights, and the ONNX files made of both.

With ONNX Runtime a graph is exported once into the cache folder and found again without torch.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.engines.graph_cache import cached_graph
from lift3d_ros.engines.protocol import Arrays, EngineSignature, StateSpec, TensorSpec
from lift3d_ros.errors import EngineError, WeightsError
from lift3d_ros.models.dfa3d.can_bus import CAN_BUS_LENGTH
from lift3d_ros.models.dfa3d.config import PRESETS, Dfa3dConfig, preset
from lift3d_ros.models.dfa3d.visibility import PairCapacity, default_capacity, find_visible_pairs, pad_pairs
from lift3d_ros.types import ModelIdentity
from lift3d_ros.weights.manifest import ModelEntry, verified_weights_path

if TYPE_CHECKING:
    from lift3d_ros.models.dfa3d.detector import Dfa3dDetector

_RANKS_AT_THE_CUT = 2
# A graph cannot split a number of pairs that it does not know: one step holds the samples of all of them.
_LARGEST_GRID_OF_ANY_PAIRS = 10_000


def model_config(name: str, entry: ModelEntry) -> Dfa3dConfig:
    """Return the configuration that the manifest names for a model.

    Raises:
        WeightsError: the entry is not a BEV detector or names no known preset.
        EngineError: the model takes measured depth, which neither nodes nor replay provide.
    """
    config = preset(entry.preset) if entry.method == "dfa3d" else None
    if config is None:
        raise WeightsError(
            f"model '{name}': method '{entry.method}' with preset '{entry.preset}' is not a BEV detector; "
            f"expected method 'dfa3d' with one of the presets {', '.join(PRESETS)}"
        )
    if config.depth.source == "lidar":
        raise EngineError(
            f"model '{name}' takes measured depth as input, which nodes and replay do not provide; "
            "take a model that predicts depth, for example of the preset 'dfa3d-base'"
        )
    return config


def untrained_entry(preset_name: str) -> ModelEntry:
    """Return what a manifest would say of a preset without weights, for exporting and timing it."""
    return ModelEntry("dfa3d", preset_name, "Apache-2.0", "random weights of this package")


def bev_signature(config: Dfa3dConfig, num_cameras: int, capacity: PairCapacity | None) -> EngineSignature:
    """Return the tensors of the detector for a number of camera slots; without `capacity` pairs may be any number."""
    pairs, per_cell = (None, None) if capacity is None else (capacity.pairs, capacity.cameras_per_cell)
    ego = (1, CAN_BUS_LENGTH) if config.ego_input == "can_bus" else (1, 4, 4)
    inputs = [
        TensorSpec("images", (num_cameras, 3, config.image_height, config.image_width), "uint8"),
        TensorSpec("image_from_model", (num_cameras, 4, 4)),
        TensorSpec("pair_camera", (pairs,), "int64"),
        TensorSpec("pair_cell", (pairs,), "int64"),
        TensorSpec("pairs_of_cell", (config.num_cells, per_cell), "int64"),
        TensorSpec("ego", ego),
        TensorSpec("history_valid", (1,)),
    ]
    if config.camera_names:
        inputs.append(TensorSpec("camera_rows", (num_cameras,), "int64"))
    if config.reads_history_age:
        inputs.append(TensorSpec("history_age", (1,)))
    return EngineSignature(
        inputs=tuple(inputs),
        outputs=(
            TensorSpec("class_logits", (1, config.num_queries, len(config.class_names))),
            TensorSpec("box_codes", (1, config.num_queries, 10)),
        ),
        states=(StateSpec("history", "bev", (1, config.num_cells, config.embed_dims)),),
    )


def load_network(name: str, entry: ModelEntry) -> tuple[Dfa3dDetector, str]:
    """Build the network and load its weights; without trained weights they are random but repeatable.

    Returns:
        The network in eval mode and the SHA-256 of its weights, for trained ones that of the manifest.
    """
    if importlib.util.find_spec("torch") is None:
        raise EngineError(
            f"model '{name}': building it needs torch, which is not installed; install torch, or export the model "
            "on another machine with 'lift3d export' and give the path of the .onnx file as model"
        )
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save

    from lift3d_ros.models.dfa3d.detector import build_detector

    network = build_detector(model_config(name, entry), seed=entry.seed)
    path = verified_weights_path(name, entry)
    if path is not None:
        try:
            network.load_state_dict(load_file(str(path)), strict=True)
        except (SafetensorError, RuntimeError) as error:
            raise WeightsError(f"{path}: does not fit model '{name}': {' '.join(str(error).split())}") from None
        assert entry.sha256 is not None
        return network, entry.sha256
    weights = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    return network, hashlib.sha256(save(weights)).hexdigest()


def wants_fixed_sizes(backend: str, provider: str = "cpu") -> bool:
    """Return whether a runtime wants the sizes of a graph fixed: all but torch, and ONNX Runtime on a CPU.

    Args:
        provider: of ONNX Runtime.
    """
    return backend not in ("torch", "onnxruntime") or provider != "cpu"


def room_for_pairs(config: Dfa3dConfig, num_cameras: int, *, is_fixed: bool) -> PairCapacity | None:
    """Return the room of a graph for the pairs of a rig that is not known; None takes as many as there are.

    Args:
        is_fixed: for a runtime that wants all sizes fixed. It then computes the free places, too: of a usual rig of six
            cameras more than half. Large grids have fixed sizes in any case.
    """
    if is_fixed or config.num_cells > _LARGEST_GRID_OF_ANY_PAIRS:
        return default_capacity(num_cameras, config)
    return None


def exported_graph(name: str, entry: ModelEntry, num_cameras: int, *, is_fixed: bool, is_remade: bool = False) -> Path:
    """Return the cached graph of a model for a rig that is not known.

    See :func:`room_for_pairs` and :func:`lift3d_ros.engines.graph_cache.cached_graph`.
    """
    config = model_config(name, entry)
    capacity = room_for_pairs(config, num_cameras, is_fixed=is_fixed)
    facts = {
        "config": dataclasses.asdict(config),
        "entry": dataclasses.asdict(entry),
        "signature": bev_signature(config, num_cameras, capacity).to_json(),
    }
    export = functools.partial(export_graph, name, entry, num_cameras, capacity=capacity)
    return cached_graph(f"{name}-{num_cameras}cam", facts, export, is_remade=is_remade)


def export_graph(
    name: str, entry: ModelEntry, num_cameras: int, path: Path, capacity: PairCapacity | None
) -> ModelIdentity:
    """Write the ONNX graph of a model for a fixed number of camera slots, and return which weights it holds.

    Args:
        capacity: room for pairs of a camera and a cell that it sees; None takes any number of them.

    Raises:
        EngineError: torch or onnx is not installed, or the graph deviates from PyTorch.
    """
    network, sha256 = load_network(name, entry)
    missing = [package for package in ("onnx", "onnxscript") if importlib.util.find_spec(package) is None]
    if missing:
        raise EngineError(f"model '{name}': exporting needs {' and '.join(missing)}; install them with pip")
    from lift3d_ros.engines.export import export_onnx

    identity = ModelIdentity(name, sha256, is_trained=entry.weights is not None)
    facts = {
        "name": identity.name,
        "weights_sha256": identity.weights_sha256,
        "is_trained": identity.is_trained,
        "config": dataclasses.asdict(network.config),
    }
    signature = bev_signature(network.config, num_cameras, capacity)
    example = example_inputs(network.config, num_cameras, capacity)
    export_onnx(network, signature, facts, example, path, align=align_queries)
    return identity


def align_queries(expected: Arrays, found: Arrays) -> Arrays:
    """Return the outputs `found` in the order of the queries `expected`: heatmap queries are ranked by score.

    Which place is the last that becomes a query, rounding may decide: of the lowest ranks, those that are not among
    `found` are taken as expected.
    """
    distances = np.abs(expected["box_codes"][0][:, None] - found["box_codes"][0][None]).sum(-1)
    nearest = distances.argmin(1)
    is_missing = distances[:, nearest].argmin(0) != np.arange(len(nearest))  # another query is nearer to that one
    is_missing[: max(len(nearest) - _RANKS_AT_THE_CUT, 0)] = False
    aligned = {name: array[:, nearest] for name, array in found.items()}
    for name, array in aligned.items():
        array[:, is_missing] = expected[name][:, is_missing]
    return aligned


def example_inputs(
    config: Dfa3dConfig, num_cameras: int, capacity: PairCapacity | None = None
) -> dict[str, NDArray[Any]]:
    """Return noise pictures on a ring of plausible cameras, for tracing, comparing and timing engines."""
    generator = np.random.default_rng(0)
    height, width = config.scaled_size
    focal = 0.8 * width
    intrinsics = np.array([[focal, 0, width / 2, 0], [0, focal, height / 2, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    projections = []
    for yaw in np.linspace(0, 2 * np.pi, num_cameras, endpoint=False):
        c, s = np.cos(yaw), np.sin(yaw)
        cam_from_model = np.array([[s, -c, 0, 0], [0, 0, -1, 1.5 - config.frame_origin[2]], [c, s, 0, 0], [0, 0, 0, 1]])
        projections.append(intrinsics @ cam_from_model)
    image_from_model = np.stack(projections).astype(np.float32)
    pairs = find_visible_pairs(image_from_model, config)
    if capacity is None:  # an exporter takes a size of 1 for a fixed one
        capacity = PairCapacity(pairs.num_pairs, max(pairs.pairs_of_cell.shape[1], 2))
    pairs = pad_pairs(pairs, capacity)
    if config.ego_input == "can_bus":
        ego = np.zeros((1, CAN_BUS_LENGTH), dtype=np.float32)
        ego[0, [0, 16, 17]] = 1.0, 0.3, 2.0
    else:
        ego = np.eye(4, dtype=np.float32)[None].copy()
        ego[0, 0, 3] = 1.0
    inputs: dict[str, NDArray[Any]] = {
        "images": generator.integers(0, 256, (num_cameras, 3, config.image_height, config.image_width), dtype=np.uint8),
        "image_from_model": image_from_model,
        "pair_camera": pairs.camera,
        "pair_cell": pairs.cell,
        "pairs_of_cell": pairs.pairs_of_cell,
        "ego": ego,
        "history_valid": np.ones(1, dtype=np.float32),
    }
    if config.camera_names:
        inputs["camera_rows"] = np.arange(num_cameras) % len(config.camera_names)
    if config.reads_history_age:
        inputs["history_age"] = np.full(1, 0.5, dtype=np.float32)
    return inputs
