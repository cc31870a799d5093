"""Opens the engine of the BEV detector: model name and backend in, loaded graph and model facts out.

With ONNX Runtime a graph is exported once into the cache folder and found again without torch; the
path of an exported ``.onnx`` file is accepted in place of a model name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

import lift3d_ros
from lift3d_ros.config import from_mapping, setting
from lift3d_ros.engines.protocol import Engine, EngineSignature, StateSpec, TensorSpec
from lift3d_ros.errors import EngineError, WeightsError, nearest_name_hint
from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.resources import cache_dir
from lift3d_ros.types import ModelIdentity
from lift3d_ros.weights.manifest import ModelEntry, find_model, verified_weights_path

if TYPE_CHECKING:
    from lift3d_ros.models.dfa3d.detector import Dfa3dDetector

_BACKENDS = ("onnxruntime", "torch")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineConfig:
    """How the network is executed."""

    backend: Literal["auto", "onnxruntime", "torch"] = setting(
        "auto", "runtime of the network; auto takes onnxruntime, and torch where onnxruntime is not installed"
    )
    device: str = setting("cpu", "device of the torch backend, for example cpu or cuda:0")
    threads: int = setting(0, "CPU threads of the runtime; 0 lets it choose", minimum=0, maximum=256)


@dataclass(frozen=True, eq=False)
class BevEngine:
    """A loaded engine with what the pipeline has to know about its model."""

    engine: Engine
    model_config: Dfa3dConfig
    identity: ModelIdentity

    @property
    def num_cameras(self) -> int:
        """Number of camera slots; unused ones are masked."""
        return self.engine.signature.inputs[0].shape[0]


def open_bev_engine(model: str, config: EngineConfig, num_cameras: int) -> BevEngine:
    """Load the model called `model` (or the ``.onnx`` file at that path) for `num_cameras` cameras.

    Raises:
        WeightsError: unknown model, missing or damaged weights.
        EngineError: the backend is not installed, or the graph has too few camera slots.
    """
    backend = choose_backend(config.backend)
    if model.endswith(".onnx"):
        return _open_graph(Path(model), config, num_cameras)
    entry = find_model(model)
    if backend == "onnxruntime":
        return _open_cached_graph(model, entry, config, num_cameras)
    from lift3d_ros.engines.torch_engine import TorchEngine

    network, sha256 = load_network(model, entry)
    engine = TorchEngine(network, bev_signature(network.config, num_cameras), config.device, config.threads)
    identity = ModelIdentity(model, sha256, is_trained=entry.weights is not None, backend=engine.name)
    return BevEngine(engine, network.config, identity)


def check_model(model: str, config: EngineConfig) -> None:
    """Refuse at once what `open_bev_engine` would refuse after a while.

    Raises:
        WeightsError, EngineError: as there.
    """
    choose_backend(config.backend)
    if not model.endswith(".onnx"):
        entry = find_model(model)
        model_config(model, entry)
        verified_weights_path(model, entry)
    elif not Path(model).is_file():
        raise EngineError(f"model '{model}': no such file; give the path of an exported graph, or a model name")


def choose_backend(requested: str) -> str:
    """Return the backend to use.

    Raises:
        EngineError: unknown name, or the requested backend, for ``auto`` every backend, is not installed.
    """
    if requested not in ("auto", *_BACKENDS):
        raise EngineError(
            f"engine.backend '{requested}' is not known{nearest_name_hint(requested, _BACKENDS)}; "
            f"expected auto, {' or '.join(_BACKENDS)}"
        )
    candidates = _BACKENDS if requested == "auto" else (requested,)
    for name in candidates:
        if importlib.util.find_spec(name) is not None:
            return name
    raise EngineError(
        f"engine.backend '{requested}': none of {', '.join(candidates)} is installed for this Python; "
        f"install one, for example 'pip install {candidates[0]}'"
    )


def bev_signature(config: Dfa3dConfig, num_cameras: int) -> EngineSignature:
    """Return the tensors of the detector graph for a fixed number of camera slots."""
    cells = config.bev_height * config.bev_width
    history = (cells, config.embed_dims)
    return EngineSignature(
        inputs=(
            TensorSpec("images", (num_cameras, 3, config.image_height, config.image_width), "uint8"),
            TensorSpec("image_from_base", (num_cameras, 4, 4)),
            TensorSpec("camera_mask", (num_cameras,)),
            TensorSpec("T_history_current", (4, 4)),
            TensorSpec("history_valid", ()),
        ),
        outputs=(
            TensorSpec("class_logits", (config.num_queries, len(config.class_names))),
            TensorSpec("box_codes", (config.num_queries, 10)),
        ),
        states=(StateSpec("history", "bev", history),),
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


def model_config(name: str, entry: ModelEntry) -> Dfa3dConfig:
    """Return the configuration that the manifest names for a model.

    Raises:
        WeightsError: the entry is not a BEV detector or names no known preset.
    """
    if entry.method != "dfa3d" or entry.preset != "tiny":
        raise WeightsError(
            f"model '{name}': method '{entry.method}' with preset '{entry.preset}' is not a BEV detector; "
            "expected method 'dfa3d' with preset 'tiny'"
        )
    return Dfa3dConfig.tiny()


def exported_graph(name: str, entry: ModelEntry, num_cameras: int) -> Path:
    """Return the cached graph of a model, exporting it first where the cache does not hold it.

    Raises:
        EngineError: the cache folder cannot be written, or the export fails.
    """
    config = model_config(name, entry)
    path = cache_dir() / "onnx" / f"{name}-{num_cameras}cam-{_graph_key(config, entry, num_cameras)}.onnx"
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not path.is_file():
                logger.info("exporting %s for %d cameras to %s", name, num_cameras, path)
                export_graph(name, entry, num_cameras, path)
    except OSError as error:
        raise EngineError(
            f"{path.parent}: cannot write to the cache folder ({error.strerror or error}); "
            "name another one in LIFT3D_CACHE_DIR"
        ) from None
    return path


def export_graph(name: str, entry: ModelEntry, num_cameras: int, path: Path) -> None:
    """Write the ONNX graph of a model for a fixed number of camera slots.

    Raises:
        EngineError: torch or onnx is not installed, or the graph deviates from PyTorch.
    """
    network, sha256 = load_network(name, entry)
    missing = [package for package in ("onnx", "onnxscript") if importlib.util.find_spec(package) is None]
    if missing:
        raise EngineError(f"model '{name}': exporting needs {' and '.join(missing)}; install them with pip")
    from lift3d_ros.engines.export import export_onnx

    facts = {
        "name": name,
        "weights_sha256": sha256,
        "is_trained": entry.weights is not None,
        "config": dataclasses.asdict(network.config),
    }
    signature = bev_signature(network.config, num_cameras)
    export_onnx(network, signature, facts, _example_inputs(network.config, num_cameras), path)


def _open_cached_graph(name: str, entry: ModelEntry, config: EngineConfig, num_cameras: int) -> BevEngine:
    """Open the cached graph of a model; one that does not load is exported again where torch is installed."""
    path = exported_graph(name, entry, num_cameras)
    try:
        return _open_graph(path, config, num_cameras)
    except EngineError as error:
        if importlib.util.find_spec("torch") is None:
            raise
        logger.warning("%s; doing so now", error)
    with FileLock(f"{path}.lock"):
        export_graph(name, entry, num_cameras, path)
    return _open_graph(path, config, num_cameras)


def _open_graph(path: Path, config: EngineConfig, num_cameras: int) -> BevEngine:
    from lift3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine

    engine = OnnxRuntimeEngine(path, config.threads)
    slots = engine.signature.inputs[0].shape[0]
    if slots < num_cameras:
        raise EngineError(
            f"{path}: the graph has {slots} camera slots, the rig has {num_cameras} cameras; "
            f"export it again with --cameras {num_cameras}"
        )
    facts = engine.facts
    model_facts = from_mapping(Dfa3dConfig, facts["config"], f"{path}: facts of the model")
    identity = ModelIdentity(facts["name"], facts["weights_sha256"], facts["is_trained"], backend=engine.name)
    return BevEngine(engine, model_facts, identity)


def _graph_key(config: Dfa3dConfig, entry: ModelEntry, num_cameras: int) -> str:
    """Hash everything that decides the graph, without importing torch."""
    sources = sorted(
        path
        for room in ("models", "ops", "engines")
        for path in (Path(lift3d_ros.__file__).parent / room).rglob("*.py")
    )
    digest = hashlib.sha256()
    for path in sources:
        digest.update(path.read_bytes())
    readable = [dataclasses.asdict(config), dataclasses.asdict(entry), num_cameras]
    digest.update(json.dumps(readable, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def _example_inputs(config: Dfa3dConfig, num_cameras: int) -> dict[str, NDArray[Any]]:
    """Return noise pictures on a ring of plausible cameras, for tracing and comparing graphs."""
    generator = np.random.default_rng(0)
    focal = 0.8 * config.image_width
    intrinsics = np.array(
        [[focal, 0, config.image_width / 2, 0], [0, focal, config.image_height / 2, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    )
    projections = []
    for yaw in np.linspace(0, 2 * np.pi, num_cameras, endpoint=False):
        c, s = np.cos(yaw), np.sin(yaw)
        cam_from_base = np.array([[s, -c, 0, 0], [0, 0, -1, 1.5], [c, s, 0, 0], [0, 0, 0, 1]])
        projections.append(intrinsics @ cam_from_base)
    T_history_current = np.eye(4, dtype=np.float32)
    T_history_current[0, 3] = 1.0
    return {
        "images": generator.integers(0, 256, (num_cameras, 3, config.image_height, config.image_width), dtype=np.uint8),
        "image_from_base": np.stack(projections).astype(np.float32),
        "camera_mask": np.ones(num_cameras, dtype=np.float32),
        "T_history_current": T_history_current,
        "history_valid": np.ones((), dtype=np.float32),
    }
