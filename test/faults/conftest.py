"""Real nodes in processes of their own, on a DDS domain of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 on this machine")
pytest.importorskip("lift3d_ros.msg", reason="the interfaces are not built: run 'make setup'")

from drive import CAMERAS
from ros_system import Observer, use_own_domain

use_own_domain()

# Torch needs no exported graph, so a node is ready in seconds.
PARAMETERS: dict[str, Any] = {
    "cameras": list(CAMERAS),
    "topics.is_compressed": True,
    "sync.drop": False,
    "qos.reliability": "reliable",
    "engine.backend": "torch",
    "engine.threads": 1,
    "detector.score_threshold": 0.0,
    "detector.max_boxes": 20,
}


@pytest.fixture
def parameters() -> dict[str, Any]:
    return dict(PARAMETERS)


@pytest.fixture
def observer() -> Iterator[Observer]:
    observer = Observer()
    observer.listen_to_detections()
    yield observer
    observer.close()
