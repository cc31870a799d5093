"""Settings of the point encoder in the groups and under the names that all nodes have, for the node and replay."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lift3d_ros.config import setting
from lift3d_ros.errors import WeightsError
from lift3d_ros.pipelines.backends import Backend
from lift3d_ros.pipelines.network_graph import check_graph_file
from lift3d_ros.pipelines.point_classifier import load_classifier
from lift3d_ros.pipelines.point_encoder import MOST_THREADS, PointEncoderConfig
from lift3d_ros.pipelines.point_network import find_points
from lift3d_ros.types import ModelIdentity


@dataclass(frozen=True)
class EncoderConfig:
    """What is encoded, and what is made of it."""

    max_crops: int = setting(
        PointEncoderConfig.max_crops, "of more boxes in a cloud, those with the highest scores are encoded", minimum=1,
        maximum=1000,
    )  # fmt: skip
    classifier: str = setting(
        PointEncoderConfig.classifier, "classifier.safetensors of 'lift3d fit-classifier'; empty: no classes"
    )


@dataclass(frozen=True)
class RuntimeConfig:
    """How the network is executed."""

    backend: Backend = setting(
        PointEncoderConfig.backend,
        "runtime of the network; auto takes onnxruntime, and torch for weights of a training (.safetensors), for "
        "another device than cpu, or where onnxruntime is not installed",
    )
    device: str = setting(PointEncoderConfig.device, "device of the torch backend, for example cpu or cuda:0")
    threads: int = setting(
        PointEncoderConfig.num_threads,
        "CPU threads of the runtime; 0 lets it choose",
        minimum=0,
        maximum=MOST_THREADS,
    )


def point_encoder_config(model: str, encoder: EncoderConfig, engine: RuntimeConfig) -> PointEncoderConfig:
    """Return what the pipeline takes."""
    return PointEncoderConfig(
        model=model,
        device=engine.device,
        num_threads=engine.threads,
        backend=engine.backend,
        max_crops=encoder.max_crops,
        classifier=encoder.classifier,
    )


def check_point_model(config: PointEncoderConfig) -> None:
    """Refuse a model or a classifier that cannot be opened, as far as that is seen at once.

    Raises:
        WeightsError: unknown model, one of another method, missing or damaged weights; a classifier that is missing or
            was fitted to other weights.
        EngineError: a missing file.
    """
    source = None
    if not config.model.endswith(".onnx"):
        source = find_points(config.model)
    else:
        check_graph_file(config.model)
    if not config.classifier:
        return
    if not Path(config.classifier).is_file():
        raise WeightsError(
            f"classifier '{config.classifier}': no such file; make one with 'lift3d fit-classifier', or leave it empty"
        )
    # Of untrained weights, and of a graph, the hash is known once they are opened; then it is compared.
    if source is not None and source.sha256 is not None:
        identity = ModelIdentity(config.model, source.sha256, is_trained=True)
        load_classifier(Path(config.classifier), identity, source.config.descriptor_dims)
