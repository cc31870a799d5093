"""A vehicle with two cameras, and the detector for it on both backends, made once per session."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.rotations import rpy_matrix
from lift3d_ros.pipelines.bev_detection import BevDetector, DetectorConfig
from lift3d_ros.pipelines.bev_engine import BevEngine, EngineConfig, open_bev_engine
from lift3d_ros.pipelines.bev_graph import exported_graph
from lift3d_ros.types import CameraImage, CameraModel, CameraView, EgoMotion, Float64Array, FrameSet, UInt8Array
from lift3d_ros.weights.manifest import find_model

MODEL = "dfa3d_tiny"
CAMERAS = ("front", "back")
_BODY_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])

DetectorFactory = Callable[..., BevDetector]


class Vehicle:
    """A vehicle that drives a bend to the left at 10 m/s and takes two pictures every 0.1 s."""

    cameras = CAMERAS
    width, height = 352, 160

    def __init__(self) -> None:
        self.intrinsics = np.array([[220.0, 0.0, 175.5], [0.0, 220.0, 70.5], [0.0, 0.0, 1.0]])
        self.T_base_cam = {
            "front": make_transform(_BODY_OPTICAL, [1.7, 0.1, 1.5]),
            "back": make_transform(rpy_matrix(0.0, 0.0, np.pi) @ _BODY_OPTICAL, [0.0, 0.0, 1.6]),
        }

    def T_world_base(self, stamp_ns: int) -> Float64Array:
        """Pose on a circle of 10 m radius."""
        angle = stamp_ns * 1e-9
        position = [10 * np.sin(angle), 10 - 10 * np.cos(angle), 0.0]
        return make_transform(rpy_matrix(0.0, 0.0, angle), position)

    def jpeg(self, seed: int) -> UInt8Array:
        coarse = np.random.default_rng(seed).integers(0, 256, (10, 22, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, (self.width, self.height), interpolation=cv2.INTER_CUBIC)
        return np.asarray(cv2.imencode(".jpg", picture)[1]).reshape(-1)

    def model(self, name: str) -> CameraModel:
        return CameraModel(name, f"{name}_optical", self.width, self.height, self.intrinsics)

    def image(self, name: str, stamp_ns: int, data: UInt8Array | None = None) -> CameraImage:
        data = self.jpeg(stamp_ns // 1_000_000 + CAMERAS.index(name)) if data is None else data
        return CameraImage(name, stamp_ns, f"{name}_optical", "jpeg", data, source=f"/{name}/image/compressed")

    def frame(
        self, stamp_s: float, *, cameras: tuple[str, ...] = CAMERAS, has_ego: bool = True, **data: UInt8Array
    ) -> FrameSet:
        """Return the frame set at a time; `data` replaces the JPEG of a camera."""
        stamp_ns = round(stamp_s * 1e9)
        views = {
            name: CameraView(self.image(name, stamp_ns, data.get(name)), self.model(name), self.T_base_cam[name])
            for name in cameras
        }
        missing = tuple(name for name in CAMERAS if name not in cameras)
        ego = EgoMotion(stamp_ns, self.T_world_base(stamp_ns)) if has_ego else None
        return FrameSet(stamp_ns, views, missing, ego=ego)


@pytest.fixture(scope="session")
def vehicle() -> Vehicle:
    return Vehicle()


@pytest.fixture(scope="session")
def two_camera_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that holds the exported graph for two cameras; making it takes tens of seconds."""
    for package in ("torch", "onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIFT3D_CACHE_DIR", str(folder))
        exported_graph(MODEL, find_model(MODEL), len(CAMERAS), is_fixed=False)
    return folder


@pytest.fixture(scope="session")
def graph_path(two_camera_cache: Path) -> Path:
    (path,) = two_camera_cache.glob("onnx/*.onnx")
    return path


@pytest.fixture
def in_graph_cache(two_camera_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the graph is the cache of the package."""
    monkeypatch.setenv("LIFT3D_CACHE_DIR", str(two_camera_cache))
    return two_camera_cache


@pytest.fixture(scope="session")
def torch_engine() -> BevEngine:
    pytest.importorskip("torch", reason="torch is not installed")
    return open_bev_engine(MODEL, EngineConfig(backend="torch"), len(CAMERAS))


@pytest.fixture(scope="session")
def onnxruntime_engine(graph_path: Path) -> BevEngine:
    threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
    return open_bev_engine(str(graph_path), EngineConfig(backend="onnxruntime", threads=threads), len(CAMERAS))


@pytest.fixture
def detector(torch_engine: BevEngine) -> DetectorFactory:
    """Makes a detector on torch with its own memory; keywords change the configuration."""
    return lambda **changes: _detector(torch_engine, changes)


@pytest.fixture(params=["torch", "onnxruntime"])
def any_detector(request: pytest.FixtureRequest) -> DetectorFactory:
    """The same on each backend."""
    engine: BevEngine = request.getfixturevalue(f"{request.param}_engine")
    return lambda **changes: _detector(engine, changes)


def _detector(engine: BevEngine, changes: dict[str, Any]) -> BevDetector:
    return BevDetector(engine, DetectorConfig(**{"score_threshold": 0.0, "max_boxes": 40, **changes}))
