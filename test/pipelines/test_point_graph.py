"""Exported point encoders: equal to PyTorch for any number of crops, found again in the cache, without torch."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from point_clouds import SOURCE, ellipsoid, write_encoder

from lift3d_ros.engines import graph_cache
from lift3d_ros.engines.tensorrt_operators import check_operators
from lift3d_ros.errors import EngineError
from lift3d_ros.models.i2p_mae.config import EncoderConfig
from lift3d_ros.pipelines import point_graph
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.engine_subjects import engine_subjects
from lift3d_ros.pipelines.point_encoder import PointEncoderConfig, open_point_encoder
from lift3d_ros.pipelines.point_engine import open_point_engine, open_point_source
from lift3d_ros.pipelines.point_graph import cached_point_graph, example_crops, export_point_graph, points_signature
from lift3d_ros.pipelines.point_network import PointSource, load_point_network

THREAD = EngineConfig(threads=1)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "points.onnx"
    export_point_graph(SOURCE, path)
    return path


def test_one_graph_equals_torch_for_any_number_of_crops(graph: Path) -> None:
    expected = open_point_source(SOURCE, dataclasses.replace(THREAD, backend="torch"))
    found = open_point_engine(str(graph), THREAD)
    assert found.config == SOURCE.config
    assert found.engine.signature == points_signature(SOURCE.config)
    for crops in (1, 2, 7):
        inputs = example_crops(SOURCE.config, crops)
        results = [opened.engine.run(inputs, opened.engine.new_state()) for opened in (expected, found)]
        for name in ("descriptor", "tokens"):
            assert results[0][name].shape[0] == crops
            error = np.abs(results[0][name] - results[1][name]).max()
            assert error < 1e-4 * np.abs(results[0][name]).max()


def test_a_published_kind_with_radii_and_dropped_tokens_is_exported_too(tmp_path: Path) -> None:
    encoder = dataclasses.replace(
        SOURCE.config.encoder, drops_unused_tokens=True, local_radii=(0.3, 0.6, 0.0), has_norms=False
    )
    source = PointSource("published", dataclasses.replace(SOURCE.config, encoder=encoder, pooling="mean_plus_max"))
    export_point_graph(source, tmp_path / "published.onnx")  # compares with PyTorch before it is written
    inputs = example_crops(source.config, 4)
    opened = (
        open_point_source(source, dataclasses.replace(THREAD, backend="torch")),
        open_point_engine(str(tmp_path / "published.onnx"), THREAD),
    )
    runs = [item.engine.run(inputs, item.engine.new_state()) for item in opened]
    for name in ("descriptor", "tokens"):
        assert np.abs(runs[0][name] - runs[1][name]).max() < 1e-4 * np.abs(runs[0][name]).max()


def test_a_graph_says_whose_weights_it_holds(graph: Path) -> None:
    identity = open_point_engine(str(graph), THREAD).identity
    assert (identity.name, identity.is_trained, identity.backend) == ("small", False, "onnxruntime")
    assert identity.weights_sha256 == load_point_network(SOURCE)[1].weights_sha256


def test_a_model_is_exported_once_and_found_again(tmp_path: Path, graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFT3D_CACHE_DIR", str(tmp_path))
    exports = []

    def export(source: PointSource, path: Path) -> None:
        exports.append(source.name)
        path.write_bytes(graph.read_bytes())

    monkeypatch.setattr(point_graph, "export_point_graph", export)
    for _ in range(2):
        opened = open_point_source(SOURCE, dataclasses.replace(THREAD, backend="onnxruntime"))
        assert opened.identity.backend == "onnxruntime"
    assert exports == ["small"]
    other = dataclasses.replace(SOURCE, seed=9)
    assert cached_point_graph(other) != cached_point_graph(SOURCE)
    cached_point_graph(SOURCE).write_bytes(b"damaged")
    assert open_point_source(SOURCE, THREAD).identity.backend == "onnxruntime"  # made again
    assert exports == ["small", "small", "small"]


def test_a_change_of_the_source_code_makes_another_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFT3D_CACHE_DIR", str(tmp_path))
    first = graph_cache.cached_graph("a", {}, lambda path: path.write_bytes(b"1"))
    assert graph_cache.cached_graph("a", {}, lambda path: path.write_bytes(b"2")) == first
    assert first.read_bytes() == b"1"
    monkeypatch.setattr(graph_cache, "_source_digest", lambda: b"changed")
    assert graph_cache.cached_graph("a", {}, lambda path: path.write_bytes(b"3")) != first


def test_a_cache_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LIFT3D_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(EngineError, match="name another one in LIFT3D_CACHE_DIR"):
        cached_point_graph(SOURCE)


def test_weights_of_a_training_run_with_torch_by_default(tmp_path: Path) -> None:
    path = write_encoder(tmp_path / "best.safetensors")
    encoder = open_point_encoder(PointEncoderConfig(model=str(path), num_threads=1))
    assert (encoder.identity.name, encoder.identity.is_trained, encoder.identity.backend) == ("best", True, "torch")


def test_a_graph_runs_where_torch_is_not_installed(graph: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "cloud.npy", ellipsoid(300))
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "import numpy as np\n"
        "from lift3d_ros.pipelines.point_encoder import *\n"
        f"encoder = open_point_encoder(PointEncoderConfig(model={str(graph)!r}, num_threads=1))\n"
        f"frame = PointCloudFrame(np.load({str(tmp_path / 'cloud.npy')!r}))\n"
        "print(encoder.infer(encoder.prepare(frame)).features[0].descriptor.shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "(108,)", done.stderr


def test_graphs_of_other_methods_and_other_backends_are_refused(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot run the exported graph"):
        open_point_engine(str(graph), dataclasses.replace(THREAD, backend="torch"))
    with pytest.raises(EngineError, match="no such file"):
        open_point_engine(str(tmp_path / "none.onnx"), THREAD)


def test_a_device_that_would_be_ignored_is_refused_and_torch_is_taken_where_there_is_a_choice(graph: Path) -> None:
    elsewhere = dataclasses.replace(THREAD, device="cuda:77")
    for call in (
        lambda: open_point_engine(str(graph), elsewhere),
        lambda: open_point_source(SOURCE, dataclasses.replace(elsewhere, backend="onnxruntime")),
    ):
        with pytest.raises(EngineError, match="device 'cuda:77': graphs run with onnxruntime on the CPU"):
            call()
    with pytest.raises(EngineError, match="'cuda:77': torch cannot use it"):
        open_point_source(SOURCE, elsewhere)


def test_the_sizes_of_a_graph_are_those_of_its_groups() -> None:
    config = dataclasses.replace(SOURCE.config, encoder=EncoderConfig(dims=(12, 18, 30), depths=(1, 1, 1)))
    signature = points_signature(config)
    assert [spec.shape for spec in signature.inputs] == [(None, 40, 8, 3), (None, 70, 3), (None, 20 * 5 + 10 * 4)]
    assert [spec.shape for spec in signature.outputs] == [(None, 2 * (12 + 18 + 30)), (None, 10, 30)]


def test_tensorrt_takes_the_operators_and_the_examples_lie_within_the_sizes_of_its_engines(graph: Path) -> None:
    (subject,) = engine_subjects(str(graph), 6, is_fixed=True)
    assert check_operators(subject.graph).problems == ()
    assert [example["points"].shape[0] for example in subject.examples] == [1, 3]
    assert [shape[0] for shape in subject.profile["points"]] == [1, 10, 32]
