"""An executable with --build-only builds the engine of its model on a stand-in of TensorRT, and ends."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import rclpy

pytest.importorskip("torch")
pytest.importorskip("onnx", reason="onnx is not installed")

from fake_tensorrt import FakeDevice, fake_tensorrt

from lift3d_ros.engines import tensorrt_api, tensorrt_builder
from lift3d_ros.launching import BUILD_ONLY
from lift3d_ros.nodes.run import run_nodes
from lift3d_ros.nodes.skeleton_lifting import SkeletonLiftingNode
from lift3d_ros.pipelines.skeleton_graph import export_lfm_graph, untrained_lfm

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "small.onnx"
    export_lfm_graph(untrained_lfm("lift3d-lfm-small"), path)
    return path


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the stand-in in the place of TensorRT; the node's log is taken down again."""
    logger = logging.getLogger("lift3d_ros")
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    monkeypatch.setenv("LIFT3D_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt())
    monkeypatch.setattr(tensorrt_builder, "CudaDevice", lambda index: FakeDevice())
    tensorrt_api.load_tensorrt.cache_clear()
    yield
    tensorrt_api.load_tensorrt.cache_clear()
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)


def build(model: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    parameters = {"model": model, "engine.backend": "tensorrt", "engine.builds_beside": "true"}
    options = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
    monkeypatch.setattr(sys, "argv", ["skeleton_lifting", BUILD_ONLY, "--ros-args", *options])
    return run_nodes([SkeletonLiftingNode])


def test_the_engine_is_built_and_kept_and_no_node_is_left(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert build(graph, monkeypatch) == 0
    assert not rclpy.ok()
    kept = {path for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert any("small" in str(path) for path in kept)
    assert f"building what '{graph}' needs" in capfd.readouterr().out
    # The second time it is found.
    assert build(graph, monkeypatch) == 0
    assert kept == {path for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert "everything is built" in capfd.readouterr().out


def test_a_build_that_fails_is_told_by_the_exit_status(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert build(tmp_path / "nothing.onnx", monkeypatch) == 1
    assert "no such file" in capfd.readouterr().err
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    tensorrt_api.load_tensorrt.cache_clear()
    assert build(graph, monkeypatch) == 1
    assert "skeleton_lifting: error: " in capfd.readouterr().err
    assert not rclpy.ok()
