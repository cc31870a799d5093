"""An engine of the skeleton lifter that knows the right shapes, and cameras that look at them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.engines.protocol import Arrays, EngineState, check_inputs
from lift3d_ros.geometry.rotations import rotation_vectors_to_matrices
from lift3d_ros.geometry.skeleton import SkeletonFacts, load_skeleton
from lift3d_ros.pipelines.skeleton_batches import KeypointFrame
from lift3d_ros.pipelines.skeleton_engine import LfmEngine
from lift3d_ros.pipelines.skeleton_graph import LFM_SIGNATURE
from lift3d_ros.pipelines.skeleton_lifting import SkeletonLifter, SkeletonLiftingConfig
from lift3d_ros.types import CameraModel, Keypoints2D, ModelIdentity

# A person who faces the camera, with the left arm forward and the right knee bent forward: x right, y down, z away.
PERSON = np.array(
    [
        [0.0, -0.70, -0.10], [0.03, -0.73, -0.08], [-0.03, -0.73, -0.08], [0.07, -0.72, 0.0], [-0.07, -0.72, 0.0],
        [0.175, -0.50, 0.0], [-0.175, -0.50, 0.0], [0.22, -0.42, -0.25], [-0.30, -0.25, 0.05],
        [0.22, -0.42, -0.50], [-0.33, -0.02, -0.05], [0.10, 0.0, 0.0], [-0.10, 0.0, 0.0],
        [0.12, 0.42, 0.0], [-0.12, 0.25, -0.33], [0.12, 0.83, 0.04], [-0.12, 0.65, -0.25],
    ]
)  # fmt: skip
COCO17 = load_skeleton("coco17")
CAMERA = CameraModel("front", "front_optical", 1280, 720, np.array([[900.0, 0, 640], [0, 900, 360], [0, 0, 1]]))


class _NoState:
    def reset(self) -> None: ...

    def snapshot(self) -> Arrays:
        return {}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None: ...


class KnownShapes:
    """Returns given shapes, each turned at random, whatever the points are; keeps the inputs of its runs."""

    name = "known"
    signature = LFM_SIGNATURE

    def __init__(
        self, shapes: Mapping[int, NDArray[np.float64]], sign_logit: float = 0.0, spread: float = 0.05
    ) -> None:
        """`shapes`: number of joints -> (J, 3)."""
        self.shapes = dict(shapes)
        self.sign_logit, self.spread = sign_logit, spread
        self.runs: list[Mapping[str, NDArray[Any]]] = []

    def new_state(self) -> EngineState:
        return _NoState()

    def run(self, inputs: Mapping[str, NDArray[Any]], state: EngineState) -> Arrays:
        check_inputs(self.signature, inputs)
        self.runs.append(inputs)
        exists = inputs["exists"]
        shape = np.zeros((*exists.shape, 3), dtype=np.float32)
        turns = rotation_vectors_to_matrices(np.random.default_rng(0).normal(size=(len(exists), 3)))
        for row, count in enumerate(exists.sum(axis=1)):
            known = self.shapes.get(int(count))
            if known is None:
                known = np.random.default_rng(int(count)).normal(size=(int(count), 3))
            centred = known - known.mean(axis=0)
            shape[row, :count] = centred / np.sqrt((centred**2).sum(axis=1).mean()) @ turns[row]
        return {
            "shape": shape,
            "sign_logit": np.full(len(exists), self.sign_logit, dtype=np.float32),
            "spread": np.full(exists.shape, self.spread, dtype=np.float32),
        }


def known_lifter(
    config: SkeletonLiftingConfig | None = None,
    shapes: Mapping[int, NDArray[np.float64]] | None = None,
    sign_logit: float = 0.0,
    spread: float = 0.05,
) -> tuple[SkeletonLifter, KnownShapes]:
    """Return a lifter whose network gives the right shape for 17 joints, and its engine."""
    engine = KnownShapes({17: PERSON} if shapes is None else shapes, sign_logit, spread)
    identity = ModelIdentity("known", "0" * 64, is_trained=True, backend="known")
    return SkeletonLifter(LfmEngine(engine, identity), config or SkeletonLiftingConfig()), engine


def seen_person(
    place: tuple[float, float, float] = (0.5, 0.2, 4.0), **changes: Any
) -> tuple[NDArray[np.float64], Keypoints2D]:
    """Return the person's joints at `place` in the optical frame, metres, and as CAMERA sees them."""
    joints = PERSON + np.array(place)
    pixels = 900.0 * joints[:, :2] / joints[:, 2:] + [640.0, 360.0]
    return joints, Keypoints2D(**{"points": pixels, "skeleton": "coco17", "category": "person", **changes})


def frame_of(*instances: Keypoints2D, facts: SkeletonFacts = COCO17, **changes: Any) -> KeypointFrame:
    """Return a frame of CAMERA with these instances."""
    skeletons = {"coco17": COCO17, facts.skeleton.name: facts}
    values = {"stamp_ns": 0, "frame_id": "front_optical", "camera": CAMERA, **changes}
    return KeypointFrame(instances=instances, skeletons=skeletons, **values)
