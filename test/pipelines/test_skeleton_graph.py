"""Exported skeleton lifters: equal to PyTorch at any size, found again in the cache, without torch."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from lift3d_ros.engines import tensorrt_api, tensorrt_builder
from lift3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from lift3d_ros.engines.tensorrt_operators import check_operators
from lift3d_ros.engines.torch_engine import TorchEngine
from lift3d_ros.errors import ConfigError, EngineError, WeightsError
from lift3d_ros.models.lfm.config import LfmConfig
from lift3d_ros.pipelines import skeleton_graph
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.engine_subjects import engine_subjects
from lift3d_ros.pipelines.skeleton_engine import open_lfm_engine, open_lfm_source
from lift3d_ros.pipelines.skeleton_graph import (
    LFM_SIGNATURE,
    LfmSource,
    cached_lfm_graph,
    example_instances,
    export_lfm_graph,
    load_lfm_network,
    untrained_lfm,
)
from lift3d_ros.training.export import write_weights

SMALL = LfmSource("small", LfmConfig(width=32, num_layers=2, num_heads=2), seed=5)
SIZES = ((1, 1), (1, 4), (2, 133), (20, 17), (7, 40))


def write_small(path: Path, changes: Mapping[str, object] | None = None) -> Path:
    """Write weights as a training does."""
    network, _ = load_lfm_network(SMALL)
    values = {**dataclasses.asdict(SMALL.config), **(changes or {})}
    facts = {f"network.{name}": value for name, value in values.items()}
    write_weights(path, network.state_dict(), {"method": "lfm", "facts": json.dumps(facts)}, is_half=False)
    return path


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "lifter.onnx"
    export_lfm_graph(SMALL, path)
    return path


def test_one_graph_equals_torch_for_any_number_of_instances_and_joints(graph: Path) -> None:
    network, _ = load_lfm_network(SMALL)
    torch_engine = TorchEngine(network, LFM_SIGNATURE, "cpu", 1)
    engine = OnnxRuntimeEngine(graph, 1)
    assert engine.signature == LFM_SIGNATURE
    for size in SIZES:
        inputs = example_instances(*size)
        expected = torch_engine.run(inputs, torch_engine.new_state())
        found = engine.run(inputs, engine.new_state())
        for name, array in expected.items():
            assert found[name].shape == array.shape
            np.testing.assert_allclose(found[name], array, atol=2e-5, err_msg=f"{name} of {size}")


def test_the_block_of_the_figure_is_exported_and_equal(tmp_path: Path) -> None:
    source = LfmSource("figure", LfmConfig(width=16, num_layers=1, num_heads=2, block="figure"), seed=5)
    export_lfm_graph(source, tmp_path / "figure.onnx")  # compares with PyTorch before it is written
    assert OnnxRuntimeEngine(tmp_path / "figure.onnx", 1).signature == LFM_SIGNATURE


def test_a_graph_says_whose_weights_it_holds(graph: Path) -> None:
    opened = open_lfm_engine(str(graph), EngineConfig(threads=1))
    assert (opened.identity.name, opened.identity.is_trained) == ("small", False)
    assert opened.identity.backend == "onnxruntime"
    assert opened.identity.weights_sha256 == load_lfm_network(SMALL)[1].weights_sha256


def test_weights_of_a_training_open_by_their_path_with_the_network_that_their_header_names(tmp_path: Path) -> None:
    path = write_small(tmp_path / "best.safetensors")
    opened = open_lfm_engine(str(path), EngineConfig(threads=1))
    assert (opened.identity.name, opened.identity.is_trained, opened.identity.backend) == ("best", True, "torch")
    inputs = example_instances(2, 9)
    network, _ = load_lfm_network(SMALL)
    expected = TorchEngine(network, LFM_SIGNATURE, "cpu", 1)
    np.testing.assert_array_equal(
        opened.engine.run(inputs, opened.engine.new_state())["shape"],
        expected.run(inputs, expected.new_state())["shape"],
    )


@pytest.mark.parametrize(
    ("changes", "words"), [({"width": 64}, "does not fit model"), ({"wide": 1}, "belongs to another release")]
)
def test_a_header_that_does_not_fit_is_named(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    path = write_small(tmp_path / "best.safetensors", changes)
    with pytest.raises(WeightsError, match=words):
        open_lfm_engine(str(path), EngineConfig())


def test_a_file_that_is_no_safetensors_is_named(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"not weights")
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        open_lfm_engine(str(path), EngineConfig())


def test_onnxruntime_exports_a_model_once_and_finds_it_again(
    tmp_path: Path, graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFT3D_CACHE_DIR", str(tmp_path))
    exports = []

    def export(source: LfmSource, path: Path) -> None:
        exports.append(source.name)
        path.write_bytes(graph.read_bytes())

    monkeypatch.setattr(skeleton_graph, "export_lfm_graph", export)
    for _ in range(2):
        opened = open_lfm_source(SMALL, EngineConfig("onnxruntime", threads=1))
        assert opened.identity.backend == "onnxruntime"
    assert exports == ["small"]
    assert open_lfm_source(SMALL, EngineConfig(threads=1)).identity.backend == "onnxruntime"  # by default
    other = dataclasses.replace(SMALL, seed=6)
    assert cached_lfm_graph(other) != cached_lfm_graph(SMALL)
    assert exports == ["small", "small"]


def test_a_graph_runs_where_torch_is_not_installed(graph: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from lift3d_ros.pipelines.bev_engine import EngineConfig\n"
        "from lift3d_ros.pipelines.skeleton_engine import open_lfm_engine\n"
        f"opened = open_lfm_engine({str(graph)!r}, EngineConfig(threads=1))\n"
        "from lift3d_ros.pipelines.skeleton_graph import example_instances\n"
        "print(opened.engine.run(example_instances(3, 12), opened.engine.new_state())['shape'].shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "(3, 12, 3)", done.stderr


def test_an_unknown_configuration_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'lift3d-lfm-small'"):
        untrained_lfm("lift3d-lfm-smal")


def test_tensorrt_takes_the_operators_and_the_examples_lie_within_the_sizes_of_its_engines(graph: Path) -> None:
    (subject,) = engine_subjects(str(graph), 6, is_fixed=True)
    assert check_operators(subject.graph).problems == ()
    for example in subject.examples:
        for name, array in example.items():
            smallest, _, largest = subject.profile[name]
            assert all(low <= size <= high for low, size, high in zip(smallest, array.shape, largest, strict=True))


def test_a_lifter_runs_on_tensorrt_and_larger_sets_on_the_fallback(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fake_tensorrt import FakeDevice, fake_tensorrt

    monkeypatch.setenv("LIFT3D_CACHE_DIR", str(tmp_path))
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt())
    monkeypatch.setattr(tensorrt_builder, "CudaDevice", lambda index: FakeDevice())
    tensorrt_api.load_tensorrt.cache_clear()
    opened = open_lfm_engine(str(graph), EngineConfig("tensorrt", precision="float16"))
    tensorrt_api.load_tensorrt.cache_clear()
    assert opened.identity.backend == "tensorrt"
    reference = open_lfm_engine(str(graph), EngineConfig("onnxruntime", threads=1)).engine
    for size, bound in (((6, 17), 2e-2), ((65, 5), 1e-6)):
        inputs = example_instances(*size)
        found = opened.engine.run(inputs, opened.engine.new_state())["shape"]
        expected = reference.run(inputs, reference.new_state())["shape"]
        assert np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2)) < bound


def test_asking_for_tensorrt_where_it_is_not_installed_says_how_to_get_it(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    tensorrt_api.load_tensorrt.cache_clear()
    with pytest.raises(EngineError, match=r"python3-libnvinfer of JetPack.*set engine\.backend to onnxruntime"):
        open_lfm_engine(str(graph), EngineConfig("tensorrt"))
