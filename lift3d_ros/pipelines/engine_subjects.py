"""The models that run as graphs, by name: their graph, the sizes that engines are built for, and inputs to try them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lift3d_ros.config import from_mapping
from lift3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from lift3d_ros.engines.protocol import Arrays, Shapes
from lift3d_ros.errors import EngineError
from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.models.dfa3d.visibility import PairCapacity
from lift3d_ros.models.i2p_mae.config import I2pMaeConfig
from lift3d_ros.pipelines.bev_graph import align_queries, example_inputs, exported_graph
from lift3d_ros.pipelines.point_graph import cached_point_graph, example_crops, points_profile
from lift3d_ros.pipelines.point_network import find_points
from lift3d_ros.pipelines.skeleton_graph import cached_lfm_graph, example_instances, find_lfm, lfm_profile
from lift3d_ros.weights.manifest import find_model, known_models

GRAPH_METHODS = ("dfa3d", "lfm", "i2p_mae")
_BEV_FRAMES = 3  # the first without history, then with one that the engine itself has made


@dataclass(frozen=True, eq=False)
class EngineSubject:
    """One model as a graph.

    Args:
        name: of the engines in the cache; nodes look for them under it.
        profile: input -> smallest, usual and largest shape, for inputs whose sizes may differ.
        examples: inputs of consecutive runs.
        align: brings outputs of equal rank into the same order.
    """

    name: str
    graph: Path
    examples: tuple[Arrays, ...]
    profile: Mapping[str, Shapes] = field(default_factory=dict)
    align: Callable[[Arrays, Arrays], Arrays] = lambda expected, found: found


def graph_models() -> list[str]:
    """Return the names of all models that can be exported."""
    return [model.name for model in known_models() if model.entry.method in GRAPH_METHODS]


def engine_subject(model: str, num_cameras: int) -> EngineSubject:
    """Return the model of that name, exported into the cache where it is not there, or the ``.onnx`` file at that path.

    Args:
        num_cameras: camera slots of a BEV detector; a node has as many as cameras.

    Raises:
        WeightsError: no such model.
        EngineError: the model does not run as a graph, or the export fails.
    """
    if model.endswith(".onnx"):
        path = Path(model)
    else:
        entry = find_model(model)
        if entry.method == "dfa3d":
            path = exported_graph(model, entry, num_cameras)
        elif entry.method == "lfm":
            path = cached_lfm_graph(find_lfm(model))
        elif entry.method == "i2p_mae":
            path = cached_point_graph(find_points(model))
        else:
            raise EngineError(
                f"model '{model}' of method '{entry.method}' runs with torch only; engines are built of "
                f"{', '.join(graph_models())}"
            )
    return _subject_of(path)


def _subject_of(path: Path) -> EngineSubject:
    graph = OnnxRuntimeEngine(path, 1)
    names = graph.signature.input_names
    where = f"{path}: facts of the model"
    if "images" in names:
        config = from_mapping(Dfa3dConfig, graph.facts["config"], where)
        shapes = {spec.name: spec.shape for spec in graph.signature.inputs}
        (cameras, *_), (pairs, *_), (_, per_cell) = (shapes[n] for n in ("images", "pair_camera", "pairs_of_cell"))
        assert cameras is not None
        assert pairs is not None
        assert per_cell is not None
        example = example_inputs(config, cameras, PairCapacity(pairs, per_cell))
        return EngineSubject(path.stem, path, (example,) * _BEV_FRAMES, align=align_queries)
    if "adjacency" in names:
        examples = tuple(example_instances(*size) for size in ((1, 5), (6, 17), (2, 40)))
        return EngineSubject(path.stem, path, examples, lfm_profile())
    if "neighbours" in names:
        points = from_mapping(I2pMaeConfig, graph.facts["config"], where)
        crops = tuple(example_crops(points, count) for count in (1, 3))
        return EngineSubject(path.stem, path, crops, points_profile(points))
    raise EngineError(f"{path}: its inputs ({', '.join(names)}) are those of no model of this package")
