"""Times whole BEV detectors with random weights on noise pictures: each backend, and the stages in between."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lift3d_ros.bench.memory import ask_fresh_process, peak_of_call
from lift3d_ros.bench.timing import synchronizer, time_interleaved
from lift3d_ros.engines.protocol import Arrays
from lift3d_ros.errors import ConfigError, nearest_name_hint
from lift3d_ros.models.dfa3d.config import PRESETS
from lift3d_ros.models.dfa3d.detector import Dfa3dDetector
from lift3d_ros.pipelines.bev_engine import BevEngine, EngineConfig, open_entry
from lift3d_ros.pipelines.bev_graph import example_inputs, load_network, model_config, untrained_entry

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DetectorBench:
    """What to measure a detector with.

    Args:
        engines: one engine is opened for each; they are timed against each other.
        num_cameras: camera slots, all of them used.
        rounds: timed frames of each engine, after a first one.
    """

    engines: tuple[EngineConfig, ...]
    num_cameras: int = 6
    rounds: int = 5


def check_presets(names: Sequence[str]) -> None:
    """Refuse what cannot be measured, before anything is.

    Raises:
        ConfigError: no such configuration; names the nearest known one.
        EngineError: the configuration needs inputs that engines do not have.
    """
    for name in names:
        if name not in PRESETS:
            raise ConfigError(
                f"--config '{name}' is not known{nearest_name_hint(name, PRESETS)}; known: {', '.join(PRESETS)}"
            )
        model_config(name, untrained_entry(name))


def bench_detector(preset: str, bench: DetectorBench) -> dict[str, Any]:
    """Time consecutive frames of one configuration, with a history that is used; returns plain data.

    Raises:
        EngineError: as :func:`check_presets`, or a backend or device is not there.
    """
    logger.info("measuring the detector: %s", preset)
    engines = {_name_of(config): _open(preset, config, bench.num_cameras) for config in bench.engines}
    frames = {name: functools.partial(_run, engine, _inputs(engine)) for name, engine in engines.items()}
    calls = {name: functools.partial(frame, engines[name].engine.new_state()) for name, frame in frames.items()}
    # An engine returns host arrays, so it has waited for its device.
    timings = time_interleaved(calls, bench.rounds, synchronize=lambda: None)
    fastest = min(timing.min_ms for timing in timings.values())
    errors = _errors(preset, engines, bench)
    figures = {}
    for config in bench.engines:
        timing = timings[_name_of(config)]
        question = {"preset": preset, "num_cameras": bench.num_cameras, "config": dataclasses.asdict(config)}
        figures[_name_of(config)] = {
            **dataclasses.asdict(timing),
            "min_ratio": round(timing.min_ms / fastest, 2),
            "relative_rms_error": errors[_name_of(config)],
            "peak_bytes": ask_fresh_process("lift3d_ros.bench.detector", question),
        }
    return {
        "preset": preset,
        "cameras": bench.num_cameras,
        "engines": figures,
        "torch_stages_median_ms": {
            _name_of(config): _time_stages(preset, config, bench)
            for config in bench.engines
            if config.backend == "torch"
        },
    }


def _name_of(config: EngineConfig) -> str:
    if config.backend != "torch":
        return config.backend
    graph = ", CUDA graph" if config.cuda_graph and config.device.startswith("cuda") else ""
    return f"torch {config.device} {config.precision}{graph}"


def _open(preset: str, config: EngineConfig, num_cameras: int) -> BevEngine:
    return open_entry(f"untrained-{preset}", untrained_entry(preset), config, num_cameras)


def _inputs(engine: BevEngine) -> Arrays:
    return example_inputs(engine.model_config, engine.num_cameras, engine.capacity)


def _run(engine: BevEngine, inputs: Arrays, state: Any) -> None:
    engine.engine.run(inputs, state)


def _errors(preset: str, engines: Mapping[str, BevEngine], bench: DetectorBench) -> dict[str, float]:
    """Return how far the outputs of the third frame are from those of torch in float32, RMS error over RMS value."""
    device = next((config.device for config in bench.engines if config.backend == "torch"), "cpu")
    expected = _third_outputs(_open(preset, EngineConfig("torch", device, cuda_graph=False), bench.num_cameras))
    errors = {}
    for name, engine in engines.items():
        found = _third_outputs(engine)
        errors[name] = max(
            float(np.sqrt(np.mean(np.square(found[output] - array)) / np.mean(np.square(array))))
            for output, array in expected.items()
        )
    return errors


def _third_outputs(engine: BevEngine) -> Arrays:
    state, inputs = engine.engine.new_state(), _inputs(engine)
    for _ in range(2):
        engine.engine.run(inputs, state)
    return engine.engine.run(inputs, state)


def _measure_peak(preset: str, num_cameras: int, config: dict[str, Any]) -> int | None:
    """Return what opening an engine and running two frames takes at its peak, weights included."""
    engine_config = EngineConfig(**config)

    def work() -> None:
        engine = _open(preset, engine_config, num_cameras)
        state, inputs = engine.engine.new_state(), _inputs(engine)
        for _ in range(2):
            engine.engine.run(inputs, state)

    return peak_of_call(work, engine_config.device)


def _time_stages(preset: str, config: EngineConfig, bench: DetectorBench) -> dict[str, float]:
    """Return the median time of each stage in eager mode, milliseconds, with a wait for the device in between."""
    network, _ = load_network(preset, untrained_entry(preset))
    network = network.to(config.device)
    if config.device == "cpu":  # as the engine does
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.threads:
        torch.set_num_threads(config.threads)
    arrays = example_inputs(network.config, bench.num_cameras)
    inputs = {name: torch.from_numpy(array).to(config.device) for name, array in arrays.items()}
    history = torch.zeros(1, network.config.num_cells, network.config.embed_dims, device=config.device)
    precision: torch.dtype = getattr(torch, config.precision)
    times: dict[str, list[float]] = {}
    with (
        torch.inference_mode(),
        torch.autocast(torch.device(config.device).type, precision, enabled=precision != torch.float32),
    ):
        for frame in range(bench.rounds + 1):
            watch = _Watch(config.device)
            history = _run_stages(network, inputs, history, watch)
            if frame:
                for stage, elapsed_ms in watch.times_ms.items():
                    times.setdefault(stage, []).append(elapsed_ms)
    return {stage: round(statistics.median(values), 3) for stage, values in times.items()}


class _Watch:
    """Notes how long each stage took."""

    def __init__(self, device: str) -> None:
        self._synchronize = synchronizer(device)
        self._last = time.perf_counter()
        self.times_ms: dict[str, float] = {}

    def note(self, stage: str) -> None:
        self._synchronize()
        now = time.perf_counter()
        self.times_ms[stage] = (now - self._last) * 1e3
        self._last = now


def _run_stages(network: Dfa3dDetector, inputs: dict[str, Tensor], history: Tensor, watch: _Watch) -> Tensor:
    """Run the stages that make up the forward pass, and return the BEV map."""
    camera_rows = inputs.get("camera_rows")
    features = network.backbone(network.image_input(inputs["images"]))
    maps = network.pyramid(features)
    watch.note("features")
    scores = network.depth_scores(maps, inputs["image_from_model"])
    watch.note("depth")
    cameras = network.embed_cameras(maps, scores, inputs["image_from_model"], camera_rows)
    pairs = network.place_pillars(
        inputs["image_from_model"], inputs["pair_camera"], inputs["pair_cell"], inputs["pairs_of_cell"]
    )
    watch.note("projection")
    age = inputs.get("history_age")
    bev = network.encode(cameras, pairs, inputs["ego"], inputs["history_valid"], history, age)
    watch.note("encoder")
    boxes = network.decoder(bev)[-1]
    watch.note("decoder")
    if network.refinement is not None:
        sample = torch.zeros(len(maps[0]), dtype=torch.int64, device=bev.device)
        network.refinement(network.window_features(features, maps), *boxes, inputs["image_from_model"], sample)
        watch.note("refinement")
    return bev


if __name__ == "__main__":
    print(json.dumps(_measure_peak(**json.loads(sys.argv[1]))))
