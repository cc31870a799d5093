"""Files with true skeletons for tests of the evaluation: sets of points, cameras with detections, JSON of H3WB."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from lfm_sets import small_sets

from lift3d_ros.datasets.keypoints import KeypointSet
from lift3d_ros.engines.protocol import Arrays, EngineState, check_inputs
from lift3d_ros.pipelines.skeleton_engine import LfmEngine
from lift3d_ros.pipelines.skeleton_graph import LFM_SIGNATURE
from lift3d_ros.types import ModelIdentity


def arrays_of(one: KeypointSet) -> dict[str, Any]:
    """Return the arrays of the documented format."""
    return {
        "joints": one.joints.astype(np.float16),
        "edges": one.edges.astype(np.int16),
        "names": np.array(one.joint_names),
        "side": one.side,
        "valid": one.valid,
        "subject": one.subject,
        "split": one.is_validation.astype(np.uint8),
    }


def write_set(path: Path, **changes: Any) -> Path:
    """Write the bird of the small sets, with some arrays replaced; None leaves an array out."""
    arrays = {**arrays_of(small_sets()[0]), **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def write_pairs(path: Path, **arrays: Any) -> Path:
    """Write a bird that two cameras see exactly, one of them with a lens; `arrays` are added."""
    bird = small_sets()[0]
    joints = bird.joints[:6].astype(np.float64)
    turns = [np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]), np.array([[0.0, 1, 0], [0, 0, -1], [-1, 0, 0]])]
    away = np.array([[0.0, 0, 5.0], [0.0, 0.1, 6.0]])
    pixels = []
    for turn, shift in zip(turns, away, strict=True):
        seen = joints @ turn.T + shift
        pixels.append(800.0 * seen[..., :2] / seen[..., 2:] + [640.0, 360.0])
    frames, count = joints.shape[:2]
    np.savez(
        path,
        keypoints2d=np.stack(pixels, axis=1),
        confidence=np.ones((frames, 2, count)),
        valid2d=np.ones((frames, 2, count), bool),
        joints3d=joints,
        valid3d=np.ones((frames, count), bool),
        K=np.tile(np.array([[800.0, 0, 640], [0, 800, 360], [0, 0, 1]]), (2, 1, 1)),
        distortion=np.array([[0.0] * 5, [1e-6, 0, 0, 0, 0]]),
        R=np.stack(turns),
        t=away,
        image_size=np.array([[1280, 720]] * 2),
        edges=bird.edges,
        names=np.array(bird.joint_names),
        **arrays,
    )
    return path


def h3wb_document(samples: int = 3) -> dict[str, Any]:
    """Return whole bodies of random joints, in millimetres, with one joint that is not seen."""
    rng = np.random.default_rng(3)
    document: dict[str, Any] = {}
    for number in range(samples):
        joints = 300.0 * rng.standard_normal((133, 3)) + [0.0, 0.0, 5000.0]
        pixels = 1145.0 * joints[:, :2] / joints[:, 2:] + 500.0
        document[str(number)] = {
            "image_path": f"{number}.jpg",
            "keypoints_2d": {str(joint): {"x": x, "y": y} for joint, (x, y) in enumerate(pixels.tolist())},
            "keypoints_3d": {str(j): {"x": x, "y": y, "z": z} for j, (x, y, z) in enumerate(joints.tolist())},
        }
    document["0"]["keypoints_2d"]["5"] = None
    return document


def write_h3wb(path: Path, document: Any = None) -> Path:
    path.write_text(json.dumps(h3wb_document() if document is None else document))
    return path


class FlatShapes:
    """An engine that knows nothing: its shapes are the points and depth 0, or what `depth` makes of them."""

    name = "flat"
    signature = LFM_SIGNATURE

    def __init__(self, sign_logit: float = 3.0) -> None:
        self.sign_logit = sign_logit
        self.sides: list[np.ndarray[Any, Any]] = []

    def new_state(self) -> EngineState:
        return None  # type: ignore[return-value]

    def depth(self, points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.zeros_like(points[..., :1])

    def run(self, inputs: Any, state: EngineState) -> Arrays:
        check_inputs(self.signature, inputs)
        self.sides.append(inputs["side"])
        points, exists = inputs["points"], inputs["exists"]
        shape = np.concatenate([points, self.depth(points)], axis=2) * exists[..., None]
        size = np.sqrt((shape**2).sum(axis=(1, 2)) / np.maximum(exists.sum(axis=1), 1))
        return {
            "shape": (shape / np.maximum(size, 1e-9)[:, None, None]).astype(np.float32),
            "sign_logit": np.full(len(exists), self.sign_logit, np.float32),
            "spread": np.full(exists.shape, 0.1, np.float32),
        }


def flat_engine(engine: FlatShapes | None = None) -> LfmEngine:
    return LfmEngine(engine or FlatShapes(), ModelIdentity("flat", "0" * 64, is_trained=True, backend="flat"))
