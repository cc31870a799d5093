"""Small recordings of scanned objects, and weights that encode them quickly."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cloud_layouts import LIDAR, START_NS
from point_clouds import SOURCE, boxes_at, ellipsoid

from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.rotations import rpy_matrix
from lift3d_ros.types import Boxes3D, Float32Array, Float64Array

CLOUD_TOPIC, BOXES_TOPIC = "/lidar/points", "/boxes"
# The sensor lies on its side, 1.5 m above the ground.
T_BASE_LIDAR = make_transform(rpy_matrix(np.pi / 2, 0.1, 0.3), [0.5, 0.0, 1.5])
PLACES = np.array([[6.0, 0.0, 1.0], [4.0, 3.0, 1.0]])
SIZE = (2.4, 1.6, 1.0)


def write_small_weights(path: Path) -> Path:
    """Write weights of a network that encodes a crop in milliseconds, as a training writes them."""
    from safetensors.torch import save_file

    from lift3d_ros.models.i2p_mae.build import build_encoder

    state = {key: tensor.contiguous() for key, tensor in build_encoder(SOURCE.config, 3).state_dict().items()}
    header = {"method": "i2p_mae", "network": json.dumps(dataclasses.asdict(SOURCE.config))}
    save_file(state, str(path), metadata=header)
    return path


def write_untrained_manifest(folder: Path) -> str:
    """Write a manifest with the shipped encoder without its weights, and return the name of the model."""
    entry = "{method: i2p_mae, preset: lift3d-points-small, licence: Apache-2.0, source: a test}"
    (folder / "manifest.yaml").write_text(f"models:\n  untrained: {entry}\n")
    return "untrained"


@dataclass(frozen=True)
class Scan:
    """What is recorded: two objects before a lidar; messages are logged 20 ms after their stamps, boxes 120 ms."""

    frames: int = 3
    period_s: float = 0.1
    has_boxes: bool = True
    boxes_frame: str = "base_link"
    start_ns: int = START_NS
    storage: str = "mcap"

    def stamp_ns(self, index: int) -> int:
        return self.start_ns + round(index * self.period_s * 1e9)

    def boxes(self, index: int) -> Boxes3D:
        """Return the boxes of the objects in the base frame."""
        return boxes_at(PLACES + np.array([0.1 * index, 0.0, 0.0]), SIZE, self.boxes_frame)

    def points(self, index: int) -> Float32Array:
        """Return the points of a cloud in the frame of the lidar; some were not measured."""
        objects = [
            ellipsoid(300, (1.0, 0.6, 0.3), seed) + place for seed, place in enumerate(self.boxes(index).centers)
        ]
        ground = np.random.default_rng(7).uniform([0, -5, 0], [10, 5, 0.05], (200, 3))
        points = lidar_points(np.concatenate([*objects, ground]))
        points[::50] = np.nan
        return points

    def more(self) -> Iterable[tuple[int, Callable[[BagWriter], Any]]]:
        """Return when something else is recorded, and what writes it; tests override it."""
        return ()

    def write(self, path: Path) -> Path:
        """Write the recording and return its path."""
        first_ns = self.start_ns - 1_000_000_000
        mounting = {("base_link", LIDAR): T_BASE_LIDAR}
        events = [*self.more(), (first_ns, lambda w: w.transforms(mounting, 0, first_ns, is_static=True))]
        for index in range(self.frames):
            s, cloud = self.stamp_ns(index), self.points(index)
            log_ns = s + 20_000_000
            none = np.zeros(len(cloud), np.uint8)
            events.append((log_ns, lambda w, c=cloud, i=none, s=s, t=log_ns: w.points(CLOUD_TOPIC, c, i, LIDAR, s, t)))
            if self.has_boxes:
                boxes, late_ns = self.boxes(index), s + 120_000_000
                events.append((late_ns, lambda w, b=boxes, s=s, t=late_ns: w.boxes(BOXES_TOPIC, b, s, t)))
        with BagWriter(path, storage=self.storage) as writer:
            for _, write in sorted(events, key=lambda event: event[0]):
                write(writer)
        return path


def lidar_points(base_points: Any) -> Float32Array:
    """Return points of the base frame in the frame of the lidar."""
    T: Float64Array = np.linalg.inv(T_BASE_LIDAR)
    return np.asarray(np.asarray(base_points) @ T[:3, :3].T + T[:3, 3], np.float32)
