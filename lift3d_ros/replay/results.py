"""Detections and stage timings as JSON lines, the same bytes for the same input.

`detections.jsonl` holds what the model found; timings, which differ from run to run, go to `timing.jsonl`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lift3d_ros.errors import Lift3dError
from lift3d_ros.types import BevDetections, Boxes3D, CameraUse, ModelIdentity

DETECTIONS_FILE = "detections.jsonl"
TIMING_FILE = "timing.jsonl"
SETS_FILE = "sets.jsonl"


def detections_to_json(detections: BevDetections) -> str:
    """Return one line of JSON: boxes with all digits, cameras, model and temporal state, no timings."""
    boxes, model = detections.boxes, detections.model
    assert boxes.track_ids is not None
    document = {
        "stamp_ns": detections.stamp_ns,
        "frame_id": boxes.frame_id,
        "boxes": [
            {
                "label": boxes.class_names[boxes.labels[i]],
                "score": float(boxes.scores[i]),
                "center": boxes.centers[i].tolist(),
                "size": boxes.sizes[i].tolist(),
                "yaw": float(boxes.yaws[i]),
                "velocity": [None if np.isnan(v) else v for v in boxes.velocities[i].tolist()],
                "track_id": int(boxes.track_ids[i]),
            }
            for i in range(len(boxes))
        ],
        "cameras": [
            {"name": use.name, "is_used": use.is_used, "stamp_ns": use.stamp_ns, "age_s": use.age_s}
            for use in detections.cameras
        ],
        "model": model.name,
        "weights_sha256": model.weights_sha256,
        "is_trained": model.is_trained,
        "backend": model.backend,
        "temporal_state": detections.temporal_state,
        "problems": list(detections.problems),
        "class_names": list(boxes.class_names),
    }
    return json.dumps(document)


def refuse_results(file: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds a file of results unless they shall be replaced.

    Raises:
        Lift3dError: it does.
    """
    if file.exists() and not overwrite:
        raise Lift3dError(
            f"{file.parent}: already holds results; replace them with --overwrite, or choose another folder"
        )


def timings_to_json(stamp_ns: int, timings_s: Mapping[str, float]) -> str:
    """Return one line of JSON: stamp and milliseconds of each stage."""
    stages = {name: round(seconds * 1e3, 3) for name, seconds in timings_s.items()}
    return json.dumps({"stamp_ns": stamp_ns, "stages_ms": stages})


def read_detections(path: Path, timing_path: Path | None = None) -> Iterator[BevDetections]:
    """Read detections in file order, with their timings where `timing_path` exists.

    Raises:
        Lift3dError: the file is missing, or a line is not a detection; names file and line.
    """
    timings = _read_timings(timing_path) if timing_path is not None and timing_path.is_file() else {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Lift3dError(f"{path}: cannot be read ({error}); expected the detections.jsonl of a replay") from None
    for number, line in enumerate(lines, start=1):
        try:
            document = json.loads(line)
            yield _from_json(document, timings.get(int(document["stamp_ns"]), {}))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Lift3dError(
                f"{path}, line {number}: not a detection ({type(error).__name__}: {error}); "
                "expected the JSON lines that 'lift3d replay' writes"
            ) from None


def _read_timings(path: Path) -> dict[int, dict[str, float]]:
    documents = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {d["stamp_ns"]: {name: ms * 1e-3 for name, ms in d["stages_ms"].items()} for d in documents}


def _from_json(document: Mapping[str, Any], timings_s: Mapping[str, float]) -> BevDetections:
    class_names = tuple(document["class_names"])
    entries = document["boxes"]
    boxes = Boxes3D(
        frame_id=document["frame_id"],
        class_names=class_names,
        centers=np.array([entry["center"] for entry in entries], dtype=np.float64).reshape(-1, 3),
        sizes=np.array([entry["size"] for entry in entries], dtype=np.float64).reshape(-1, 3),
        yaws=np.array([entry["yaw"] for entry in entries], dtype=np.float64),
        velocities=np.array([entry["velocity"] for entry in entries], dtype=np.float64).reshape(-1, 2),
        scores=np.array([entry["score"] for entry in entries], dtype=np.float64),
        labels=np.array([class_names.index(entry["label"]) for entry in entries], dtype=np.int64),
        track_ids=np.array([entry["track_id"] for entry in entries], dtype=np.int64),
    )
    return BevDetections(
        stamp_ns=int(document["stamp_ns"]),
        boxes=boxes,
        cameras=tuple(CameraUse(**entry) for entry in document["cameras"]),
        model=ModelIdentity(document["model"], document["weights_sha256"], document["is_trained"], document["backend"]),
        temporal_state=document["temporal_state"],
        timings_s=timings_s,
        problems=tuple(document["problems"]),
    )
