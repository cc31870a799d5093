"""The models that run as graphs, by name: their graph, the sizes that engines are built for, and inputs to try them.

Two kinds of inputs: `examples` are noise of various sizes, which any backend must reproduce; `recorded` are scenes, for
which it is known what the outputs are used for.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.config import from_mapping
from lift3d_ros.engines.numerics import Align, Judge, ScoreOf, Verdict, judge
from lift3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from lift3d_ros.engines.protocol import Arrays, Engine, Shapes
from lift3d_ros.engines.recording import Recording, record
from lift3d_ros.errors import EngineError
from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.models.dfa3d.visibility import PairCapacity
from lift3d_ros.models.i2p_mae.config import I2pMaeConfig
from lift3d_ros.models.lrm.config import LrmConfig, preset
from lift3d_ros.pipelines.bev_graph import align_queries, example_inputs, exported_graph, load_network
from lift3d_ros.pipelines.object_engine import cached_lrm_graphs, find_lrm, load_lrm_network
from lift3d_ros.pipelines.object_graph import example_picture, example_points, field_path, field_profile
from lift3d_ros.pipelines.point_graph import cached_point_graph, example_crops, points_profile
from lift3d_ros.pipelines.point_network import find_points, load_point_network
from lift3d_ros.pipelines.recorded_inputs import cloud_inputs, object_inputs, skeleton_inputs, street_inputs
from lift3d_ros.pipelines.skeleton_graph import (
    cached_lfm_graph,
    example_instances,
    find_lfm,
    lfm_profile,
    load_lfm_network,
)
from lift3d_ros.pipelines.task_scores import (
    descriptor_scores,
    detector_scores,
    field_scores,
    planes_scores,
    skeleton_scores,
)
from lift3d_ros.weights.manifest import find_model, known_models

if TYPE_CHECKING:
    from lift3d_ros.engines.torch_engine import TorchEngine

GRAPH_METHODS = ("dfa3d", "lfm", "i2p_mae", "lrm")
_BEV_FRAMES = 3  # the first without history, then with one that the engine itself has made
_GRID_SIDE = 32  # of the points that are asked of a field


@dataclass(frozen=True, eq=False)
class EngineSubject:
    """One model as a graph.

    Args:
        name: of the engines in the cache; nodes look for them under it.
        profile: input -> smallest, usual and largest shape, for inputs whose sizes may differ.
        examples: inputs of consecutive runs.
        align: brings outputs of equal rank into the same order.
        recorded: returns inputs of consecutive runs that were made of scenes; None where there are none.
        score: says what errors of the outputs of `recorded` mean for the task.
    """

    name: str
    graph: Path
    examples: tuple[Arrays, ...]
    profile: Mapping[str, Shapes] = field(default_factory=dict)
    align: Align = lambda expected, found: found
    recorded: Callable[[], tuple[Arrays, ...]] | None = None
    score: ScoreOf = lambda runs: ()

    def judge(self) -> Judge | None:
        """Return what compares an engine with ONNX Runtime in float32 on the recorded scenes; None without scenes.

        The export has compared that with PyTorch, which is not needed here. Scenes are run when the judge is asked.
        """
        recorded = self.recorded
        if recorded is None:
            return None

        def compare_with_float32(engine: Engine) -> Verdict:
            recording = record(OnnxRuntimeEngine(self.graph, 1), "", recorded())
            return judge(engine, recording, self.score, self.align)

        return compare_with_float32


def graph_models() -> list[str]:
    """Return the names of all models that can be exported."""
    return [model.name for model in known_models() if model.entry.method in GRAPH_METHODS]


def engine_subjects(model: str, num_cameras: int, *, is_fixed: bool) -> tuple[EngineSubject, ...]:
    """Return the graphs of a model, exported into the cache where they are not there: two of an object reconstructor.

    Args:
        model: its name, or the path of an exported ``.onnx`` file.
        num_cameras: camera slots of a BEV detector; a node has as many as cameras.
        is_fixed: BEV detector of fixed sizes, see :func:`lift3d_ros.pipelines.bev_graph.room_for_pairs`.

    Raises:
        WeightsError: no such model.
        EngineError: the export fails, or the file is no graph of this package.
    """
    path = Path(model) if model.endswith(".onnx") else _cached_graph(model, num_cameras, is_fixed=is_fixed)
    subject, beside = subject_of_graph(path), field_path(path)
    return (subject, subject_of_graph(beside)) if beside.is_file() else (subject,)


def _cached_graph(model: str, num_cameras: int, *, is_fixed: bool) -> Path:
    entry = find_model(model)
    if entry.method == "dfa3d":
        return exported_graph(model, entry, num_cameras, is_fixed=is_fixed)
    if entry.method == "lfm":
        return cached_lfm_graph(find_lfm(model))
    if entry.method == "i2p_mae":
        return cached_point_graph(find_points(model))
    if entry.method == "lrm":
        return cached_lrm_graphs(find_lrm(model))
    raise EngineError(
        f"model '{model}' of method '{entry.method}' is not exported; engines are built of {', '.join(graph_models())}"
    )


def reference_recording(model: str, subject: EngineSubject, inputs: tuple[Arrays, ...]) -> Recording:
    """Return what the network answers in float32: with PyTorch, or ONNX Runtime where there is only its graph.

    Args:
        model: name of the model whose graph `subject` is, or the path of that graph.
        inputs: of consecutive runs.

    Raises:
        WeightsError, EngineError: as :func:`engine_subjects`.
    """
    if model.endswith(".onnx") or importlib.util.find_spec("torch") is None:
        return record(OnnxRuntimeEngine(subject.graph, 1), "", inputs)
    return record(torch_engine(model, subject, 1), "", inputs)


def torch_engine(
    model: str, subject: EngineSubject, threads: int, device: str = "cpu", precision: str = "float32"
) -> TorchEngine:
    """Return the network that a graph was exported from.

    Raises:
        EngineError: `model` is a graph, torch is not installed, or there is no such device.
    """
    if model.endswith(".onnx"):
        raise EngineError(f"{model}: is a graph, which PyTorch does not run; give the name of the model")
    from lift3d_ros.engines.torch_engine import TorchEngine

    signature = OnnxRuntimeEngine(subject.graph, 1).signature
    return TorchEngine(_network(model, subject), signature, device, threads, precision)


def _network(model: str, subject: EngineSubject) -> Any:
    """Return the module that a graph was exported from."""
    entry = find_model(model)
    if entry.method == "dfa3d":
        return load_network(model, entry)[0]
    if entry.method == "lfm":
        return load_lfm_network(find_lfm(model))[0]
    if entry.method == "i2p_mae":
        from lift3d_ros.models.i2p_mae.grouped_encoder import GroupedEncoder

        source = find_points(model)
        return GroupedEncoder(load_point_network(source)[0], source.config.tokens)
    from lift3d_ros.models.lrm.stages import PlanesGraph, PointsToField

    network = load_lrm_network(find_lrm(model))[0]
    is_field = subject.graph.stem.endswith(".field")
    return PointsToField(network.field) if is_field else PlanesGraph(network)


def subject_of_graph(path: Path) -> EngineSubject:
    """Return the model whose exported graph is at `path`; a quantised graph counts as one.

    Raises:
        EngineError: no graph of this package.
    """
    graph = OnnxRuntimeEngine(path, 1)
    names = graph.signature.input_names
    where = f"{path}: facts of the model"
    if "cameras" in names or "planes" in names:
        return _object_subject(graph, path)
    if "images" in names:
        config = from_mapping(Dfa3dConfig, graph.facts["config"], where)
        shapes = {spec.name: spec.shape for spec in graph.signature.inputs}
        (cameras, *_), (pairs, *_), (_, per_cell) = (shapes[n] for n in ("images", "pair_camera", "pairs_of_cell"))
        assert cameras is not None
        capacity = None if pairs is None or per_cell is None else PairCapacity(pairs, per_cell)
        example = example_inputs(config, cameras, capacity)
        return EngineSubject(
            path.stem,
            path,
            (example,) * _BEV_FRAMES,
            align=align_queries,
            recorded=lambda: street_inputs(graph, config),
            score=detector_scores(config),
        )
    if "adjacency" in names:
        examples = tuple(example_instances(*size) for size in ((1, 5), (6, 17), (2, 40)))
        return EngineSubject(path.stem, path, examples, lfm_profile(), recorded=skeleton_inputs, score=skeleton_scores)
    if "neighbours" in names:
        points = from_mapping(I2pMaeConfig, graph.facts["config"], where)
        crops = tuple(example_crops(points, count) for count in (1, 3))
        return EngineSubject(
            path.stem,
            path,
            crops,
            points_profile(points),
            recorded=lambda: cloud_inputs(points),
            score=descriptor_scores,
        )
    raise EngineError(f"{path}: its inputs ({', '.join(names)}) are those of no model of this package")


def _object_subject(graph: OnnxRuntimeEngine, path: Path) -> EngineSubject:
    """Return one of the two graphs of an object reconstructor; the recorded scenes of either need the other one too."""
    config = preset(str(graph.facts.get("preset", "")))
    if config is None:
        raise EngineError(f"{path}: is no object reconstructor of this release; export the model again")
    is_field = path.stem.endswith(".field")
    planes_path = path.with_name(f"{path.stem.removesuffix('.field')}.onnx") if is_field else path
    density = config.field.surface_density
    if not is_field:
        return EngineSubject(
            path.stem,
            path,
            (example_picture(config),),
            recorded=lambda: object_inputs(config),
            score=planes_scores(lambda planes: _ask(field_path(path), config, planes), density),
        )
    shape = graph.signature.inputs[0].shape

    def points_in_planes() -> tuple[Arrays, ...]:
        planes = OnnxRuntimeEngine(planes_path, 1)
        made = [planes.run(inputs, planes.new_state())["planes"] for inputs in object_inputs(config)]
        return tuple({"planes": one, "points": _grid(config)} for one in made)

    return EngineSubject(
        path.stem,
        path,
        tuple(example_points(shape, count) for count in (1, 4096)),
        field_profile(shape),
        recorded=points_in_planes,
        score=field_scores(density),
    )


def _ask(path: Path, config: LrmConfig, planes: NDArray[np.float32]) -> Arrays:
    field_engine = OnnxRuntimeEngine(path, 1)
    return field_engine.run({"planes": planes, "points": _grid(config)}, field_engine.new_state())


def _grid(config: LrmConfig) -> NDArray[np.float32]:
    """Return points (1, P, 3) that fill the cube of a field."""
    along = (np.arange(_GRID_SIDE) + 0.5) / _GRID_SIDE * 2.0 - 1.0
    places = np.stack(np.meshgrid(along, along, along, indexing="ij"), axis=-1).reshape(1, -1, 3)
    return np.asarray(places * config.field.half_side, dtype=np.float32)
