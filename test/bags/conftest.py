"""Writers of small recordings, so that most tests need no data."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.typesys import Stores, get_typestore

from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.types import CameraImage, CameraModel

START_NS = 1_600_000_000_000_000_000
PERIOD_NS = 100_000_000
SIZE = (32, 24)


def _helper(name: str) -> ModuleType:
    path = Path(__file__).parents[1] / "datasets" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"test_bags_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def small_scene() -> ModuleType:
    return _helper("small_scene")


@pytest.fixture(scope="session")
def nuscenes_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("nuscenes", reason="nuscenes-devkit is not installed")
    root = tmp_path_factory.mktemp("nuscenes")
    _helper("nuscenes_mini").write_nuscenes(root)
    return root


@pytest.fixture
def scene_folder(small_scene: ModuleType, tmp_path: Path) -> Path:
    folder = tmp_path / "small_scene"
    folder.mkdir()
    small_scene.write_scene_folder(folder)
    return folder


def jpeg(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return np.asarray(cv2.imencode(".jpg", pixels)[1]).reshape(-1)


def camera_model(frame_id: str = "front_optical") -> CameraModel:
    return CameraModel("front", frame_id, *SIZE, np.array([[30.0, 0, 15.5], [0, 30.0, 11.5], [0, 0, 1]]))


def _write(
    path: Path,
    *,
    storage: str = "mcap",
    pictures: dict[str, str | None] | None = None,
    mounted: bool = True,
    moving: bool = True,
    count: int = 3,
    extra: Callable[[BagWriter], None] | None = None,
) -> Path:
    pictures = {"/front/image_raw/compressed": "/front/camera_info"} if pictures is None else pictures
    with BagWriter(path, storage=storage) as writer:
        if mounted:
            frames = {f"{topic.split('/')[1]}_optical" for topic in pictures}
            entries = {("base_link", frame): np.eye(4) for frame in sorted(frames)}
            writer.transforms(entries, START_NS, START_NS, is_static=True)
        for i in range(count):
            stamp_ns = START_NS + i * PERIOD_NS
            if moving:
                T = np.eye(4)
                T[0, 3] = float(i)
                writer.transforms({("odom", "base_link"): T}, stamp_ns, stamp_ns)
            for topic, info in pictures.items():
                frame = f"{topic.split('/')[1]}_optical"
                if info is not None:
                    writer.camera_info(info, camera_model(frame), stamp_ns, stamp_ns)
                writer.image(topic, CameraImage("front", stamp_ns, frame, "jpeg", jpeg(i)), stamp_ns)
        if extra is not None:
            extra(writer)
    return path


@pytest.fixture
def write_bag(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a recording ``bag`` of three sets; its arguments say how it differs.

    `pictures` maps picture topics to calibration topics; `mounted` and `moving` say whether there are /tf_static
    and /tf; `extra` gets the writer at the end.
    """

    def write(name: str = "bag", **how: Any) -> Path:
        return _write(tmp_path / name, **how)

    return write


@pytest.fixture
def write_ros1_bag(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a ROS 1 bag of one camera; `compression` is None, ``bz2`` or ``lz4``."""

    def write(compression: str | None = None, count: int = 8) -> Path:
        store = get_typestore(Stores.ROS1_NOETIC)
        types = store.types
        path = tmp_path / "small.bag"
        writer = Ros1Writer(path)
        if compression is not None:
            writer.set_compression(Ros1Writer.CompressionFormat[compression.upper()])
        writer.chunk_threshold = 2000
        image, info = "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/CameraInfo"
        with writer:
            images = writer.add_connection("/front/image_raw/compressed", image, typestore=store)
            infos = writer.add_connection("/front/camera_info", info, typestore=store)
            for i in range(count):
                stamp_ns = START_NS + i * PERIOD_NS
                stamp = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 1_000_000_000))
                header = types["std_msgs/msg/Header"](seq=i, stamp=stamp, frame_id="/front_optical")
                roi = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
                matrices = {
                    "D": np.array([0.1, 0.0, 0.0, 0.0, 0.0]), "K": np.array([30.0, 0, 15.5, 0, 31.0, 11.5, 0, 0, 1]),
                    "R": np.eye(3).reshape(-1), "P": np.zeros(12),
                }  # fmt: skip
                message = types[info](
                    header=header, height=SIZE[1], width=SIZE[0], distortion_model="plumb_bob", binning_x=0,
                    binning_y=0, roi=roi, **matrices,
                )  # fmt: skip
                writer.write(infos, stamp_ns, store.serialize_ros1(message, info))
                message = types[image](header=header, format="jpg", data=jpeg(i))
                writer.write(images, stamp_ns + 1_000_000, store.serialize_ros1(message, image))
        return path

    return write
