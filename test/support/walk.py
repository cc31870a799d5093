"""Writes a small recording of the keypoints of a person who walks, with an arm that nobody knows beside."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from known_shapes import CAMERA, COCO17, PERSON

from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.rotations import rpy_matrix
from lift3d_ros.geometry.skeleton import SkeletonFacts
from lift3d_ros.pipelines.keypoint_sets import StampedKeypoints
from lift3d_ros.types import Keypoints2D, Skeleton

START_NS = 1_700_000_000_000_000_000
KEYPOINTS_TOPIC, INFO_TOPIC = "/front/keypoints", "/front/camera_info"
OPTICAL = CAMERA.frame_id
# A robot arm of seven joints.
ARM = SkeletonFacts(
    Skeleton("arm", tuple(f"link_{number}" for number in range(7)), np.array([[n, n + 1] for n in range(6)]))
)
_ARM_POINTS = np.array([[0, 0], [0, -60], [40, -110], [100, -120], [140, -90], [165, -60], [170, -20]], dtype=float)
_BODY_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
# The camera looks down by 0.2 rad from 1.5 m.
T_BASE_CAM = make_transform(rpy_matrix(0.0, 0.2, 0.0) @ _BODY_OPTICAL, [0.0, 0.0, 1.5])


def walking(index: int, track_id: int = 7) -> Keypoints2D:
    """Return the person after some steps to the right, as CAMERA sees it."""
    joints = PERSON + np.array([0.3 + 0.05 * index, 0.2, 4.0])
    pixels = 900.0 * joints[:, :2] / joints[:, 2:] + [640.0, 360.0]
    return Keypoints2D(pixels, np.full(17, 0.9), None, "coco17", "person", 0, track_id)


def arm(instance_id: int = 1) -> Keypoints2D:
    """Return the arm."""
    return Keypoints2D(_ARM_POINTS + np.array([300.0, 500.0]), np.full(7, 0.8), None, "arm", "robot", instance_id)


@dataclass(frozen=True)
class Walk:
    """What is recorded; messages are logged 20 ms after their stamps, the mounting a second before them."""

    frames: int = 4
    period_s: float = 0.1
    is_calibrated: bool = True
    is_mounted: bool = True
    start_ns: int = START_NS

    def stamp_ns(self, index: int) -> int:
        return self.start_ns + round(index * self.period_s * 1e9)

    def keypoints(self, index: int) -> StampedKeypoints:
        return StampedKeypoints(
            self.stamp_ns(index), OPTICAL, (walking(index), arm()), {"coco17": COCO17, "arm": ARM}, 1280, 720
        )

    def more(self) -> Iterable[tuple[int, Callable[[BagWriter], Any]]]:
        """Return when something else is recorded, and what writes it; tests override it."""
        return ()

    def write(self, path: Path) -> Path:
        """Write the recording and return its path."""
        events = list(self.more())
        if self.is_mounted:
            mounting = {("base_link", OPTICAL): T_BASE_CAM}
            first_ns = self.start_ns - 1_000_000_000
            events.append((first_ns, lambda w: w.transforms(mounting, 0, first_ns, is_static=True)))
        for index in range(self.frames):
            log_ns = self.stamp_ns(index) + 20_000_000
            if self.is_calibrated:
                events.append((log_ns, lambda w, t=log_ns: w.camera_info(INFO_TOPIC, CAMERA, t, t)))
            keypoints = self.keypoints(index)
            events.append((log_ns, lambda w, k=keypoints, t=log_ns: w.keypoints(KEYPOINTS_TOPIC, k, t)))
        with BagWriter(path) as writer:
            for _, write in sorted(events, key=lambda event: event[0]):
                write(writer)
        return path


def message(keypoints: StampedKeypoints) -> Any:
    """Return keypoints as an object with the fields of Keypoints2DArray, to be spoilt."""
    seconds, nanoseconds = divmod(keypoints.stamp_ns, 1_000_000_000)
    header = SimpleNamespace(stamp=SimpleNamespace(sec=seconds, nanosec=nanoseconds), frame_id=keypoints.frame_id)
    instances = [
        SimpleNamespace(
            skeleton=keypoints.skeletons[entry.skeleton].skeleton.name,
            joint_names=list(keypoints.skeletons[entry.skeleton].skeleton.joint_names),
            points=entry.points.reshape(-1).tolist(),
            scores=np.asarray(entry.confidence).tolist(),
            edges=keypoints.skeletons[entry.skeleton].skeleton.edges.reshape(-1).tolist(),
            sides=[2 if side < 0 else int(side) for side in keypoints.skeletons[entry.skeleton].skeleton.sides],
            category=entry.category,
            instance_id=entry.instance_id,
            track_id=entry.track_id,
        )
        for entry in keypoints.instances
    ]
    return SimpleNamespace(header=header, width=keypoints.width, height=keypoints.height, instances=instances)


def changed(entry: Any, **changes: Any) -> Any:
    """Return an instance of a message with other fields."""
    return type(entry)(**{**vars(entry), **changes})
