"""Exported graphs of the object reconstructor equal PyTorch, for each family, and are opened without it."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tabletop import ball_pixels, camera_image

from lift3d_ros.errors import EngineError
from lift3d_ros.images.decode import decode
from lift3d_ros.models.lrm.config import LrmConfig, preset
from lift3d_ros.pipelines import object_engine, object_graph
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.object_engine import (
    LrmEngine,
    LrmSource,
    check_lrm,
    field_signature,
    load_lrm_network,
    open_lrm_engine,
    open_lrm_source,
    planes_signature,
)
from lift3d_ros.pipelines.object_graph import example_picture, example_points, export_lrm_graphs, field_path
from lift3d_ros.pipelines.object_reconstruction import ObjectFrame, ObjectReconstructionConfig, ObjectReconstructor
from lift3d_ros.pipelines.object_surface import SurfaceConfig

for package in ("torch", "safetensors", "onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed")

FAMILIES = ("lift3d-lrm-tiny", "openlrm-small-1.1", "triposr")
TOLERANCE = 1e-4


def small(name: str) -> LrmConfig:
    """Return a configuration of the same kind that is exported in a second."""
    config = preset(name)
    assert config is not None
    side = 4 * config.encoder.patch_size
    encoder = dataclasses.replace(config.encoder, width=24, depth=1, num_heads=2)
    camera_width = 16 if config.decoder.camera_width else 0
    groups = 4 if config.decoder.group_norm_groups else 0
    decoder = dataclasses.replace(
        config.decoder, width=16, num_layers=1, num_heads=2, plane_side=4, channels=4, camera_width=camera_width,
        group_norm_groups=groups,
    )  # fmt: skip
    image = dataclasses.replace(config.image, side=side)
    return dataclasses.replace(config, image=image, encoder=encoder, decoder=decoder)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, LrmEngine]]:
    """Each small family as a graph, and the same network in PyTorch."""
    found = {}
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(object_graph, "preset", small)
        for name in FAMILIES:
            path = tmp_path_factory.mktemp("graphs") / "lrm.onnx"
            source = LrmSource(name, small(name), seed=5)
            network, identity = load_lrm_network(source)
            export_lrm_graphs(network, identity, planes_signature(small(name)), field_signature(small(name)), path)
            found[name] = path, open_lrm_source(source, EngineConfig("torch", threads=1))
    return found


@pytest.fixture(autouse=True)
def small_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_engine, "preset", lambda name: small(name) if name in FAMILIES else None)


def outputs(engine: LrmEngine, points: int) -> dict[str, Any]:
    config = engine.config
    planes = engine.planes.run(example_picture(config), engine.planes.new_state())
    inputs = {**example_points(planes_signature(config).outputs[0].shape, points), "planes": planes["planes"]}
    return {**planes, **engine.field.run(inputs, engine.field.new_state())}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("points", [1, 300])
def test_graphs_equal_pytorch_for_any_number_of_points(
    name: str, points: int, graphs: dict[str, tuple[Path, LrmEngine]]
) -> None:
    path, expected = graphs[name]
    engine = open_lrm_engine(str(path), EngineConfig(threads=1))
    assert engine.identity == dataclasses.replace(expected.identity, backend="onnxruntime")
    assert engine.config == expected.config
    wanted = outputs(expected, points)
    for output, found in outputs(engine, points).items():
        size = np.abs(wanted[output]).max()
        assert np.abs(found - wanted[output]).max() <= TOLERANCE * size, output


def test_a_mesh_of_a_graph_is_that_of_pytorch(graphs: dict[str, tuple[Path, LrmEngine]]) -> None:
    path, torch_engine = graphs["lift3d-lrm-tiny"]
    density = float(np.median(outputs(torch_engine, 2000)["density"]))
    config = ObjectReconstructionConfig(surface=SurfaceConfig(resolution=16, threshold=density))
    meshes = []
    for engine in (torch_engine, open_lrm_engine(str(path), EngineConfig(threads=1))):
        reconstructor = ObjectReconstructor(engine, config)
        frame = ObjectFrame(decode(camera_image()), box=ball_pixels())
        meshes.append(reconstructor.infer(reconstructor.prepare(frame)))
    assert abs(len(meshes[0].faces) - len(meshes[1].faces)) <= 0.02 * len(meshes[0].faces) + 4
    assert meshes[1].identity.backend == "onnxruntime"


def test_a_graph_cannot_render_views_and_says_what_can(graphs: dict[str, tuple[Path, LrmEngine]]) -> None:
    engine = open_lrm_engine(str(graphs["triposr"][0]), EngineConfig(threads=1))
    engine.watch(lambda share: None)
    with pytest.raises(
        EngineError, match=r"views of the field are rendered with PyTorch, and this is an exported graph"
    ):
        engine.render(np.zeros((1, 3, 4, 8, 8), np.float32), np.eye(4), np.eye(3), 8)


def test_graphs_that_do_not_belong_together_are_refused(
    tmp_path: Path, graphs: dict[str, tuple[Path, LrmEngine]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = graphs["lift3d-lrm-tiny"]
    copy = tmp_path / "copy.onnx"
    shutil.copy(path, copy)
    with pytest.raises(EngineError, match=r"no file .*/copy.field.onnx; 'lift3d export lrm' writes both graphs"):
        check_lrm(str(copy), EngineConfig())
    shutil.copy(field_path(graphs["openlrm-small-1.1"][0]), field_path(copy))
    check_lrm(str(copy), EngineConfig())
    with pytest.raises(EngineError, match=r"copy\.field\.onnx: belongs to another model than"):
        open_lrm_engine(str(copy), EngineConfig())
    monkeypatch.setattr(object_engine, "preset", preset)  # as another release has it
    with pytest.raises(EngineError, match=r"is no object reconstructor of this release; export the model again"):
        open_lrm_engine(str(path), EngineConfig())


def test_a_graph_is_not_run_by_another_backend(graphs: dict[str, tuple[Path, LrmEngine]]) -> None:
    with pytest.raises(EngineError, match=r"engine\.backend 'torch' cannot run the exported graph"):
        check_lrm(str(graphs["triposr"][0]), EngineConfig("torch"))


def test_a_network_without_a_name_is_not_exported(tmp_path: Path) -> None:
    source = LrmSource("mine", small("triposr"))
    network, identity = load_lrm_network(source)
    signatures = planes_signature(source.config), field_signature(source.config)
    with pytest.raises(EngineError, match=r"model 'mine': its configuration is none of lift3d-lrm-tiny"):
        export_lrm_graphs(network, identity, *signatures, tmp_path / "lrm.onnx")
