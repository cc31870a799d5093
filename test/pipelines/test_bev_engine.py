"""Opening the detector's engine: names, caches, weights, and a machine without torch."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lift3d_ros.config import from_mapping
from lift3d_ros.engines.tensorrt_operators import check_operators
from lift3d_ros.errors import ConfigError, EngineError, WeightsError
from lift3d_ros.models.dfa3d.config import preset
from lift3d_ros.models.dfa3d.visibility import default_capacity
from lift3d_ros.pipelines import bev_graph
from lift3d_ros.pipelines.bev_detection import BevDetectionConfig
from lift3d_ros.pipelines.bev_engine import EngineConfig, choose_backend, open_bev_engine
from lift3d_ros.pipelines.bev_graph import example_inputs, load_network, room_for_pairs
from lift3d_ros.pipelines.engine_subjects import engine_subjects
from lift3d_ros.weights.manifest import find_model

ONNXRUNTIME = EngineConfig(backend="onnxruntime", threads=1)
BLOCK_TORCH = """
    import sys

    class RefuseTorch:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in ("torch", "onnx", "onnxscript", "safetensors"):
                raise ModuleNotFoundError(f"{name} is blocked", name=name)

    sys.meta_path.insert(0, RefuseTorch())
"""


def python(program: str, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "LIFT3D_CACHE_DIR": str(cache), **environment}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False, env=variables
    )


def test_unknown_names_suggest_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"'engine.backend' is 'onnxruntme'; expected one of .*mean 'onnxruntime'"):
        from_mapping(BevDetectionConfig, {"engine": {"backend": "onnxruntme"}}, "test.yaml")
    with pytest.raises(EngineError, match=r"engine\.backend 'onnxruntme' is not known; did you mean 'onnxruntime'"):
        choose_backend("onnxruntme")
    with pytest.raises(WeightsError, match=r"model 'dfa3d_tini' is not in .*manifest\.yaml; did you mean 'dfa3d_tiny'"):
        open_bev_engine("dfa3d_tini", EngineConfig(), 1)


def test_a_missing_backend_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineError, match="pip install onnxruntime"):
        choose_backend("onnxruntime")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(EngineError, match="none of onnxruntime, torch is installed"):
        choose_backend("auto")


@pytest.mark.parametrize("device", ["cdua:0", "cuda:77"])
def test_a_device_that_does_not_exist_is_named(device: str) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    with pytest.raises(EngineError, match=rf"engine\.device '{device}': torch cannot use it"):
        open_bev_engine("dfa3d_tiny", EngineConfig(backend="torch", device=device), 1)


def test_a_graph_for_fewer_cameras_is_refused_and_one_for_more_is_taken(graph_path: Path) -> None:
    with pytest.raises(EngineError, match="2 camera slots, the rig has 3 cameras; export it again with --cameras 3"):
        open_bev_engine(str(graph_path), ONNXRUNTIME, 3)
    assert open_bev_engine(str(graph_path), ONNXRUNTIME, 1).num_cameras == 2


def test_the_cached_graph_is_found_again(in_graph_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bev_graph, "export_graph", lambda *_: pytest.fail("exported although it is cached"))
    engine = open_bev_engine("dfa3d_tiny", ONNXRUNTIME, 2)
    assert engine.identity.backend == "onnxruntime"


@pytest.mark.parametrize("kept_bytes", [0, 1000, 5_000_000])
def test_a_damaged_graph_in_the_cache_is_made_again(
    graph_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kept_bytes: int,
) -> None:
    monkeypatch.setenv("LIFT3D_CACHE_DIR", str(tmp_path))
    damaged = tmp_path / "onnx" / graph_path.name
    damaged.parent.mkdir()
    damaged.write_bytes(graph_path.read_bytes()[:kept_bytes])
    monkeypatch.setattr(bev_graph, "export_graph", lambda *arguments, capacity: shutil.copy(graph_path, arguments[-1]))
    assert open_bev_engine("dfa3d_tiny", ONNXRUNTIME, 2).num_cameras == 2
    assert damaged.read_bytes() == graph_path.read_bytes()
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.startswith(f"{damaged}: ONNX Runtime cannot load this graph")


@pytest.fixture(scope="module")
def fixed_graph_path(two_camera_cache: Path) -> Path:
    """The graph of fixed sizes, which TensorRT takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIFT3D_CACHE_DIR", str(two_camera_cache / "fixed"))
        (subject,) = engine_subjects("dfa3d_tiny", 2, is_fixed=True)
    return subject.graph


