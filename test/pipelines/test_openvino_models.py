"""Each shipped model runs on OpenVINO as the pipeline of its task opens it, and gives what PyTorch gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lift3d_ros.engines.recording import compare, record
from lift3d_ros.pipelines.bev_engine import EngineConfig, open_bev_engine
from lift3d_ros.pipelines.engine_subjects import engine_subject
from lift3d_ros.pipelines.object_engine import (
    field_signature,
    find_lrm,
    load_lrm_network,
    open_lrm_engine,
    planes_signature,
)
from lift3d_ros.pipelines.object_graph import example_picture, example_points, export_lrm_graphs
from lift3d_ros.pipelines.point_engine import open_point_engine
from lift3d_ros.pipelines.skeleton_engine import open_lfm_engine

for package in ("torch", "onnx", "onnxscript", "onnxruntime", "openvino"):
    pytest.importorskip(package, reason=f"{package} is not installed")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

NUM_CAMERAS = 6
TOLERANCE = 1e-3  # that of ONNX Runtime at every export
TORCH, OPENVINO = EngineConfig("torch", threads=1), EngineConfig("openvino", threads=1)


def open_bev(model: str, config: EngineConfig) -> Any:
    return open_bev_engine(model, config, NUM_CAMERAS)


@pytest.mark.parametrize(
    ("model", "open_model"),
    [
        ("lift3d-bev-tiny", open_bev),
        ("lift3d-lfm", open_lfm_engine),
        ("lift3d-points-small", open_point_engine),
    ],
)
def test_a_model_gives_what_it_gives_in_torch(model: str, open_model: Any) -> None:
    subject = engine_subject(model, NUM_CAMERAS)
    expected, found = open_model(model, TORCH), open_model(model, OPENVINO)
    assert found.identity.backend == "openvino"
    recording = record(expected.engine, "", subject.examples)
    comparison = compare(found.engine, recording, subject.align)
    assert comparison.error < TOLERANCE, comparison


def test_the_object_reconstructor_gives_what_it_gives_in_torch(tmp_path: Path) -> None:
    source, path = find_lrm("lift3d-lrm-tiny"), tmp_path / "lrm.onnx"
    network, identity = load_lrm_network(source)
    signatures = planes_signature(source.config), field_signature(source.config)
    export_lrm_graphs(network, identity, *signatures, path)
    expected, found = open_lrm_engine("lift3d-lrm-tiny", TORCH), open_lrm_engine(str(path), OPENVINO)
    assert found.identity.backend == "openvino"
    for engines, example in (
        ((expected.planes, found.planes), example_picture(source.config)),
        ((expected.field, found.field), example_points(signatures[0].outputs[0].shape, 500)),
    ):
        comparison = compare(engines[1], record(engines[0], "", [example]))
        assert comparison.error < TOLERANCE, comparison
