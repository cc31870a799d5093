"""Writes a small scene folder: a car that turns left at 8 m/s, three cameras, lidar and boxes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

START_NS = 1_700_000_000_123_456_789
PERIOD_NS = 500_000_000
CAMERAS = ("front", "left", "back")
SIZE = (48, 32)
OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def transform(yaw: float, position: Any, rotation: Any = None) -> np.ndarray:
    c, s = np.cos(yaw), np.sin(yaw)
    T = np.eye(4)
    T[:3, :3] = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ (np.eye(3) if rotation is None else rotation)
    T[:3, 3] = position
    return T


def pose(stamp_ns: int) -> np.ndarray:
    """Where the car is: 8 m/s along a circle, 0.2 rad/s."""
    seconds = (stamp_ns - START_NS) * 1e-9
    yaw = 0.2 * seconds
    return transform(0.4 + yaw, [100.0 + 40.0 * np.sin(0.4 + yaw), 200.0 - 40.0 * np.cos(0.4 + yaw), 1.5])


def picture(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)


def write_scene_folder(directory: Path, *, frames: int = 3, image_poses: bool = True) -> dict[str, Any]:
    """Write the folder and return what stands in its meta.json."""
    cameras = [
        {
            "name": name,
            "width": SIZE[0],
            "height": SIZE[1],
            "K": [[40.0 + i, 0.0, 23.25], [0.0, 41.0 + i, 15.75], [0.0, 0.0, 1.0]],
            "D": [0.1, -0.05, 0.001, 0.002, 0.01] if name == "left" else [0.0] * 5,
            "distortion_model": "plumb_bob",
            "frame_id": f"{name}_optical",
            "T_base_cam": transform(i * 2.0, [1.5 - i, 0.1 * i, 1.6], OPTICAL).tolist(),
        }
        for i, name in enumerate(CAMERAS)
    ]
    document = {
        "scene": "small",
        "description": "made by a test",
        "licence": "none",
        "cameras": cameras,
        "frames": [_write_frame(directory, index, image_poses) for index in range(frames)],
    }
    (directory / "meta.json").write_text(json.dumps(document), encoding="utf-8")
    return document


def _write_frame(directory: Path, index: int, image_poses: bool) -> dict[str, Any]:
    stamp_ns = START_NS + index * PERIOD_NS
    images = {}
    for i, name in enumerate(CAMERAS):
        suffix = "png" if name == "back" else "jpg"
        file = directory / "images" / name / f"{index}.{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(cv2.imencode(f".{suffix}", picture(10 * index + i))[1].tobytes())
        image_ns = stamp_ns - 30_000_001 + i * 12_000_000
        images[name] = {"file": file.relative_to(directory).as_posix(), "stamp_ns": image_ns}
        if image_poses:
            images[name]["T_world_base"] = pose(image_ns).tolist()
    generator = np.random.default_rng(index)
    lidar = directory / "lidar" / f"{index}.npz"
    lidar.parent.mkdir(exist_ok=True)
    xyz = generator.normal(0, 10, (50, 3)).astype(np.float32)
    np.savez(lidar, xyz=xyz, intensity=generator.integers(0, 256, 50, dtype=np.uint8))
    boxes = [
        {
            "class": "car", "center": [10.25 - index, 2.5, 0.8], "size": [4.5, 1.9, 1.6], "yaw": 3.0,
            "velocity": [-2.0, 0.25], "instance": 2**53 + 1,
        },
        {
            "class": "pedestrian", "center": [5.0, -3.0 - index, 0.9], "size": [0.6, 0.7, 1.8], "yaw": -1.5,
            "velocity": None, "instance": 7,
        },
        {"class": "animal", "center": [-4.0, 0.0, 0.3], "size": [0.9, 0.3, 0.6], "yaw": 0.0, "velocity": [0.0, 0.0]},
    ]  # fmt: skip
    return {
        "index": index,
        "stamp_ns": stamp_ns,
        "T_world_base": pose(stamp_ns).tolist(),
        "images": images,
        "lidar": {"file": lidar.relative_to(directory).as_posix(), "stamp_ns": stamp_ns},
        "boxes": boxes,
    }