def test_tensorrt_takes_the_operators_of_the_graph(fixed_graph_path: Path) -> None:
    (subject,) = engine_subjects(str(fixed_graph_path), 2, is_fixed=True)
    assert check_operators(subject.graph).problems == ()
    assert (len(subject.examples), dict(subject.profile)) == (3, {})


def test_sizes_are_fixed_where_a_runtime_wants_them_and_for_large_grids() -> None:
    small, large = (preset(name) for name in ("tiny", "dfa3d-base"))
    assert small is not None
    assert large is not None
    assert room_for_pairs(small, 6, is_fixed=False) is None
    assert room_for_pairs(small, 6, is_fixed=True) == default_capacity(6, small)
    assert room_for_pairs(large, 6, is_fixed=False) == default_capacity(6, large)


def test_free_places_of_a_graph_of_fixed_sizes_change_nothing(graph_path: Path, fixed_graph_path: Path) -> None:
    free, fixed = (open_bev_engine(str(path), ONNXRUNTIME, 2) for path in (graph_path, fixed_graph_path))
    assert free.capacity is None
    assert fixed.capacity is not None
    found = []
    for opened in (free, fixed):
        inputs = example_inputs(opened.model_config, 2, opened.capacity)
        found.append(opened.engine.run(inputs, opened.engine.new_state()))
    for name, array in found[0].items():
        np.testing.assert_allclose(found[1][name], array, atol=1e-4, err_msg=name)


def test_a_graph_runs_where_no_camera_sees_a_cell(graph_path: Path, torch_engine: Any) -> None:
    opened = open_bev_engine(str(graph_path), ONNXRUNTIME, 2)
    inputs = example_inputs(opened.model_config, 2)
    table = np.zeros((opened.model_config.num_cells, 1), dtype=np.int64)  # free places name the row after the last pair
    nothing = np.zeros(0, dtype=np.int64)
    inputs |= {"pair_camera": nothing, "pair_cell": nothing, "pairs_of_cell": table}
    found = opened.engine.run(inputs, opened.engine.new_state())
    expected = torch_engine.engine.run(inputs, torch_engine.engine.new_state())
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=1e-3, err_msg=name)


def test_a_cache_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LIFT3D_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(EngineError, match=r"file/onnx: cannot write to the cache folder .*LIFT3D_CACHE_DIR"):
        open_bev_engine("dfa3d_tiny", ONNXRUNTIME, 2)


def test_detection_runs_without_torch(two_camera_cache: Path, torch_engine: Any) -> None:
    program = (
        BLOCK_TORCH
        + """
    import cv2, numpy as np
    from lift3d_ros.pipelines.bev_detection import BevDetectionConfig, open_bev_detector
    from lift3d_ros.types import CameraImage, CameraModel, CameraView, FrameSet

    detector = open_bev_detector(BevDetectionConfig(model="dfa3d_tiny"), ("front", "back"))
    data = cv2.imencode(".jpg", np.full((160, 352, 3), 90, np.uint8))[1].reshape(-1)
    model = CameraModel("front", "front", 352, 160, np.array([[220.0, 0, 175], [0, 220, 70], [0, 0, 1]]))
    T_base_cam = np.array([[0, 0, 1, 1.7], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1.0]])
    view = CameraView(CameraImage("front", 0, "front", "jpeg", data), model, T_base_cam)
    result = detector.infer(detector.prepare(FrameSet(0, {"front": view})))
    assert not [name for name in sys.modules if name.partition(".")[0] == "torch"]
    print(result.model.backend, result.model.weights_sha256)
    """
    )
    result = python(program, two_camera_cache)
    assert result.stdout.split() == ["onnxruntime", torch_engine.identity.weights_sha256], result.stderr


def test_without_torch_an_absent_or_damaged_graph_says_what_to_do(graph_path: Path, tmp_path: Path) -> None:
    program = """
    import sys
    sys.modules["torch"] = None
    from lift3d_ros.errors import EngineError
    from lift3d_ros.pipelines.bev_engine import EngineConfig, open_bev_engine
    try:
        open_bev_engine("dfa3d_tiny", EngineConfig(backend="onnxruntime"), 2)
    except EngineError as error:
        print(error)
    """
    absent = python(program, tmp_path)
    assert "building it needs torch, which is not installed" in absent.stdout, absent.stderr
    assert "export the model on another machine with 'lift3d export'" in absent.stdout
    damaged = tmp_path / "onnx" / graph_path.name
    damaged.write_bytes(graph_path.read_bytes()[:1000])
    found = python(program, tmp_path)
    assert f"{damaged}: ONNX Runtime cannot load this graph" in found.stdout, found.stderr
    assert "export it again" in found.stdout
    assert damaged.exists(), "nothing is thrown away that cannot be made again"


