"""Exported detectors, lifters and point encoders build as TensorRT-RTX engines ahead of time, without a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed (pip install tensorrt_rtx)")
for package in ("torch", "onnx", "onnxscript"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from dfa3d_configs import PUBLISHED, SMALL  # noqa: E402

from lift3d_ros.engines.export import export_onnx  # noqa: E402
from lift3d_ros.geometry.rig import load_rig  # noqa: E402
from lift3d_ros.models.dfa3d.config import Dfa3dConfig, preset  # noqa: E402
from lift3d_ros.models.dfa3d.detector import build_detector  # noqa: E402
from lift3d_ros.models.dfa3d.visibility import default_capacity  # noqa: E402
from lift3d_ros.models.lfm.config import PRESETS as LFM_PRESETS  # noqa: E402
from lift3d_ros.pipelines.bev_graph import bev_signature, example_inputs, export_graph, untrained_entry  # noqa: E402
from lift3d_ros.pipelines.point_graph import example_crops, export_point_graph  # noqa: E402
from lift3d_ros.pipelines.point_network import untrained_points  # noqa: E402
from lift3d_ros.pipelines.rig_capacity import rig_capacity  # noqa: E402
from lift3d_ros.pipelines.skeleton_graph import example_instances, export_lfm_graph, untrained_lfm  # noqa: E402

LOGGER = trt.Logger(trt.Logger.WARNING)  # the first logger of a process serves all builders
TARGETS = ("SM86", "SM89", "SM120")


Shapes = Mapping[str, tuple[int, ...]]


def build(graph: Path, sizes: tuple[Shapes, Shapes, Shapes] | None = None) -> bytes:
    """Return the engine for three generations of GPUs.

    Args:
        sizes: smallest, usual and largest shapes of the inputs, where they may differ.
    """
    builder = trt.Builder(LOGGER)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, LOGGER)
    is_parsed = parser.parse_from_file(str(graph))
    assert is_parsed, [str(parser.get_error(i)) for i in range(parser.num_errors)]
    config = builder.create_builder_config()
    if sizes is not None:
        profile = builder.create_optimization_profile()
        for name in sizes[0]:
            profile.set_shape(name, *(shapes[name] for shapes in sizes))
        config.add_optimization_profile(profile)
    config.num_compute_capabilities = len(TARGETS)
    for index, target in enumerate(TARGETS):
        config.set_compute_capability(getattr(trt.ComputeCapability, target), index)
    engine = builder.build_serialized_network(network, config)
    assert engine is not None, "the builder gave no engine; see its messages above"
    return bytes(engine)


@pytest.mark.parametrize("config", [SMALL, PUBLISHED], ids=["ours", "published"])
def test_a_detector_of_every_kind_builds(tmp_path: Path, config: Dfa3dConfig) -> None:
    path = tmp_path / "detector.onnx"
    capacity = default_capacity(2, config)
    export_onnx(
        build_detector(config, seed=0),
        bev_signature(config, 2, capacity),
        {},
        example_inputs(config, 2, capacity),
        path,
    )
    assert len(build(path)) > 100_000


@pytest.mark.parametrize("name", LFM_PRESETS)
def test_a_lifter_builds_for_any_number_of_instances_and_joints(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.onnx"
    export_lfm_graph(untrained_lfm(name), path)
    sizes = [
        {key: value.shape for key, value in example_instances(*size).items()} for size in ((1, 3), (20, 17), (64, 144))
    ]
    assert len(build(path, (sizes[0], sizes[1], sizes[2]))) > 100_000


def test_a_point_encoder_builds_for_any_number_of_crops(tmp_path: Path) -> None:
    path, source = tmp_path / "points.onnx", untrained_points("lift3d-points-small")
    export_point_graph(source, path)
    sizes = [{key: value.shape for key, value in example_crops(source.config, crops).items()} for crops in (1, 10, 32)]
    assert len(build(path, (sizes[0], sizes[1], sizes[2]))) > 100_000


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["tiny", "bevformer-tiny", "dfa3d-small", "dfa3d-base"])
def test_every_size_builds(repository: Path, tmp_path: Path, name: str) -> None:
    config = preset(name)
    assert config is not None
    path = tmp_path / f"{name}.onnx"
    capacity = rig_capacity(load_rig(repository / "config/rigs/nuscenes_like.yaml"), config)
    export_graph(name, untrained_entry(name), 6, path, capacity)
    assert len(build(path)) > path.stat().st_size / 3
