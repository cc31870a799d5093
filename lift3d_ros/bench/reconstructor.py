"""Times object reconstructors with random weights: their two networks, and each stage from picture to mesh.

Random weights have no shape, so the density is that of a known one; the network is asked all the same.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from lift3d_ros.bench.memory import ask_fresh_process, peak_of_call
from lift3d_ros.bench.timing import time_interleaved
from lift3d_ros.engines.device_tensor import host_array, take
from lift3d_ros.engines.protocol import Arrays, Engine, EngineSignature, EngineState, Inputs, Tensors
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.object_engine import (
    LrmEngine,
    LrmSource,
    field_signature,
    load_lrm_network,
    open_lrm_engine,
    open_lrm_source,
    planes_signature,
    untrained_lrm,
)
from lift3d_ros.pipelines.object_graph import example_picture, example_points, export_lrm_graphs
from lift3d_ros.pipelines.object_reconstruction import ObjectFrame, ObjectReconstructionConfig, ObjectReconstructor
from lift3d_ros.pipelines.object_surface import SurfaceConfig

logger = logging.getLogger(__name__)

_PICTURE_PX = 512
# In halves of the cube's side: a ring in the plane z = 0, and a ball above it.
_RING_RADIUS, _RING_THICKNESS = 0.6, 0.2
_BALL_CENTER, _BALL_RADIUS = (0.0, 0.0, 0.55), 0.3
_STEEPNESS = 20.0


@dataclass(frozen=True)
class ReconstructorBench:
    """What to measure a reconstructor with.

    Args:
        engines: one engine is opened for each; they are timed against each other.
        rounds: timed calls of each, after a first one.
    """

    engines: tuple[EngineConfig, ...]
    surface: SurfaceConfig = field(default_factory=SurfaceConfig)
    rounds: int = 7


def bench_reconstructor(preset: str, bench: ReconstructorBench) -> dict[str, Any]:
    """Time one configuration; returns plain data, times in milliseconds.

    Raises:
        ConfigError: no such configuration.
        EngineError: a backend or device is not there, or the graph deviates from PyTorch.
    """
    logger.info("measuring the reconstructor: %s", preset)
    source = untrained_lrm(preset)
    with TemporaryDirectory(prefix="lift3d-bench-") as folder:
        graph = Path(folder) / "lrm.onnx"
        if any(config.backend == "onnxruntime" for config in bench.engines):
            network, identity = load_lrm_network(source)
            signatures = planes_signature(source.config), field_signature(source.config)
            export_lrm_graphs(network, identity, *signatures, graph)
            del network
        engines = {_name_of(config): _open(source, config, graph) for config in bench.engines}
        errors = _errors(engines)
        networks = _time_networks(engines, bench)
        figures, queries = {}, 0
        for config in bench.engines:
            name = _name_of(config)
            stages, queries = _time_stages(engines[name], bench)
            question = {
                "preset": preset,
                "config": dataclasses.asdict(config),
                "surface": dataclasses.asdict(bench.surface),
                "graph": str(graph),
            }
            figures[name] = {
                "total_median_ms": round(sum(stages.values()), 3),
                "stages_median_ms": stages,
                "networks": networks[name],
                "relative_rms_error": errors[name],
                "peak_bytes": ask_fresh_process("lift3d_ros.bench.reconstructor", question),
            }
    dense = (bench.surface.resolution + 1) ** 3
    return {
        "preset": preset,
        "resolution": bench.surface.resolution,
        "max_faces": bench.surface.max_faces,
        "adaptive_queries": queries,
        "dense_queries": dense,
        "dense_over_adaptive": round(dense / queries, 2),
        "engines": figures,
    }


class KnownShape:
    """A field whose network is asked, and whose density is that of a ring with a ball above it.

    Args:
        level: density at the surface.
    """

    def __init__(self, field: Engine, half_side: float, level: float) -> None:
        self._field, self._half_side, self._level = field, half_side, level

    @property
    def name(self) -> str:
        """Backend name."""
        return self._field.name

    @property
    def signature(self) -> EngineSignature:
        """Declared tensors."""
        return self._field.signature

    def new_state(self) -> EngineState:
        """Return fresh state buffers."""
        return self._field.new_state()

    def run(self, inputs: Inputs, state: EngineState) -> Arrays:
        """Run the network, and put the known density in place of its own."""
        outputs = self._field.run(inputs, state)
        points = host_array("points", take("points", inputs["points"])) / self._half_side
        across = np.hypot(points[..., 0], points[..., 1]) - _RING_RADIUS
        ring = _RING_THICKNESS - np.hypot(across, points[..., 2])
        ball = _BALL_RADIUS - np.linalg.norm(points - np.array(_BALL_CENTER, dtype=np.float32), axis=-1)
        density = self._level * np.exp(_STEEPNESS * np.maximum(ring, ball))
        return {**outputs, "density": density.astype(np.float32)}

    def run_on_device(self, inputs: Inputs, state: EngineState) -> Tensors:
        """Run as :meth:`run`; the known density is made in host memory."""
        return self.run(inputs, state)


def _open(source: LrmSource, config: EngineConfig, graph: Path) -> LrmEngine:
    return open_lrm_engine(str(graph), config) if config.backend == "onnxruntime" else open_lrm_source(source, config)


def _name_of(config: EngineConfig) -> str:
    return config.backend if config.backend != "torch" else f"torch {config.device} {config.precision}"


def _run(engine: Engine, inputs: Arrays) -> Arrays:
    return engine.run(inputs, engine.new_state())


def _errors(engines: Mapping[str, LrmEngine]) -> dict[str, dict[str, float]]:
    """Return how far outputs of each engine are from those of torch, else of the first, RMS error over RMS value."""
    first = next((name for name in engines if name.startswith("torch")), next(iter(engines)))
    config = engines[first].config
    points = example_points(planes_signature(config).outputs[0].shape, 1000)
    found = {
        name: {**_run(engine.planes, example_picture(config)), **_run(engine.field, points)}
        for name, engine in engines.items()
    }
    return {
        name: {
            output: float(np.sqrt(np.mean(np.square(array - expected)) / np.mean(np.square(expected))))
            for (output, array), expected in zip(outputs.items(), found[first].values(), strict=True)
        }
        for name, outputs in found.items()
    }


def _time_networks(engines: Mapping[str, LrmEngine], bench: ReconstructorBench) -> dict[str, dict[str, Any]]:
    """Return the times of both networks of each engine, in turns: one picture, one piece of points."""
    calls: dict[str, Callable[[], object]] = {}
    for name, engine in engines.items():
        points = example_points(planes_signature(engine.config).outputs[0].shape, bench.surface.points_at_once)
        calls[f"{name}/planes"] = functools.partial(_run, engine.planes, example_picture(engine.config))
        calls[f"{name}/field of {bench.surface.points_at_once} points"] = functools.partial(_run, engine.field, points)
    # An engine returns host arrays, so it has waited for its device.
    timings = time_interleaved(calls, bench.rounds, synchronize=lambda: None)
    networks: dict[str, dict[str, Any]] = {name: {} for name in engines}
    for key, timing in timings.items():
        name, _, part = key.partition("/")
        networks[name][part] = dataclasses.asdict(timing)
    return networks


def reconstructor_of(engine: LrmEngine, surface: SurfaceConfig) -> ObjectReconstructor:
    """Return a reconstructor that finds the surface of a known shape, whatever the network makes of the picture."""
    facts = engine.config.field
    shaped = dataclasses.replace(engine, field=KnownShape(engine.field, facts.half_side, facts.surface_density))
    return ObjectReconstructor(shaped, ObjectReconstructionConfig(surface=surface))


def round_object() -> ObjectFrame:
    """Return a random picture with a round object."""
    picture = np.random.default_rng(0).integers(0, 256, (_PICTURE_PX, _PICTURE_PX, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:_PICTURE_PX, :_PICTURE_PX] - _PICTURE_PX // 2
    return ObjectFrame(picture, mask=np.hypot(rows, columns) < 0.4 * _PICTURE_PX)


def _time_stages(engine: LrmEngine, bench: ReconstructorBench) -> tuple[dict[str, float], int]:
    """Return the median time of each stage, milliseconds, and how many points of the field were asked for."""
    reconstructor, frame, queries = reconstructor_of(engine, bench.surface), round_object(), 0
    times: dict[str, list[float]] = {}
    for number in range(bench.rounds + 1):
        result = reconstructor.infer(reconstructor.prepare(frame))
        queries = result.num_queries
        for stage, seconds in result.timings_s.items() if number else ():
            times.setdefault(stage, []).append(1e3 * seconds)
    return {stage: round(statistics.median(values), 3) for stage, values in times.items()}, queries


def _measure_peak(preset: str, config: dict[str, Any], surface: dict[str, Any], graph: str) -> int | None:
    """Return what opening an engine and reconstructing an object takes at its peak, weights included."""
    engine_config = EngineConfig(**config)

    def work() -> None:
        engine = _open(untrained_lrm(preset), engine_config, Path(graph))
        reconstructor = reconstructor_of(engine, SurfaceConfig(**surface))
        reconstructor.infer(reconstructor.prepare(round_object()))

    return peak_of_call(work, engine_config.device)


if __name__ == "__main__":
    print(json.dumps(_measure_peak(**json.loads(sys.argv[1]))))