def test_trained_weights_are_loaded_and_reported_with_the_hash_of_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from safetensors.torch import save_file

    from lift3d_ros.models.dfa3d.config import preset
    from lift3d_ros.models.dfa3d.detector import build_detector

    tiny = preset("tiny")
    assert tiny is not None
    trained = build_detector(tiny, seed=5)
    state = trained.state_dict()
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    add_model(tmp_path, half, save_file)
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(tmp_path))
    network, sha256 = load_network("mine", find_model("mine"))
    assert sha256 == hashlib.sha256((tmp_path / "mine.safetensors").read_bytes()).hexdigest()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, half[name].to(tensor.dtype)), name
    assert open_bev_engine("mine", EngineConfig(backend="torch"), 1).identity.description == "mine"

    del half["level_embedding"]
    add_model(tmp_path, half, save_file)
    with pytest.raises(WeightsError, match=r"mine\.safetensors: does not fit model 'mine'.*level_embedding"):
        load_network("mine", find_model("mine"))


def add_model(folder: Path, tensors: dict[str, Any], save_file: Any) -> None:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, str(folder / "mine.safetensors"))
    sha256 = hashlib.sha256((folder / "mine.safetensors").read_bytes()).hexdigest()
    (folder / "manifest.yaml").write_text(
        "models:\n  mine: {method: dfa3d, preset: tiny, licence: Apache-2.0, source: test, "
        f"weights: mine.safetensors, sha256: {sha256}}}\n"
    )


def test_models_of_other_methods_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "manifest.yaml").write_text(
        "models:\n  lifter: {method: lfm, preset: tiny, licence: Apache-2.0, source: test}\n"
    )
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(tmp_path))
    with pytest.raises(WeightsError, match="model 'lifter': method 'lfm' with preset 'tiny' is not a BEV detector"):
        open_bev_engine("lifter", EngineConfig(), 1)


def test_threads_of_the_engine_do_not_change_the_boxes(graph_path: Path) -> None:
    outputs = []
    for threads in (1, 2):
        opened = open_bev_engine(str(graph_path), EngineConfig(backend="onnxruntime", threads=threads), 2)
        example = example_inputs(opened.model_config, 2, opened.capacity)
        outputs.append(opened.engine.run(example, opened.engine.new_state())["box_codes"])
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-4)


def test_an_exported_graph_is_refused_for_the_torch_backend(graph_path: Path) -> None:
    with pytest.raises(EngineError, match=r"'torch' cannot run the exported graph .*give a model name"):
        open_bev_engine(str(graph_path), EngineConfig(backend="torch"), 2)


def test_a_model_that_takes_measured_depth_is_refused_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "manifest.yaml").write_text(
        "models:\n  lidar: {method: dfa3d, preset: dfa3d-base-gtdepth, licence: Apache-2.0, source: test}\n"
    )
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(tmp_path))
    with pytest.raises(EngineError, match=r"model 'lidar' takes measured depth.*'dfa3d-base'"):
        open_bev_engine("lidar", EngineConfig(), 1)


def test_a_rig_file_decides_the_room_for_pairs(repository: Path) -> None:
    from lift3d_ros.geometry.rig import load_rig
    from lift3d_ros.models.dfa3d.config import preset
    from lift3d_ros.pipelines.rig_capacity import rig_capacity

    rig, tiny = load_rig(repository / "config/rigs/nuscenes_like.yaml"), preset("tiny")
    assert tiny is not None
    capacity = rig_capacity(rig, tiny)
    # A nuScenes vehicle sees 1.12 pairs for each cell of the grid, at most two of one cell (fact sheet, section 0.4).
    assert capacity.pairs / tiny.num_cells == pytest.approx(1.25 * 1.12, abs=0.05)
    assert capacity.cameras_per_cell == 3
    incomplete = dataclasses.replace(rig, cameras={"front": dataclasses.replace(rig.cameras["front"], mounting=None)})
    with pytest.raises(ConfigError, match=r"camera 'front'.*mounting"):
        rig_capacity(incomplete, tiny)


