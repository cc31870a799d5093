"""A detector with every habit of the published checkpoints, from pictures to boxes, on torch and ONNX Runtime."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dfa3d_configs import PUBLISHED

from lift3d_ros.engines.tensorrt_operators import check_operators
from lift3d_ros.errors import ConfigError, EngineError, Lift3dError
from lift3d_ros.geometry.rig import Rig, RigCamera
from lift3d_ros.models.dfa3d.visibility import PairCapacity, default_capacity
from lift3d_ros.pipelines import bev_detection
from lift3d_ros.pipelines.bev_detection import BevDetectionConfig, BevDetector, DetectorConfig
from lift3d_ros.pipelines.bev_engine import BevEngine
from lift3d_ros.pipelines.bev_graph import bev_signature, example_inputs
from lift3d_ros.types import BevDetections, FrameSet, ModelIdentity

pytest.importorskip("torch", reason="torch is not installed")

# The vehicle of these tests has its model frame in the base frame of nuScenes: x right, y forward.
CONFIG = dataclasses.replace(PUBLISHED, frame_yaw_deg=-90.0, frame_origin=(0.9, 0.0, 1.8))
IDENTITY = ModelIdentity("published", "0" * 64, is_trained=False)


@pytest.fixture(scope="module")
def torch_engine() -> BevEngine:
    from lift3d_ros.engines.torch_engine import TorchEngine
    from lift3d_ros.models.dfa3d.detector import build_detector

    engine = TorchEngine(build_detector(CONFIG, seed=0), bev_signature(CONFIG, 2, None), "cpu", 0)
    return BevEngine(engine, CONFIG, IDENTITY)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    from lift3d_ros.engines.export import export_onnx
    from lift3d_ros.models.dfa3d.detector import build_detector

    path = tmp_path_factory.mktemp("published") / "published.onnx"
    capacity = default_capacity(2, CONFIG)
    signature = bev_signature(CONFIG, 2, capacity)
    export_onnx(build_detector(CONFIG, seed=0), signature, {}, example_inputs(CONFIG, 2, capacity), path)
    return path


@pytest.fixture(scope="module")
def onnxruntime_engine(graph: Path) -> BevEngine:
    from lift3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine

    return BevEngine(OnnxRuntimeEngine(graph, 1), CONFIG, IDENTITY)


@pytest.fixture
def detector(torch_engine: BevEngine) -> Callable[..., BevDetector]:
    return lambda rig=None: BevDetector(torch_engine, DetectorConfig(score_threshold=0.0, max_boxes=60), rig)


def run(detector: BevDetector, *frames: FrameSet) -> list[BevDetections]:
    return [detector.infer(detector.prepare(frame)) for frame in frames]


def rows(result: BevDetections) -> np.ndarray[Any, Any]:
    boxes = result.boxes
    angles = [np.sin(boxes.yaws), np.cos(boxes.yaws)]
    return np.column_stack([boxes.labels, boxes.scores, boxes.centers, boxes.sizes, *angles, boxes.velocities])


def renamed(frame: FrameSet, **names: str) -> FrameSet:
    """Return the frame set with other camera names, in the order of the keywords."""
    views = {new: frame.views[old] for old, new in names.items()}
    return dataclasses.replace(frame, views=views, cameras=tuple(views))


def test_onnxruntime_gives_the_boxes_of_torch_over_frames_with_ego_motion(
    torch_engine: BevEngine, onnxruntime_engine: BevEngine, vehicle: Any
) -> None:
    frames = [vehicle.frame(t) for t in (0.0, 0.1, 0.2)]
    config = DetectorConfig(score_threshold=0.0, max_boxes=60)
    expected = run(BevDetector(torch_engine, config), *frames)
    found = run(BevDetector(onnxruntime_engine, config), *frames)
    assert [item.temporal_state for item in found] == ["first_frame", "fused", "fused"]
    for first, second in zip(expected, found, strict=True):
        distance = np.abs(rows(first)[:50, None] - rows(second)[None]).max(axis=-1)
        assert distance.min(axis=1).max() < 2e-3


def test_a_real_drive_reaches_the_network_as_18_numbers(
    detector: Callable[..., BevDetector], shared_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heading, velocity and motion since the last frame, against those of the recorded scene."""
    from lift3d_ros.bags.discover import discover
    from lift3d_ros.bags.reader import open_bag
    from lift3d_ros.pipelines.frame_sets import SyncConfig
    from lift3d_ros.replay.bag_frames import BagFrames

    bag = shared_dir / "data" / "bags" / "nc_nuscenes_scene0103_mcap"
    meta = json.loads((shared_dir / "data" / "driving" / "nc_nuscenes_scene0103" / "meta.json").read_text())
    given: list[np.ndarray[Any, Any]] = []
    running = detector()
    engine = running._bev_engine.engine
    plain_run = type(engine).run

    def note(self: Any, inputs: dict[str, Any], state: Any) -> dict[str, Any]:
        given.append(inputs["ego"][0])
        return plain_run(self, inputs, state)

    monkeypatch.setattr(type(engine), "run", note)
    with open_bag(bag) as reader:
        for frame in BagFrames(reader, discover(reader), SyncConfig()).frame_sets():
            pair = {name: frame.views[name] for name in ("cam_front", "cam_back")}
            running.infer(running.prepare(dataclasses.replace(frame, views=pair, cameras=tuple(pair), missing=())))
    assert len(given) == 4
    before, after = meta["frames"][1], meta["frames"][2]
    motion = np.linalg.inv(np.array(before["T_world_base"])) @ np.array(after["T_world_base"])
    assert np.hypot(*given[2][:2]) == pytest.approx(np.linalg.norm(motion[:2, 3]), abs=0.3)
    turned_deg = np.rad2deg(np.arctan2(motion[1, 0], motion[0, 0]))
    assert given[2][17] == pytest.approx(turned_deg, abs=0.5)
    np.testing.assert_allclose(given[2][13:16], after["velocity"], atol=0.5)


