"""Measures every model that has weights with every backend that is installed, one process after the other."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Literal, cast

from lift3d_ros.bench.model_run import RunAnswer, ask_model_run
from lift3d_ros.bench.result_file import BenchSettings, ModelResult, NotRun
from lift3d_ros.bench.subjects import measured_methods
from lift3d_ros.errors import Lift3dError
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.weights.manifest import find_model, known_models

logger = logging.getLogger(__name__)


def models_with_weights() -> tuple[str, ...]:
    """Return the names of the models of the manifests that are trained and that a pipeline runs.

    Raises:
        ConfigError: a manifest is damaged.
    """
    return tuple(
        model.name
        for model in known_models()
        if model.entry.weights is not None and not model.problem and model.entry.method in measured_methods()
    )


def measure_models(
    models: Sequence[str], backends: Sequence[str], settings: BenchSettings
) -> tuple[list[ModelResult], list[NotRun]]:
    """Measure each model with each backend; one that cannot run is reported, and the others go on.

    The repeats go through all models in turn, so that a slow minute of the machine meets all of them.

    Raises:
        WeightsError: no such model.
    """
    for model in models:
        find_model(model)
    not_run: list[NotRun] = []
    answers: dict[tuple[str, str], list[RunAnswer]] = {}
    for model, backend in _pairs(models, backends):
        try:  # the first start exports the graph, where the cache lacks it
            ask_model_run(model, _engine(backend, settings), 0.0, ())
        except Lift3dError as error:
            logger.warning("%s with %s is left out: %s", model, backend, error)
            not_run.append(NotRun(model, backend, str(error)))
            continue
        answers[model, backend] = []
    for number in range(settings.repeats):
        for (model, backend), found in answers.items():
            logger.info("%s with %s, %d of %d", model, backend, number + 1, settings.repeats)
            found.append(ask_model_run(model, _engine(backend, settings), settings.seconds, settings.rates_hz))
    results = [
        ModelResult(model, backend, repeats[0].workload, tuple(repeats))
        for (model, backend), repeats in answers.items()
    ]
    return results, not_run


def _pairs(models: Sequence[str], backends: Sequence[str]) -> Iterator[tuple[str, str]]:
    return ((model, backend) for model in models for backend in backends)


def _engine(backend: str, settings: BenchSettings) -> EngineConfig:
    if backend == "torch":
        return EngineConfig("torch", settings.device, settings.precision, threads=settings.threads)
    return EngineConfig(cast('Literal["onnxruntime", "openvino"]', backend), threads=settings.threads)
