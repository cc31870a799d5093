"""Detections of many short scenes in one small file, to be scored on another machine than the one that made them.

Kept are the best boxes of each frame in half precision, scores in float32. Nothing is unpickled, and what a file claims
to hold is checked against its length.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.atomic_file import write_atomically
from lift3d_ros.errors import DatasetError
from lift3d_ros.types import Boxes3D

MAX_BOXES = 100
MIN_SCORE = 0.01
_MAX_FILE_BYTES = 1 << 30
_FIELDS = {"centers": 3, "sizes": 3, "yaws": 0, "velocities": 2, "scores": 0, "labels": 0}

SceneBoxes = Mapping[str, Mapping[int, Boxes3D]]
"""Scene -> stamp_ns -> boxes in the base frame."""


def write_detections(path: Path, scenes: SceneBoxes) -> None:
    """Write the best `MAX_BOXES` boxes of each frame that reach `MIN_SCORE`; there is at least one frame.

    Raises:
        DatasetError: the file cannot be written.
    """
    from safetensors.numpy import save

    frames = [(scene, stamp, boxes) for scene, found in scenes.items() for stamp, boxes in found.items()]
    kept = [_best(boxes) for _, _, boxes in frames]
    arrays: dict[str, NDArray[Any]] = {
        "stamp_ns": np.array([stamp for _, stamp, _ in frames], dtype=np.int64),
        "num_boxes": np.array([len(boxes) for boxes in kept], dtype=np.int64),
    }
    for name in _FIELDS:
        joined = np.concatenate([getattr(boxes, name) for boxes in kept])
        arrays[name] = joined.astype({"scores": np.float32, "labels": np.uint8}.get(name, np.float16))
    first = frames[0][2]
    facts = {
        "frame_id": first.frame_id,
        "class_names": list(first.class_names),
        "scenes": [[scene, len(found)] for scene, found in scenes.items()],
    }
    try:
        write_atomically(path, save(arrays, metadata={"detections": json.dumps(facts)}))
    except OSError as error:
        raise DatasetError(f"{path}: cannot be written ({error.strerror}); name another folder") from None


def read_detections(path: Path) -> dict[str, dict[int, Boxes3D]]:
    """Return what :func:`write_detections` wrote.

    Raises:
        DatasetError: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if (size := path.stat().st_size) > _MAX_FILE_BYTES:
            raise DatasetError(f"{path}: {size / 1e9:.1f} GB; expected at most {_MAX_FILE_BYTES / 1e9:.1f}")
        with safe_open(path, framework="numpy") as file:
            facts = json.loads(file.metadata()["detections"])
            arrays = {name: file.get_tensor(name) for name in ("stamp_ns", "num_boxes", *_FIELDS)}
        return _scenes(facts, arrays)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DatasetError(f"{path}: not readable as detections ({error}); make the file again") from None


def _scenes(facts: Any, arrays: Mapping[str, NDArray[Any]]) -> dict[str, dict[int, Boxes3D]]:
    counts, names = arrays["num_boxes"], tuple(map(str, facts["class_names"]))
    total = int(counts.sum())
    for name, width in _FIELDS.items():
        expected = (total, width) if width else (total,)
        if arrays[name].shape != expected:
            raise ValueError(f"'{name}' has shape {arrays[name].shape}, expected {expected}")
    if counts.ndim != 1 or counts.min(initial=0) < 0 or arrays["stamp_ns"].shape != counts.shape:
        raise ValueError("the numbers of boxes do not fit the frames")
    if total and int(arrays["labels"].max()) >= len(names):
        raise ValueError(f"label {int(arrays['labels'].max())} of {len(names)} classes")
    if sum(int(count) for _, count in facts["scenes"]) != len(counts):
        raise ValueError(f"the scenes have other frames than the {len(counts)} that are there")
    ends = counts.cumsum()
    result: dict[str, dict[int, Boxes3D]] = {}
    frame = 0
    for scene, count in facts["scenes"]:
        found = result.setdefault(str(scene), {})
        for row in range(frame, frame + int(count)):
            part = slice(int(ends[row] - counts[row]), int(ends[row]))
            values: dict[str, Any] = {name: arrays[name][part] for name in _FIELDS}  # the types are those of Boxes3D
            found[int(arrays["stamp_ns"][row])] = Boxes3D(str(facts["frame_id"]), names, **values)
        frame += int(count)
    return result


def _best(boxes: Boxes3D) -> Boxes3D:
    order = np.argsort(-boxes.scores, kind="stable")[:MAX_BOXES]
    return boxes.select(order[boxes.scores[order] >= MIN_SCORE])