@pytest.mark.parametrize("setting", [{"device": "cuda:0"}, {"precision": "float16"}])
def test_settings_that_a_backend_would_ignore_are_refused(setting: dict[str, Any]) -> None:
    (name,) = setting
    with pytest.raises(EngineError, match=rf"engine\.{name} '.*' is a setting of the torch backend"):
        open_bev_engine("dfa3d_tiny", EngineConfig(backend="onnxruntime", **setting), 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"backend": "openvino", "device": "cuda:0"}, r"engine\.device 'cuda:0'", id="device"),
        pytest.param({"backend": "openvino", "precision": "float16"}, "openvino computes in float32 or bf", id="type"),
        pytest.param(
            {"backend": "torch", "provider": "cuda"}, r"engine\.provider 'cuda' is a setting of onn", id="GPU"
        ),
        pytest.param({"provider": "cuda", "precision": "float16"}, r"engine\.precision 'float16'", id="precision"),
        pytest.param({"provider": "cuda", "device": "gpu1"}, r"engine\.device 'gpu1': a GPU is cuda or", id="name"),
    ],
)
def test_openvino_and_providers_refuse_what_they_would_ignore(
    settings: dict[str, Any], message: str, graph_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = EngineConfig(**{"backend": "onnxruntime", **settings})
    if config.backend == "openvino":
        monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    model = "dfa3d_tiny" if config.backend == "torch" else str(graph_path)
    with pytest.raises(EngineError, match=message):
        open_bev_engine(model, config, 1)


def test_half_precision_gives_about_the_same_scores(torch_engine: Any) -> None:
    half = open_bev_engine("dfa3d_tiny", EngineConfig(backend="torch", precision="bfloat16"), 2)
    example = example_inputs(half.model_config, 2)
    logits = []
    for opened in (torch_engine, half):
        state = opened.engine.new_state()
        opened.engine.run(example, state)
        logits.append(opened.engine.run(example, state)["class_logits"])
    error = np.sqrt(np.mean((logits[1] - logits[0]) ** 2) / np.mean(logits[0] ** 2))
    assert 0.0 < error < 0.05


@pytest.mark.gpu
def test_a_recorded_cuda_graph_gives_the_outputs_of_plain_calls() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    plain, recorded = (
        open_bev_engine("dfa3d_tiny", EngineConfig(backend="torch", device="cuda:0", cuda_graph=is_recorded), 2)
        for is_recorded in (False, True)
    )
    states = [plain.engine.new_state(), recorded.engine.new_state()]
    for turn in range(3):  # the history goes from run to run
        expected = plain.engine.run(example_inputs(plain.model_config, 2), states[0])
        found = recorded.engine.run(example_inputs(recorded.model_config, 2, recorded.capacity), states[1])
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, atol=1e-3, err_msg=f"{name} of run {turn}")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["bevformer-tiny", "dfa3d-small", "dfa3d-base"])
def test_the_published_sizes_are_exported_and_agree_with_torch(repository: Path, tmp_path: Path, name: str) -> None:
    """Up to 10 GB of memory and ten minutes; the export itself compares three frames with PyTorch."""
    from lift3d_ros.geometry.rig import load_rig
    from lift3d_ros.pipelines.bev_graph import export_graph, model_config, untrained_entry
    from lift3d_ros.pipelines.rig_capacity import rig_capacity

    rig, entry = load_rig(repository / "config/rigs/nuscenes_like.yaml"), untrained_entry(name)
    path = tmp_path / f"{name}.onnx"
    export_graph(name, entry, len(rig.cameras), path, rig_capacity(rig, model_config(name, entry)))
    assert open_bev_engine(str(path), ONNXRUNTIME, 6).num_cameras == 6


def test_queries_are_compared_in_the_same_order_and_the_last_rank_may_be_another_one() -> None:
    generator = np.random.default_rng(0)
    expected = {"box_codes": generator.normal(size=(1, 20, 10)), "class_logits": generator.normal(size=(1, 20, 3))}
    order = generator.permutation(20)
    found = {name: array[:, order].copy() for name, array in expected.items()}
    for name, array in bev_graph.align_queries(expected, found).items():
        np.testing.assert_array_equal(array, expected[name])
    for rank, is_equal in ((19, True), (10, False)):
        exchanged = {name: array.copy() for name, array in found.items()}
        exchanged["box_codes"][:, order == rank] += 30.0
        aligned = bev_graph.align_queries(expected, exchanged)
        assert np.array_equal(aligned["box_codes"], expected["box_codes"]) == is_equal
    wrong = {**found, "class_logits": found["class_logits"] + (order == 19)[None, :, None]}
    assert not np.array_equal(bev_graph.align_queries(expected, wrong)["class_logits"], expected["class_logits"])
