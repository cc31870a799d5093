"""Writes a small recording of a vehicle that drives straight ahead with three cameras."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.rotations import rpy_matrix
from lift3d_ros.types import CameraImage, CameraModel

CAMERAS = {"front": 0.0, "left": np.pi / 2, "right": -np.pi / 2}
START_NS = 1_700_000_000_000_000_000
SPEED = 8.0  # m/s
SIZE = (320, 180)
_BODY_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
_MS = 1_000_000


@dataclass(frozen=True)
class Drive:
    """What is recorded; cameras fire 15 ms apart, messages are logged 20 ms after their stamps."""

    frames: int = 4
    period_s: float = 0.5
    mounted: Collection[str] = tuple(CAMERAS)
    calibrated: Collection[str] = tuple(CAMERAS)
    has_ego_motion: bool = True
    is_compressed: bool = True
    size: tuple[int, int] = SIZE
    start_ns: int = START_NS

    def picture(self, name: str, index: int) -> CameraImage | None:
        """Return the picture of a camera, None where it takes none; tests override it."""
        coarse = np.random.default_rng([index, list(CAMERAS).index(name)]).integers(0, 256, (9, 16, 3), dtype=np.uint8)
        pixels = cv2.resize(coarse, self.size, interpolation=cv2.INTER_CUBIC)
        frame_id = f"{name}_optical_frame"
        stamp_ns = self.stamp_ns(name, index)
        if self.is_compressed:
            data = np.asarray(cv2.imencode(".jpg", pixels)[1]).reshape(-1)
            return CameraImage(name, stamp_ns, frame_id, "jpeg", data)
        width, height = self.size
        return CameraImage(name, stamp_ns, frame_id, "bgr8", pixels.reshape(-1), width, height, 3 * width)

    def stamp_ns(self, name: str, index: int) -> int:
        return self.start_ns + round(index * self.period_s * 1e9) + list(CAMERAS).index(name) * 15 * _MS

    def image_topic(self, name: str) -> str:
        return f"/{name}/image/compressed" if self.is_compressed else f"/{name}/image"

    def model(self, name: str) -> CameraModel:
        width, height = self.size
        focal = 0.7 * width
        K = np.array([[focal, 0.0, width / 2 - 0.5], [0.0, focal, height / 2 - 0.5], [0.0, 0.0, 1.0]])
        return CameraModel(name, f"{name}_optical_frame", width, height, K)

    def more(self) -> Iterable[tuple[int, Callable[[BagWriter], Any]]]:
        """Return when something else is recorded, and what writes it; tests override it."""
        return ()

    def write(self, path: Path) -> Path:
        """Write the recording and return its path."""
        events = list(self.more())

        def at(log_ns: int, write: Callable[[BagWriter], Any]) -> None:
            events.append((log_ns, write))

        mountings = {
            ("base_link", f"{name}_optical_frame"): make_transform(
                rpy_matrix(0.0, 0.0, CAMERAS[name]) @ _BODY_OPTICAL, [1.0, 0.0, 1.5]
            )
            for name in self.mounted
        }
        first_ns = self.start_ns - 200 * _MS
        if mountings:
            at(first_ns, lambda w: w.transforms(mountings, first_ns, first_ns, is_static=True))
        last_ns = self.stamp_ns("right", self.frames - 1) + 300 * _MS
        for stamp_ns in range(first_ns, last_ns, 50 * _MS) if self.has_ego_motion else ():
            T = make_transform(np.eye(3), [SPEED * (stamp_ns - self.start_ns) * 1e-9, 0.0, 0.0])
            at(stamp_ns, lambda w, s=stamp_ns, T=T: w.transforms({("odom", "base_link"): T}, s, s))
        for index in range(self.frames):
            for name in CAMERAS:
                image = self.picture(name, index)
                if image is None:
                    continue
                log_ns = Drive.stamp_ns(self, name, index) + 20 * _MS  # arrival does not depend on a wrong clock
                if name in self.calibrated:
                    at(
                        log_ns,
                        lambda w, n=name, s=image.stamp_ns, t=log_ns: w.camera_info(
                            f"/{n}/camera_info", self.model(n), s, t
                        ),
                    )
                topic = self.image_topic(name)
                at(log_ns, lambda w, topic=topic, image=image, t=log_ns: w.image(topic, image, t))
        with BagWriter(path) as writer:
            for _, write in sorted(events, key=lambda event: event[0]):
                write(writer)
        return path
