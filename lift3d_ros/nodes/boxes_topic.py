"""The type of a topic of boxes: our own detections, or those of vision_msgs where that package is installed."""

from __future__ import annotations

import importlib
from typing import Any

from lift3d_ros.errors import ConfigError
from lift3d_ros.msg import BevDetectionArray


def boxes_message(boxes_type: str, vision_name: str) -> type[Any]:
    """Return the message class of `topics.boxes_type`.

    Args:
        vision_name: class of vision_msgs that the node reads, for example ``Detection3DArray``.

    Raises:
        ConfigError: its package is not installed.
    """
    if boxes_type == "lift3d_ros":
        return BevDetectionArray
    try:
        kind: type[Any] = getattr(importlib.import_module("vision_msgs.msg"), vision_name)
    except (ImportError, AttributeError):
        raise ConfigError(
            f"parameter 'topics.boxes_type' is 'vision_msgs', and the package vision_msgs with {vision_name} is not "
            "there; install ros-<distribution>-vision-msgs, or publish lift3d_ros/BevDetectionArray"
        ) from None
    return kind
