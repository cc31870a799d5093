"""Exported models of all methods build as TensorRT-RTX engines ahead of time, without a GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed (pip install tensorrt_rtx)")
for package in ("torch", "onnx", "onnxscript"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from dfa3d_configs import PUBLISHED, SMALL  # noqa: E402

from lift3d_ros.engines.engine_cache import EngineCache, EngineRecord  # noqa: E402
from lift3d_ros.engines.export import export_onnx  # noqa: E402
from lift3d_ros.engines.protocol import Shapes  # noqa: E402
from lift3d_ros.engines.quantization import GraphQuantizer  # noqa: E402
from lift3d_ros.engines.tensorrt_builder import EngineRequest, Precision, build_ahead  # noqa: E402
from lift3d_ros.geometry.rig import load_rig  # noqa: E402
from lift3d_ros.models.dfa3d.config import Dfa3dConfig, preset  # noqa: E402
from lift3d_ros.models.dfa3d.detector import build_detector  # noqa: E402
from lift3d_ros.models.dfa3d.visibility import default_capacity  # noqa: E402
from lift3d_ros.models.lfm.config import PRESETS as LFM_PRESETS  # noqa: E402
from lift3d_ros.pipelines.bev_graph import bev_signature, example_inputs, export_graph, untrained_entry  # noqa: E402
from lift3d_ros.pipelines.object_engine import (  # noqa: E402
    field_signature,
    load_lrm_network,
    planes_signature,
    untrained_lrm,
)
from lift3d_ros.pipelines.object_graph import export_lrm_graphs, field_path, field_profile  # noqa: E402
from lift3d_ros.pipelines.point_graph import export_point_graph, points_profile  # noqa: E402
from lift3d_ros.pipelines.point_network import untrained_points  # noqa: E402
from lift3d_ros.pipelines.rig_capacity import rig_capacity  # noqa: E402
from lift3d_ros.pipelines.skeleton_graph import example_instances, export_lfm_graph, lfm_profile, untrained_lfm  # noqa: E402

Build = Callable[..., EngineRecord]
TARGETS = ("SM86", "SM89", "SM120")


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Return a function that builds a graph for three generations of GPUs and returns the record of the engine."""

    def make(
        graph: Path, profile: Mapping[str, Shapes] | None = None, precision: Precision = "float16"
    ) -> EngineRecord:
        request = EngineRequest(graph.stem, graph, "tensorrt_rtx", precision, profile or {}, TARGETS)
        return build_ahead(request, EngineCache(tmp_path / "engines"))

    return make


@pytest.mark.parametrize("config", [SMALL, PUBLISHED], ids=["ours", "published"])
def test_a_detector_of_every_kind_builds(tmp_path: Path, build: Build, config: Dfa3dConfig) -> None:
    path = tmp_path / "detector.onnx"
    capacity = default_capacity(2, config)
    export_onnx(
        build_detector(config, seed=0),
        bev_signature(config, 2, capacity),
        {},
        example_inputs(config, 2, capacity),
        path,
    )
    assert build(path).facts["16bit_layers"] > 10


@pytest.mark.parametrize("name", LFM_PRESETS)
def test_a_lifter_builds_for_any_number_of_instances_and_joints(tmp_path: Path, build: Build, name: str) -> None:
    path = tmp_path / f"{name}.onnx"
    export_lfm_graph(untrained_lfm(name), path)
    assert build(path, lfm_profile()).facts["16bit_layers"] > 10


def test_a_point_encoder_builds_for_any_number_of_crops(tmp_path: Path, build: Build) -> None:
    path, source = tmp_path / "points.onnx", untrained_points("lift3d-points-small")
    export_point_graph(source, path)
    assert build(path, points_profile(source.config)).facts["16bit_layers"] > 10


def test_an_object_reconstructor_builds_with_its_field_for_any_number_of_points(tmp_path: Path, build: Build) -> None:
    path, source = tmp_path / "lrm.onnx", untrained_lrm("lift3d-lrm-tiny")
    signatures = planes_signature(source.config), field_signature(source.config)
    export_lrm_graphs(*load_lrm_network(source), *signatures, path)
    assert build(path).facts["16bit_layers"] > 10
    assert build(field_path(path), field_profile(signatures[0].outputs[0].shape), "float32").size > 0


def test_a_quantised_lifter_builds_with_int8_and_16_bit_layers(tmp_path: Path) -> None:
    path, quantized = tmp_path / "lfm.onnx", tmp_path / "int8.onnx"
    export_lfm_graph(untrained_lfm("lift3d-lfm-small"), path)
    quantizer = GraphQuantizer(path, [example_instances(6, 17)])
    chosen = [group for group in quantizer.groups if group.name.startswith("blocks")]
    quantized.write_bytes(quantizer.quantize(chosen))
    # The builder refuses a network that has fewer dequantised tensors than the graph has layers in int8.
    request = EngineRequest("lfm", quantized, "tensorrt_rtx", "float16", lfm_profile(), ("SM86",))
    facts = build_ahead(request, EngineCache(tmp_path / "engines")).facts
    assert facts["int8_layers"] == sum(len(group.nodes) for group in chosen)
    assert facts["16bit_layers"] > 0  # the others


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["tiny", "bevformer-tiny", "dfa3d-small", "dfa3d-base"])
def test_every_size_builds(repository: Path, tmp_path: Path, build: Build, name: str) -> None:
    config = preset(name)
    assert config is not None
    path = tmp_path / f"{name}.onnx"
    capacity = rig_capacity(load_rig(repository / "config/rigs/nuscenes_like.yaml"), config)
    export_graph(name, untrained_entry(name), 6, path, capacity)
    assert build(path).size > path.stat().st_size / 3
