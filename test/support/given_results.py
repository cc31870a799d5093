"""Writes scene folders with labels, and detections for them as a replay would leave them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lift3d_ros.models.dfa3d.config import NUSCENES_CLASSES
from lift3d_ros.replay.results import DETECTIONS_FILE, detections_to_json
from lift3d_ros.types import BevDetections, Boxes3D, ModelIdentity

START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 500_000_000
SIZE = (128, 72)
CAMERAS = {"front": 0.0, "left": np.pi / 2, "back": np.pi, "right": -np.pi / 2}
MODEL = ModelIdentity("by hand", "ab" * 32, is_trained=True)

Label = dict[str, Any]


def label(name: str, x: float, y: float = 0.0, **known: Any) -> Label:
    """A box of 4 x 2 x 1.5 m that stands still and faces forward."""
    return {
        "class": name, "center": [x, y, 0.75], "size": [4.0, 2.0, 1.5], "yaw": 0.0, "velocity": [0.0, 0.0], **known
    }  # fmt: skip


def write_scene(folder: Path, frames: Sequence[Sequence[Label] | None]) -> Path:
    """Write a vehicle that stands still, with four cameras; None leaves a frame without labels."""
    folder.mkdir(parents=True, exist_ok=True)
    cameras = []
    for name, yaw in CAMERAS.items():
        c, s = np.cos(yaw), np.sin(yaw)
        T = np.array([[s, 0.0, c, c], [-c, 0.0, s, s], [0.0, -1.0, 0.0, 1.5], [0.0, 0.0, 0.0, 1.0]])
        K = [[64.0, 0.0, 63.5], [0.0, 64.0, 35.5], [0.0, 0.0, 1.0]]
        cameras.append({
            "name": name, "width": SIZE[0], "height": SIZE[1], "K": K, "frame_id": f"{name}_optical",
            "T_base_cam": T.tolist(),
        })  # fmt: skip
    entries = []
    for index, labels in enumerate(frames):
        stamp_ns, images = START_NS + index * PERIOD_NS, {}
        for number, name in enumerate(CAMERAS):
            file = folder / "images" / name / f"{index}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            coarse = np.random.default_rng([index, number]).integers(0, 256, (9, 16, 3), dtype=np.uint8)
            file.write_bytes(cv2.imencode(".jpg", cv2.resize(coarse, SIZE))[1].tobytes())
            images[name] = {"file": file.relative_to(folder).as_posix(), "stamp_ns": stamp_ns}
        entry: dict[str, Any] = {
            "index": index, "stamp_ns": stamp_ns, "T_world_base": np.eye(4).tolist(), "images": images
        }  # fmt: skip
        entries.append(entry if labels is None else {**entry, "boxes": list(labels)})
    document = {"scene": folder.name, "cameras": cameras, "frames": entries}
    (folder / "meta.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def write_results(folder: Path, frames: Mapping[int, Sequence[tuple[str, float, float]]]) -> Path:
    """Write frame index -> (class, x, score), boxes as those of :func:`label`."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for index, found in frames.items():
        count = len(found)
        boxes = Boxes3D(
            "base_link", NUSCENES_CLASSES, np.array([[x, 0.0, 0.75] for _, x, _ in found]).reshape(-1, 3),
            np.tile([4.0, 2.0, 1.5], (count, 1)), np.zeros(count), np.zeros((count, 2)),
            np.array([score for *_, score in found]),
            np.array([NUSCENES_CLASSES.index(name) for name, *_ in found], dtype=np.int64),
        )  # fmt: skip
        detections = BevDetections(START_NS + index * PERIOD_NS, boxes, (), MODEL, "first_frame")
        lines.append(detections_to_json(detections) + "\n")
    (folder / DETECTIONS_FILE).write_text("".join(lines), encoding="utf-8")
    return folder