def test_cameras_are_told_apart_by_name_in_any_order(detector: Callable[..., BevDetector], vehicle: Any) -> None:
    (expected,) = run(detector(), vehicle.frame(0.0))
    (turned,) = run(detector(), renamed(vehicle.frame(0.0), back="back", front="front"))
    np.testing.assert_allclose(rows(turned), rows(expected), atol=1e-4)
    (nuscenes,) = run(detector(), renamed(vehicle.frame(0.0), front="CAM_FRONT", back="CAM_BACK"))
    np.testing.assert_allclose(rows(nuscenes), rows(expected), atol=1e-4)
    (exchanged,) = run(detector(), renamed(vehicle.frame(0.0), front="back", back="front"))
    assert np.abs(rows(exchanged) - rows(expected)).max() > 1e-2


def test_a_rig_file_names_the_embedding_of_a_camera(detector: Callable[..., BevDetector], vehicle: Any) -> None:
    frame = renamed(vehicle.frame(0.0), front="wind_screen", back="tail_gate")
    with pytest.raises(Lift3dError, match="wind_screen"):
        run(detector(), frame)
    rig = Rig(cameras={"wind_screen": RigCamera(embedding="front"), "tail_gate": RigCamera(embedding="back")})
    (result,) = run(detector(rig), frame)
    (expected,) = run(detector(), vehicle.frame(0.0))
    np.testing.assert_allclose(rows(result), rows(expected), atol=1e-4)
    with pytest.raises(ConfigError, match="roof"):
        run(detector(Rig(cameras={"wind_screen": RigCamera(embedding="roof")})), frame)


def test_a_missing_camera_counts_as_if_the_rig_had_none_there(
    detector: Callable[..., BevDetector], onnxruntime_engine: BevEngine, vehicle: Any
) -> None:
    (lost,) = run(detector(), vehicle.frame(0.0, back=np.zeros(7, np.uint8)))
    (without,) = run(detector(), vehicle.frame(0.0, cameras=("front",)))
    np.testing.assert_array_equal(rows(lost), rows(without))
    on_graph = BevDetector(onnxruntime_engine, DetectorConfig(score_threshold=0.0, max_boxes=60))
    (exported,) = run(on_graph, vehicle.frame(0.0, cameras=("front",)))
    assert np.abs(rows(exported)[:40, None] - rows(lost)[None]).max(axis=-1).min(axis=1).max() < 2e-3


def test_more_pairs_than_the_graph_has_room_for_name_the_remedy(
    onnxruntime_engine: BevEngine, vehicle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = bev_signature(CONFIG, 2, PairCapacity(10, 2))
    monkeypatch.setattr(onnxruntime_engine.engine, "signature", small)
    with pytest.raises(EngineError, match=r"room for 10.*lift3d export dfa3d --model NAME --rig"):
        BevDetector(onnxruntime_engine, DetectorConfig()).prepare(vehicle.frame(0.0))


def test_the_exported_graph_holds_only_operators_that_tensorrt_takes(graph: Path) -> None:
    assert check_operators(graph).problems == ()


def test_camera_names_that_the_weights_do_not_know_are_refused_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "manifest.yaml").write_text(
        "models:\n  base: {method: dfa3d, preset: dfa3d-base, licence: test, source: test}\n"
    )
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(tmp_path))
    monkeypatch.setattr(bev_detection, "open_bev_engine", lambda *_: pytest.fail("loaded"))
    with pytest.raises(ConfigError, match="camera 'camera_01'"):
        bev_detection.open_bev_detector(BevDetectionConfig(model="base"), ("camera_01",))
