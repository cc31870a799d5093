"""Each shipped model runs on OpenVINO as the pipeline of its task opens it, and gives what PyTorch gives."""

from __future__ import annotations

from typing import Any

import pytest

from lift3d_ros.engines.recording import compare, record
from lift3d_ros.pipelines.bev_engine import EngineConfig, open_bev_engine
from lift3d_ros.pipelines.engine_subjects import engine_subjects
from lift3d_ros.pipelines.object_engine import (
    open_lrm_engine,
)
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
    (subject,) = engine_subjects(model, NUM_CAMERAS, is_fixed=True)
    expected, found = open_model(model, TORCH), open_model(model, OPENVINO)
    assert found.identity.backend == "openvino"
    recording = record(expected.engine, "", subject.examples)
    comparison = compare(found.engine, recording, subject.align)
    assert comparison.error < TOLERANCE, comparison


def test_the_object_reconstructor_gives_what_it_gives_in_torch() -> None:
    expected, found = open_lrm_engine("lift3d-lrm-tiny", TORCH), open_lrm_engine("lift3d-lrm-tiny", OPENVINO)
    assert found.identity.backend == "openvino"
    planes, field = engine_subjects("lift3d-lrm-tiny", NUM_CAMERAS, is_fixed=True)
    for subject, engines in ((planes, (expected.planes, found.planes)), (field, (expected.field, found.field))):
        comparison = compare(engines[1], record(engines[0], "", subject.examples))
        assert comparison.error < TOLERANCE, comparison
