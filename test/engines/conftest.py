"""A small graph, and stand-ins of TensorRT that run it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lift3d_ros.engines.tensorrt_api import load_tensorrt
from lift3d_ros.engines.tensorrt_builder import EngineRequest


@pytest.fixture(scope="session")
def mixer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx", reason="onnx is not installed")
    from mixer_graph import write_mixer

    path = tmp_path_factory.mktemp("mixer") / "mixer.onnx"
    write_mixer(path)
    return path


@pytest.fixture
def install() -> Iterator[Callable[..., Any]]:
    """Return a function that puts a stand-in of TensorRT where it is imported from."""
    pytest.importorskip("onnx", reason="onnx is not installed")
    from fake_tensorrt import fake_tensorrt

    before = {name: sys.modules.get(name) for name in ("tensorrt", "tensorrt_rtx")}

    def put(name: str = "tensorrt", version: str = "10.3.0", **changes: Any) -> Any:
        module = fake_tensorrt(name, version)
        for key, value in changes.items():
            setattr(module, key, value)
        sys.modules[name] = module
        load_tensorrt.cache_clear()
        return module

    yield put
    load_tensorrt.cache_clear()
    for name, module in before.items():
        sys.modules.pop(name, None)
        if module is not None:
            sys.modules[name] = module


@pytest.fixture
def request_mixer(mixer: Path) -> Callable[..., EngineRequest]:
    from mixer_graph import MIXER_PROFILE

    def make(**changes: Any) -> EngineRequest:
        values = {"model": "mixer", "graph": mixer, "backend": "tensorrt", "profile": MIXER_PROFILE, **changes}
        return EngineRequest(**values)

    return make
