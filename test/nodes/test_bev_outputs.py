"""Pictures and markers cost nothing while nobody looks at them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import rclpy
from rclpy.lifecycle import LifecycleNode
from ros_system import Observer
from sensor_msgs.msg import Image
from visualization_msgs.msg import Marker, MarkerArray

from lift3d_ros.nodes import bev_outputs
from lift3d_ros.nodes.bev_outputs import BevOutputs
from lift3d_ros.types import (
    BevDetections,
    Boxes3D,
    CameraImage,
    CameraModel,
    CameraView,
    FrameSet,
    ModelIdentity,
)

pytestmark = pytest.mark.ros


def test_markers_and_the_birds_eye_picture_are_made_only_for_a_subscriber(
    observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def draw(*_: Any, **__: Any) -> Any:
        made.append("picture")
        return np.zeros((4, 4, 3), np.uint8)

    def markers(*_: Any) -> MarkerArray:
        made.append("markers")
        return MarkerArray(markers=[Marker()])

    monkeypatch.setattr(bev_outputs, "draw_bev", draw)
    monkeypatch.setattr(bev_outputs, "marker_msgs", markers)
    boxes = Boxes3D.empty("base_link", ("car",))
    result = BevDetections(1, boxes, (), ModelIdentity("tiny", "ab" * 32, is_trained=False), "fused")
    model = CameraModel("front", "f", 8, 8, np.diag([5.0, 5.0, 1.0]))
    view = CameraView(CameraImage("front", 1, "f", "jpeg", np.zeros(1, np.uint8)), model, np.eye(4))
    frame_set = FrameSet(1, {"front": view})
    node = LifecycleNode("bev_detection")
    try:
        outputs = BevOutputs(node, 1.0)
        node.trigger_configure()
        node.trigger_activate()
        outputs.publish_views(result, boxes, frame_set)
        assert made == []
        for topic, kind, expected in (("bev", Image, "picture"), ("markers", MarkerArray, "markers")):
            assert expected not in made
            observer.listen(f"/bev_detection/{topic}", kind)
            while expected not in made:  # once the subscriber is known here
                outputs.publish_views(result, boxes, frame_set)
                rclpy.spin_once(node, timeout_sec=0.05)
            observer.wait_for_messages(f"/bev_detection/{topic}", 1)
    finally:
        node.destroy_node()
