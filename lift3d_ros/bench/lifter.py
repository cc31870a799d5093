"""Times skeleton lifters with random weights over the number of instances and joints: the network and the pipeline."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lift3d_ros.bench.timing import Timing, time_interleaved
from lift3d_ros.engines.protocol import Arrays
from lift3d_ros.geometry.skeleton import SkeletonFacts
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.skeleton_batches import KeypointFrame, LifterConfig
from lift3d_ros.pipelines.skeleton_engine import LfmEngine, open_lfm_source
from lift3d_ros.pipelines.skeleton_graph import example_instances, untrained_lfm
from lift3d_ros.pipelines.skeleton_lifting import SkeletonLifter, SkeletonLiftingConfig
from lift3d_ros.types import CameraModel, Keypoints2D, Skeleton

logger = logging.getLogger(__name__)

_CAMERA = CameraModel("bench", "bench", 1280, 720, np.array([[900.0, 0, 640], [0, 900.0, 360], [0, 0, 1]]))
_EXTENT_PX = 100.0


@dataclass(frozen=True)
class LifterBench:
    """What to measure a lifter with.

    Args:
        engines: one engine is opened for each; they are timed against each other.
        instances, joints: every pair of both is a case.
        rounds: timed calls of each, after a first one.
    """

    engines: tuple[EngineConfig, ...]
    instances: tuple[int, ...] = (1, 5, 20, 100)
    joints: tuple[int, ...] = (17, 33, 133)
    rounds: int = 7


def bench_lifter(preset: str, bench: LifterBench) -> dict[str, Any]:
    """Time one configuration; returns plain data, times in milliseconds.

    Raises:
        ConfigError: no such configuration.
        EngineError: a backend or device is not there.
    """
    logger.info("measuring the lifter: %s", preset)
    source = untrained_lfm(preset)
    engines = {_name_of(config): open_lfm_source(source, config) for config in bench.engines}
    cases = [(instances, joints) for joints in bench.joints for instances in bench.instances]
    return {
        "preset": preset,
        "cases": [_case(engines, instances, joints, bench.rounds) for instances, joints in cases],
    }


def _case(engines: dict[str, LfmEngine], instances: int, joints: int, rounds: int) -> dict[str, Any]:
    inputs = example_instances(instances, joints)
    frame = frame_of(instances, joints)
    calls: dict[str, Callable[[], object]] = {}
    for name, engine in engines.items():
        calls[f"{name}, network"] = functools.partial(_run, engine, inputs)
        calls[f"{name}, pipeline"] = functools.partial(_lift, _lifter(engine, joints), frame)
    # An engine returns host arrays, so it has waited for its device.
    timings = time_interleaved(calls, rounds, synchronize=lambda: None)
    fastest = {kind: _fastest(timings, kind) for kind in ("network", "pipeline")}
    return {
        "instances": instances,
        "joints": joints,
        "times": {
            name: {
                **dataclasses.asdict(timing),
                "min_ratio": round(timing.min_ms / max(fastest[name.rpartition(", ")[2]], 1e-3), 2),
            }
            for name, timing in timings.items()
        },
        "relative_rms_error": _errors(engines, inputs),
    }


def _fastest(timings: dict[str, Timing], kind: str) -> float:
    return min(timing.min_ms for name, timing in timings.items() if name.endswith(kind))


def _name_of(config: EngineConfig) -> str:
    return config.backend if config.backend != "torch" else f"torch {config.device} {config.precision}"


def _run(engine: LfmEngine, inputs: Arrays) -> Arrays:
    return engine.engine.run(inputs, engine.engine.new_state())


def _errors(engines: dict[str, LfmEngine], inputs: Arrays) -> dict[str, float]:
    """Return how far the shapes of each engine are from those of torch, else of the first, RMS error over RMS value."""
    shapes = {name: _run(engine, inputs)["shape"] for name, engine in engines.items()}
    expected = shapes[next((name for name in shapes if name.startswith("torch")), next(iter(shapes)))]
    size = float(np.sqrt(np.mean(np.square(expected)))) or 1.0
    return {name: float(np.sqrt(np.mean(np.square(shape - expected)))) / size for name, shape in shapes.items()}


def _lifter(engine: LfmEngine, joints: int) -> SkeletonLifter:
    lifter = dataclasses.replace(LifterConfig(), max_joints=max(LifterConfig().max_joints, joints))
    return SkeletonLifter(engine, dataclasses.replace(SkeletonLiftingConfig(), lifter=lifter))


def _lift(lifter: SkeletonLifter, frame: KeypointFrame) -> object:
    return lifter.infer(lifter.prepare(frame))


def frame_of(instances: int, joints: int) -> KeypointFrame:
    """Return a frame of a calibrated camera with so many objects of one random skeleton side by side."""
    rng = np.random.default_rng((instances, joints))
    edges = np.array([[child, int(rng.integers(0, child))] for child in range(1, joints)])
    skeleton = Skeleton("bench", tuple(map(str, range(joints))), edges)
    middles = rng.uniform([200.0, 150.0], [1080.0, 570.0], (instances, 2))
    objects: Sequence[Keypoints2D] = [
        Keypoints2D(middle + _EXTENT_PX * rng.standard_normal((joints, 2)), skeleton="bench", instance_id=number)
        for number, middle in enumerate(middles)
    ]
    return KeypointFrame(0, tuple(objects), {"bench": SkeletonFacts(skeleton)}, camera=_CAMERA)
