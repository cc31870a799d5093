"""Writes a small recording of a blue ball on a table, with the box that a detector found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.rotations import rpy_matrix
from lift3d_ros.models.lrm.object_image import PixelBox
from lift3d_ros.types import Boxes3D, CameraImage, CameraModel

START_NS = 1_700_000_000_000_000_000
IMAGE_TOPIC, INFO_TOPIC, BOXES_TOPIC = "/front/image", "/front/camera_info", "/boxes"
OPTICAL = "front_optical"
SIZE = (320, 240)
CAMERA = CameraModel("front", OPTICAL, *SIZE, np.array([[300.0, 0.0, 159.5], [0.0, 300.0, 119.5], [0.0, 0.0, 1.0]]))
RADIUS_M, DISTANCE_M = 0.3, 2.0
# In the frame base_link: x forward, z up; the camera is 1 m above the ground.
BALL = np.array([DISTANCE_M, 0.0, 1.0])
T_BASE_CAM = make_transform(
    rpy_matrix(0.0, 0.0, 0.0) @ np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), [0.0, 0.0, 1.0]
)


def picture(seed: int = 0) -> Any:
    """Return (H, W, 3) RGB: a ball in front of a grey wall."""
    rng = np.random.default_rng(seed)
    pixels = np.full((SIZE[1], SIZE[0], 3), 130, dtype=np.uint8) + rng.integers(0, 12, (SIZE[1], SIZE[0], 3), np.uint8)
    pixels = np.ascontiguousarray(pixels)
    radius = round(300.0 * RADIUS_M / DISTANCE_M)
    cv2.circle(pixels, (160, 120), radius, (20, 40, 200), -1, cv2.LINE_AA)
    return pixels


def ball_pixels() -> PixelBox:
    """Return a box around the ball."""
    return PixelBox(65, 105, 175, 215)


def camera_image(stamp_ns: int = START_NS, encoding: str = "rgb8", seed: int = 0) -> CameraImage:
    """Return the picture as a topic brings it."""
    data = picture(seed).reshape(-1)
    return CameraImage("front", stamp_ns, OPTICAL, encoding, data, *SIZE, 3 * SIZE[0], source=IMAGE_TOPIC)


def ball_box(track_ids: tuple[int, ...] = (7,), label: str = "ball", score: float = 0.9) -> Boxes3D:
    """Return the box around the ball, once for each track."""
    count = len(track_ids)
    return Boxes3D(
        "base_link",
        (label,),
        np.tile(BALL, (count, 1)),
        np.full((count, 3), 2.0 * RADIUS_M),
        np.zeros(count),
        np.zeros((count, 2)),
        np.full(count, score),
        np.zeros(count, dtype=np.int64),
        np.array(track_ids),
    )


@dataclass(frozen=True)
class Tabletop:
    """What is recorded; the detector needs 100 ms, messages are logged 20 ms after they are made."""

    frames: int = 3
    period_s: float = 1.0
    is_calibrated: bool = True
    start_ns: int = START_NS

    def stamp_ns(self, index: int) -> int:
        return self.start_ns + round(index * self.period_s * 1e9)

    def boxes(self, index: int) -> Boxes3D | None:
        """Return what the detector found; tests override it."""
        return ball_box()

    def more(self) -> Iterable[tuple[int, Callable[[BagWriter], Any]]]:
        """Return when something else is recorded, and what writes it; tests override it."""
        return ()

    def write(self, path: Path) -> Path:
        """Write the recording and return its path."""
        mounting = {("base_link", OPTICAL): T_BASE_CAM}
        first_ns = self.start_ns - 1_000_000_000
        events: list[tuple[int, Callable[[BagWriter], Any]]] = [
            *self.more(),
            (first_ns, lambda w: w.transforms(mounting, 0, first_ns, is_static=True)),
        ]
        for index in range(self.frames):
            stamp_ns = self.stamp_ns(index)
            log_ns = stamp_ns + 20_000_000
            if self.is_calibrated:
                events.append((log_ns, lambda w, t=log_ns: w.camera_info(INFO_TOPIC, CAMERA, t, t)))
            image = camera_image(stamp_ns, seed=index)
            events.append((log_ns, lambda w, i=image, t=log_ns: w.image(IMAGE_TOPIC, i, t)))
            boxes = self.boxes(index)
            if boxes is not None:
                events.append(
                    (
                        log_ns + 100_000_000,
                        lambda w, b=boxes, s=stamp_ns, t=log_ns: w.boxes(BOXES_TOPIC, b, s, t + 10**8),
                    )
                )
        with BagWriter(path) as writer:
            for _, write in sorted(events, key=lambda event: event[0]):
                write(writer)
        return path
