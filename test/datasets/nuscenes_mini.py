"""Writes a miniature nuScenes folder with every table of v1.0-mini in its real form.

One scene of three samples: six cameras of 16x12 pixels with one sweep between samples, lidar, and annotations of a
moving car, a barrier, an animal (not among the ten classes) and a pedestrian that is seen once only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pyquaternion import Quaternion

SCENE = "scene-0103"
VERSION = "v1.0-mini"
START_US = 1_533_151_603_547_590
CHANNELS = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_RIGHT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_FRONT_LEFT")
CATEGORIES = ("vehicle.car", "movable_object.barrier", "animal", "human.pedestrian.adult")
OBJECTS = {
    "car": ("vehicle.car", (0, 1, 2)),
    "barrier": ("movable_object.barrier", (0, 1, 2)),
    "dog": ("animal", (0, 1)),
    "walker": ("human.pedestrian.adult", (1,)),
}


def ego(timestamp_us: int) -> dict[str, Any]:
    """Pose of the car: 10 m/s to the north-east, slightly tilted."""
    seconds = (timestamp_us - START_US) * 1e-6
    rotation = (
        Quaternion(axis=[0, 0, 1], angle=0.8 + 0.1 * seconds)
        * Quaternion(axis=[0, 1, 0], angle=0.03)
        * Quaternion(axis=[1, 0, 0], angle=-0.02)
    )
    position = [600.0 + 7.0 * seconds, 1600.0 + 7.1 * seconds, 0.25]
    return {"translation": position, "rotation": rotation.elements.tolist(), "timestamp": timestamp_us}


def write_nuscenes(root: Path) -> dict[str, list[dict[str, Any]]]:
    """Write the folder and return its tables."""
    tables: dict[str, list[dict[str, Any]]] = {
        "category": [{"token": f"category-{name}", "name": name, "description": ""} for name in CATEGORIES],
        "attribute": [{"token": "attribute-moving", "name": "vehicle.moving", "description": ""}],
        "visibility": [{"token": "4", "level": "v80-100", "description": ""}],
        "sensor": [],
        "calibrated_sensor": [],
        "ego_pose": [],
        "log": [{"token": "log-0", "logfile": "", "vehicle": "n015", "date_captured": "2018-08-01", "location": "x"}],
        "map": [{"token": "map-0", "log_tokens": ["log-0"], "category": "semantic_prior", "filename": "maps/m.png"}],
        "scene": [
            {
                "token": "scene-token", "name": SCENE, "description": "Many peds, turn left", "log_token": "log-0",
                "nbr_samples": 3, "first_sample_token": "sample-0", "last_sample_token": "sample-2",
            }
        ],
        "sample": [
            {
                "token": f"sample-{i}", "timestamp": START_US + 500_000 * i, "scene_token": "scene-token",
                "prev": f"sample-{i - 1}" if i else "", "next": f"sample-{i + 1}" if i < 2 else "",
            }
            for i in range(3)
        ],
        "sample_data": [],
    }  # fmt: skip
    (root / "maps").mkdir(parents=True)
    cv2.imwrite(str(root / "maps" / "m.png"), np.zeros((4, 4), np.uint8))
    for number, channel in enumerate((*CHANNELS, "LIDAR_TOP")):
        _add_sensor(root, tables, number, channel)
    tables["instance"], tables["sample_annotation"] = _objects(tables)
    (root / VERSION).mkdir()
    for name, rows in tables.items():
        (root / VERSION / f"{name}.json").write_text(json.dumps(rows), encoding="utf-8")
    return tables


def _add_sensor(root: Path, tables: dict[str, list[dict[str, Any]]], number: int, channel: str) -> None:
    is_camera = channel.startswith("CAM")
    tables["sensor"].append(
        {"token": f"sensor-{channel}", "channel": channel, "modality": "camera" if is_camera else "lidar"}
    )
    optical = Quaternion(w=0.5, x=-0.5, y=0.5, z=-0.5)
    mounting = Quaternion(axis=[0, 0, 1], angle=-1.0 * number)
    tables["calibrated_sensor"].append(
        {
            "token": f"calibrated-{channel}", "sensor_token": f"sensor-{channel}",
            "translation": [1.7 - 0.3 * number, 0.1 * number, 1.5 if is_camera else 1.84],
            "rotation": (mounting * optical if is_camera else mounting).elements.tolist(),
            "camera_intrinsic": [[12.5 + number, 0.0, 8.1], [0.0, 12.5 + number, 6.2], [0.0, 0.0, 1.0]]
            if is_camera else [],
        }
    )  # fmt: skip
    previous = None
    for step in range(5 if is_camera else 3):  # cameras: key frame, sweep, key frame, sweep, key frame
        is_key = step % 2 == 0 or not is_camera
        sample = step // 2 if is_camera else step
        timestamp = START_US + (250_000 * step - 40_000 + 8_000 * number if is_camera else 500_000 * step)
        folder, suffix = ("samples" if is_key else "sweeps"), ("jpg" if is_camera else "pcd.bin")
        file = root / folder / channel / f"n015__{channel}__{timestamp}.{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(100 * number + step)
        if is_camera:
            pixels = generator.integers(0, 256, (12, 16, 3), dtype=np.uint8)
            file.write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
        else:
            values = generator.normal(0, 10, (20, 5)).astype("<f4")
            values[:, 3] = generator.integers(0, 256, 20)
            file.write_bytes(values.tobytes())
        token = f"data-{channel}-{step}"
        tables["ego_pose"].append({"token": f"ego-{token}", **ego(timestamp)})
        record = {
            "token": token, "sample_token": f"sample-{sample}", "ego_pose_token": f"ego-{token}",
            "calibrated_sensor_token": f"calibrated-{channel}", "timestamp": timestamp, "is_key_frame": is_key,
            "fileformat": suffix.split(".")[0], "filename": file.relative_to(root).as_posix(),
            "width": 16 if is_camera else 0, "height": 12 if is_camera else 0, "prev": "", "next": "",
        }  # fmt: skip
        if previous is not None:
            record["prev"], previous["next"] = previous["token"], token
        tables["sample_data"].append(record)
        previous = record


def _objects(tables: dict[str, list[dict[str, Any]]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    instances, annotations = [], []
    for number, (name, (category, samples)) in enumerate(OBJECTS.items()):
        instances.append(
            {
                "token": f"{number:x}" * 32, "category_token": f"category-{category}", "nbr_annotations": len(samples),
                "first_annotation_token": f"{name}-{samples[0]}", "last_annotation_token": f"{name}-{samples[-1]}",
            }
        )  # fmt: skip
        for position, sample in enumerate(samples):
            speed = 6.0 if name == "car" else 0.0
            annotations.append(
                {
                    "token": f"{name}-{sample}", "sample_token": f"sample-{sample}",
                    "instance_token": f"{number:x}" * 32, "visibility_token": "4",
                    "attribute_tokens": ["attribute-moving"] if name == "car" else [],
                    "translation": [610.0 + speed * 0.5 * sample, 1605.0 + 4.0 * number, 1.0],
                    "size": [1.9, 4.6, 1.7],
                    "rotation": Quaternion(axis=[0, 0, 1], angle=0.3 + number).elements.tolist(),
                    "prev": f"{name}-{samples[position - 1]}" if position else "",
                    "next": f"{name}-{samples[position + 1]}" if position + 1 < len(samples) else "",
                    "num_lidar_pts": 5, "num_radar_pts": 0,
                }
            )  # fmt: skip
    return instances, annotations
