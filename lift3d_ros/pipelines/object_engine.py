"""Opens the network of the object reconstructor: model name in, engines for planes and field out."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lift3d_ros.engines.graph_cache import cached_graph
from lift3d_ros.engines.open_graph import GraphRuntime, open_graph, open_or_remake
from lift3d_ros.engines.protocol import Engine, EngineSignature, TensorSpec
from lift3d_ros.errors import EngineError, WeightsError
from lift3d_ros.models.lrm.config import CAMERA_NUMBERS, PRESETS, LrmConfig, preset
from lift3d_ros.pipelines.bev_engine import (
    EngineConfig,
    choose_backend,
    graph_runtime,
    refuse_ignored_settings,
    runtime_of,
)
from lift3d_ros.pipelines.engine_judge import graph_judge
from lift3d_ros.pipelines.network_graph import identity_in
from lift3d_ros.pipelines.network_source import NetworkSource, load_weights, preset_called
from lift3d_ros.pipelines.object_graph import GRAPH_ENDING, export_lrm_graphs, field_path, field_profile, plain_config
from lift3d_ros.types import Float32Array, Float64Array, ModelIdentity
from lift3d_ros.weights.manifest import ModelEntry, find_model, known_models, verified_weights_path

if TYPE_CHECKING:
    from lift3d_ros.models.lrm.field import TriplaneField
    from lift3d_ros.models.lrm.network import Lrm
    from lift3d_ros.models.lrm.occupancy import Occupancy
    from lift3d_ros.models.lrm.stages import PictureToPlanes

_OURS = "lift3d-"


LrmSource = NetworkSource[LrmConfig]


@dataclass(frozen=True, eq=False)
class LrmEngine:
    """A loaded network.

    Args:
        planes: pictures to planes, with the signature of :func:`planes_signature`.
        field: planes and points to density and colour, with the signature of :func:`field_signature`.
        encoder, triplane_field: the same as modules, for progress and views; None for an exported graph.
    """

    planes: Engine
    field: Engine
    config: LrmConfig
    identity: ModelIdentity
    encoder: PictureToPlanes | None = None
    triplane_field: TriplaneField | None = None

    def watch(self, on_layer: Callable[[float], object]) -> None:
        """Call a function with the share that is done before each layer of the next pictures; it may raise to stop.

        An exported graph runs in one piece, and calls nothing.
        """
        if self.encoder is not None:
            self.encoder.on_layer = on_layer

    def find_occupancy(self, planes: Float32Array, on_piece: Callable[[float], object]) -> Occupancy | None:
        """Return where a field holds anything, so that its views take less time; see ``models/lrm/occupancy.py``."""
        if self.triplane_field is None:
            return None
        from lift3d_ros.models.lrm.stages import occupancy_of

        return occupancy_of(self.triplane_field, planes, on_piece)

    def render(
        self,
        planes: Float32Array,
        T_object_camera: Float64Array,
        intrinsics: Float64Array,
        side: int,
        occupancy: Occupancy | None = None,
    ) -> Iterator[Float32Array]:
        """Yield a rendered picture in bands; see :func:`lift3d_ros.models.lrm.stages.render_bands`.

        Raises:
            EngineError: the network is an exported graph.
        """
        if self.triplane_field is None:
            raise EngineError(
                f"model '{self.identity.name}': views of the field are rendered with PyTorch, and this is an exported "
                "graph; give the name of the model, or look at pictures of the mesh"
            )
        from lift3d_ros.models.lrm.stages import render_bands

        return render_bands(
            self.triplane_field, planes, T_object_camera, intrinsics, side, self.config.render, occupancy=occupancy
        )


def planes_signature(config: LrmConfig) -> EngineSignature:
    """Return the tensors of the network without its field; the camera is an input of every model, used or not."""
    side, decoder = config.image.side, config.decoder
    texels = decoder.plane_side * decoder.upsampling
    return EngineSignature(
        inputs=(TensorSpec("images", (1, 3, side, side)), TensorSpec("cameras", (1, CAMERA_NUMBERS))),
        outputs=(TensorSpec("planes", (1, 3, decoder.channels, texels, texels)),),
    )


def field_signature(config: LrmConfig) -> EngineSignature:
    """Return the tensors of the field, for any number of points."""
    return EngineSignature(
        inputs=(planes_signature(config).outputs[0], TensorSpec("points", (1, None, 3))),
        outputs=(TensorSpec("density", (1, None)), TensorSpec("color", (1, None, 3))),
    )


def find_lrm(model: str) -> LrmSource:
    """Return the network called `model` in a manifest, or one of our own configurations with random weights.

    Raises:
        WeightsError: no such model; or weights that are missing, damaged or belong to another method.
    """
    is_known = any(known.name == model for known in known_models())
    if not is_known and model in PRESETS:
        config = preset(model)
        assert config is not None
        if model.startswith(_OURS):
            return LrmSource(model, config)
        raise WeightsError(
            f"model '{model}': its weights are published by others and are not here; get them, and take them over with "
            f"'lift3d weights import FILE --as {model}'"
        )
    entry = find_model(model)
    return LrmSource(model, _config_of(model, entry), verified_weights_path(model, entry), entry.sha256, entry.seed)


def untrained_lrm(preset_name: str) -> LrmSource:
    """Return a preset with random weights, for exporting and timing it.

    Raises:
        ConfigError: no such preset; names the nearest one.
    """
    return LrmSource(preset_name, preset_called(preset_name, preset, PRESETS))


def check_lrm(model: str, config: EngineConfig) -> None:
    """Refuse a model that cannot be opened, as far as that is seen at once.

    Raises:
        WeightsError: unknown model, missing or damaged weights.
        EngineError: the backend is not installed or does not fit the model.
    """
    if model.endswith(GRAPH_ENDING):
        _check_graphs(Path(model), config)
    else:
        refuse_ignored_settings(_backend(config), config)
        find_lrm(model)


def open_lrm_engine(model: str, config: EngineConfig) -> LrmEngine:
    """Load a model by its name in a manifest, an exported graph, or one of our own configurations with random weights.

    PyTorch runs a model where `config` leaves the choice, since it can be stopped between two layers and renders views.
    For another backend a model is exported once into the cache folder.

    Raises:
        WeightsError: unknown model, missing or damaged weights.
        EngineError: the backend is not installed or does not fit the model, or a graph is missing or damaged.
    """
    if model.endswith(GRAPH_ENDING):
        _check_graphs(Path(model), config)
        return _open_graphs(Path(model), graph_runtime(model, config))
    return open_lrm_source(find_lrm(model), config)


def open_lrm_source(source: LrmSource, config: EngineConfig) -> LrmEngine:
    """Load a network that need not stand in a manifest; otherwise as :func:`open_lrm_engine`."""
    backend = _backend(config)
    refuse_ignored_settings(backend, config)
    if backend != "torch":
        return open_or_remake(
            lambda is_remade: cached_lrm_graphs(source, is_remade=is_remade),
            functools.partial(_open_graphs, runtime=runtime_of(backend, config)),
        )
    network, identity = load_lrm_network(source)
    from lift3d_ros.engines.torch_engine import TorchEngine
    from lift3d_ros.models.lrm.stages import PictureToPlanes, PointsToField

    encoder = PictureToPlanes(network)
    planes = TorchEngine(encoder, planes_signature(source.config), config.device, config.threads, config.precision)
    # Coordinates and densities of the field need all digits of float32, and it is small.
    field = TorchEngine(PointsToField(network.field), field_signature(source.config), config.device, config.threads)
    identity = dataclasses.replace(identity, backend=planes.name)
    return LrmEngine(planes, field, source.config, identity, encoder, network.field)


def load_lrm_network(source: LrmSource) -> tuple[Lrm, ModelIdentity]:
    """Build the network and load its weights; without trained weights they are random but repeatable.

    Returns:
        The network in eval mode, and whose weights it has.

    Raises:
        EngineError: torch or safetensors is not installed.
        WeightsError: the weights do not fit the network.
    """
    missing = [package for package in ("torch", "safetensors") if importlib.util.find_spec(package) is None]
    if missing:
        raise EngineError(
            f"model '{source.name}': running it needs {' and '.join(missing)}, not installed for this Python; "
            f"'pip install {' '.join(missing)}'"
        )
    from lift3d_ros.models.lrm.network import build_lrm

    network = build_lrm(source.config, source.seed)
    return network, load_weights(network, source)


def cached_lrm_graphs(source: LrmSource, *, is_remade: bool = False) -> Path:
    """Return the cached graph from picture to planes, beside which that of the field lies.

    See :func:`lift3d_ros.engines.graph_cache.cached_graph`.
    """
    planes, asked = planes_signature(source.config), field_signature(source.config)
    facts = {
        "config": plain_config(source.config),
        "sha256": source.sha256,
        "seed": source.seed,
        "signatures": [planes.to_json(), asked.to_json()],
    }

    def export(path: Path) -> None:
        network, identity = load_lrm_network(source)
        export_lrm_graphs(network, identity, planes, asked, path)

    path = cached_graph(source.name, facts, export, is_remade=is_remade)
    return path if field_path(path).is_file() else cached_graph(source.name, facts, export, is_remade=True)


def _backend(config: EngineConfig) -> str:
    """Return the backend of a model that is no graph.

    Raises:
        EngineError: it is not installed.
    """
    return choose_backend("torch" if config.backend == "auto" else config.backend)


def _check_graphs(path: Path, config: EngineConfig) -> None:
    graph_runtime(str(path), config)
    for needed in (path, field_path(path)):
        if not needed.is_file():
            raise EngineError(
                f"model '{path}': no file {needed}; 'lift3d export lrm' writes both graphs of a model: keep them "
                "together"
            )


def _open_graphs(path: Path, runtime: GraphRuntime) -> LrmEngine:
    """Open the two graphs of a model."""
    of_field = field_path(path)
    planes = open_graph(path.stem, path, runtime, judge=graph_judge(path))
    # Coordinates and densities of the field need all digits of float32, and it is small.
    runtime = dataclasses.replace(runtime, precision="float32")
    profile = field_profile(planes.signature.outputs[0].shape)
    field = open_graph(of_field.stem, of_field, runtime, profile, graph_judge(of_field))
    facts = planes.facts
    lrm_config = preset(str(facts.get("preset", "")))
    if lrm_config is None or facts.get("config") != plain_config(lrm_config):
        raise EngineError(
            f"{path}: is no object reconstructor of this release; export the model again with 'lift3d export lrm'"
        )
    if field.facts != facts:
        raise EngineError(
            f"{of_field}: belongs to another model than {path}; export the model again with 'lift3d export lrm'"
        )
    return LrmEngine(planes, field, lrm_config, identity_in(facts, planes.name))


def _config_of(name: str, entry: ModelEntry) -> LrmConfig:
    config = preset(entry.preset) if entry.method == "lrm" else None
    if config is None:
        raise WeightsError(
            f"model '{name}': method '{entry.method}' with preset '{entry.preset}' does not reconstruct objects; "
            f"expected method 'lrm' with one of the presets {', '.join(PRESETS)}"
        )
    return config
