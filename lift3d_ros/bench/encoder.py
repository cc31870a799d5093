"""Times point encoders with random weights over the number of crops: preparing them, the network, and both together."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from lift3d_ros.bench.memory import ask_fresh_process, peak_of_call
from lift3d_ros.bench.timing import Timing, time_interleaved
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.point_encoder import PointCloudFrame, PointEncoder, PointEncoderConfig, PreparedClouds
from lift3d_ros.pipelines.point_engine import open_point_source
from lift3d_ros.pipelines.point_network import untrained_points
from lift3d_ros.types import Boxes3D, PointFeatureSet

logger = logging.getLogger(__name__)

_PREPARE = "prepare"
_NETWORK, _PIPELINE, _OVERLAPPED = "network", "pipeline", "overlapped"
_SPACING_M, _BOX_M = 4.0, 2.2


@dataclass(frozen=True)
class EncoderBench:
    """What to measure an encoder with.

    Args:
        engines: one engine is opened for each; they are timed against each other.
        crops: numbers of objects in a cloud; each is a case.
        points: of each object.
        rounds: timed calls of each, after a first one.
    """

    engines: tuple[EngineConfig, ...]
    crops: tuple[int, ...] = (1, 10)
    points: int = 2048
    rounds: int = 7


def bench_encoder(preset: str, bench: EncoderBench) -> dict[str, Any]:
    """Time one configuration; returns plain data, times in milliseconds.

    Raises:
        ConfigError: no such configuration.
        EngineError: a backend or device is not there.
    """
    logger.info("measuring the encoder: %s", preset)
    encoders = {_name_of(config): _open(preset, config) for config in bench.engines}
    largest = {"preset": preset, "crops": max(bench.crops), "points": bench.points}
    return {
        "preset": preset,
        "points": bench.points,
        "reduced_to": next(iter(encoders.values())).network.num_points,
        "cases": [_case(encoders, crops, bench) for crops in bench.crops],
        "peak_bytes": {
            _name_of(config): ask_fresh_process(
                "lift3d_ros.bench.encoder", {**largest, "config": dataclasses.asdict(config)}
            )
            for config in bench.engines
        },
    }


def _case(encoders: dict[str, PointEncoder], crops: int, bench: EncoderBench) -> dict[str, Any]:
    frame = scene_of(crops, bench.points)
    calls: dict[str, Callable[[], object]] = {}
    with ThreadPoolExecutor(1) as pool:
        for name, encoder in encoders.items():
            prepared = encoder.prepare(frame)
            calls.setdefault(_PREPARE, functools.partial(encoder.prepare, frame))
            calls[f"{name}, {_NETWORK}"] = functools.partial(encoder.infer, prepared)
            calls[f"{name}, {_PIPELINE}"] = functools.partial(_encode, encoder, frame)
            calls[f"{name}, {_OVERLAPPED}"] = functools.partial(_overlap, pool, encoder, frame, prepared)
        # An engine returns host arrays, so it has waited for its device.
        timings = time_interleaved(calls, bench.rounds, synchronize=lambda: None)
    return {
        "crops": crops,
        "times": {
            name: {**dataclasses.asdict(timing), "min_ratio": round(timing.min_ms / _fastest(timings, name), 2)}
            for name, timing in timings.items()
        },
        "relative_rms_error": _errors(encoders, frame),
    }


def _fastest(timings: dict[str, Timing], name: str) -> float:
    """Return the shortest time of the same kind of call."""
    kind = name.rpartition(", ")[2]
    return max(1e-3, min(timing.min_ms for other, timing in timings.items() if other.rpartition(", ")[2] == kind))


def _name_of(config: EngineConfig) -> str:
    return config.backend if config.backend != "torch" else f"torch {config.device} {config.precision}"


def _open(preset: str, config: EngineConfig) -> PointEncoder:
    return PointEncoder(open_point_source(untrained_points(preset), config), PointEncoderConfig(max_crops=1000))


def _encode(encoder: PointEncoder, frame: PointCloudFrame) -> PointFeatureSet:
    return encoder.infer(encoder.prepare(frame))


def _overlap(pool: ThreadPoolExecutor, encoder: PointEncoder, frame: PointCloudFrame, prepared: PreparedClouds) -> None:
    """Encode a cloud while the next one is prepared, as the node does."""
    coming = pool.submit(encoder.prepare, frame)
    encoder.infer(prepared)
    coming.result()


def _errors(encoders: dict[str, PointEncoder], frame: PointCloudFrame) -> dict[str, float]:
    """Return how far the tokens of each engine are from those of torch, else of the first, RMS error over RMS value."""
    found = {name: np.stack([item.tokens for item in _encode(one, frame).features]) for name, one in encoders.items()}
    expected = found[next((name for name in found if name.startswith("torch")), next(iter(found)))]
    size = float(np.sqrt(np.mean(np.square(expected)))) or 1.0
    return {name: float(np.sqrt(np.mean(np.square(tokens - expected)))) / size for name, tokens in found.items()}


def scene_of(crops: int, points: int) -> PointCloudFrame:
    """Return a cloud with so many ellipsoids in a row, each in a box of its own."""
    rng = np.random.default_rng((crops, points))
    shapes = rng.standard_normal((crops, points, 3))
    shapes *= rng.uniform(0.2, 1.0, (crops, 1, 3)) / np.linalg.norm(shapes, axis=2, keepdims=True)
    centers = np.zeros((crops, 3))
    centers[:, 0] = _SPACING_M * np.arange(crops)
    boxes = Boxes3D(
        "bench", ("object",), centers, np.full((crops, 3), _BOX_M), np.zeros(crops), np.zeros((crops, 2)),
        np.ones(crops), np.zeros(crops, np.int64),
    )  # fmt: skip
    return PointCloudFrame((shapes + centers[:, None]).reshape(-1, 3).astype(np.float32), "bench", 0, boxes)


def _measure_peak(preset: str, crops: int, points: int, config: dict[str, Any]) -> int | None:
    """Return what opening an encoder and encoding two clouds takes at its peak, weights included."""
    engine_config = EngineConfig(**config)

    def work() -> None:
        encoder = _open(preset, engine_config)
        for _ in range(2):
            _encode(encoder, scene_of(crops, points))

    return peak_of_call(work, engine_config.device)


if __name__ == "__main__":
    print(json.dumps(_measure_peak(**json.loads(sys.argv[1]))))
