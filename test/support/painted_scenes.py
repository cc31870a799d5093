"""A source of made-up scenes for training that prepares them in worker processes, with faults where asked."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from painted_street import HEIGHT, WIDTH

from lift3d_ros.datasets.labelled import LabelledSet
from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.models.dfa3d.config import NUSCENES_CLASSES
from lift3d_ros.types import Boxes3D, CameraImage, CameraModel, CameraView, EgoMotion, FrameSet

NUM_FRAMES = 3


class PaintedScenes:
    """Scenes of one colour, which is that of their number."""

    def __init__(self, faults: dict[str, str], delay_s: float) -> None:
        self._faults, self._delay_s = faults, delay_s
        self.class_names = NUSCENES_CLASSES
        self.scenes: tuple[str, ...] = ()

    def num_frames(self, scene: str) -> int:
        return NUM_FRAMES

    def load(self, scene: str, index: int) -> LabelledSet:
        time.sleep(self._delay_s)
        fault = self._faults.get(scene)
        if fault == "dies":
            os._exit(9)
        if fault is not None:
            raise RuntimeError(fault)
        number = int(scene.removeprefix("painted-"))
        stamp_ns = 1_000_000_000 + 500_000_000 * index
        K = np.array([[130.0, 0.0, WIDTH / 2], [0.0, 130.0, HEIGHT / 2], [0.0, 0.0, 1.0]])
        T_base_cam = make_transform(np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), [1.0, 0.0, 1.5])
        pixels = np.full(WIDTH * HEIGHT * 3, number, dtype=np.uint8)
        image = CameraImage("front", stamp_ns, "front", "rgb8", pixels, WIDTH, HEIGHT, 3 * WIDTH)
        view = CameraView(image, CameraModel("front", "front", WIDTH, HEIGHT, K), T_base_cam)
        boxes = Boxes3D(
            "base_link", NUSCENES_CLASSES, np.array([[12.0, 1.0, 0.8]]), np.array([[4.5, 1.9, 1.6]]), np.zeros(1),
            np.zeros((1, 2)), np.ones(1), np.zeros(1, dtype=np.int64),
        )  # fmt: skip
        return LabelledSet(scene, FrameSet(stamp_ns, {"front": view}, ego=EgoMotion(stamp_ns, np.eye(4))), boxes)


@dataclass(frozen=True)
class PaintedSource:
    """What worker processes open; `faults` maps a scene to ``dies`` or to the text of an error."""

    num_scenes: int = 200
    faults: tuple[tuple[str, str], ...] = ()
    delay_s: float = 0.0

    def open(self, class_names: Sequence[str], stack: ExitStack) -> PaintedScenes:
        return PaintedScenes(dict(self.faults), self.delay_s)

    def scenes(self, class_names: Sequence[str]) -> Sequence[str]:
        return tuple(f"painted-{number}" for number in range(self.num_scenes))
