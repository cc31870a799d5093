"""A pipeline that opens a TensorRT engine has it compared with float32 first, on a stand-in of TensorRT."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
for package in ("torch", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from fake_tensorrt import FakeDevice, fake_tensorrt  # noqa: E402

from lift3d_ros.engines import tensorrt_builder  # noqa: E402
from lift3d_ros.engines.engine_cache import EngineCache  # noqa: E402
from lift3d_ros.engines.numerics import RefusedEngineError  # noqa: E402
from lift3d_ros.engines.tensorrt_api import load_tensorrt  # noqa: E402
from lift3d_ros.pipelines import task_scores  # noqa: E402
from lift3d_ros.pipelines.bev_engine import EngineConfig  # noqa: E402
from lift3d_ros.pipelines.skeleton_engine import open_lfm_source  # noqa: E402
from lift3d_ros.pipelines.skeleton_graph import untrained_lfm  # noqa: E402


@pytest.fixture(autouse=True)
def trt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("LIFT3D_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tensorrt_builder, "CudaDevice", lambda index: FakeDevice())
    module = fake_tensorrt()
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    load_tensorrt.cache_clear()
    yield module
    load_tensorrt.cache_clear()


@pytest.mark.slow  # the stand-in computes each output several times
def test_the_verdict_of_a_lifter_lies_in_the_cache_and_a_worse_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    source, config = untrained_lfm("lift3d-lfm-small"), EngineConfig(backend="tensorrt", precision="float16")
    strict = task_scores.Limit("PA-MPJPE / size", 1e-9, "", is_error=True)
    with monkeypatch.context() as changed:
        changed.setattr(task_scores, "SKELETON_ERROR", strict)
        with pytest.raises(RefusedEngineError, match=r"in float16 on tensorrt is refused: PA-MPJPE / size"):
            open_lfm_source(source, config)
    (record,) = EngineCache().records()
    assert record.facts["verdict"]["is_accepted"] is False
    exact = open_lfm_source(source, EngineConfig(backend="tensorrt"))
    assert exact.identity.backend == "tensorrt"
    assert all(record.facts["verdict"]["errors"] for record in EngineCache().records())
