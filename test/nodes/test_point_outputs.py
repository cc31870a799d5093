"""Coloured clouds cost nothing while nobody looks at them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import rclpy
from cloud_layouts import LIDAR, cloud_message
from rclpy.lifecycle import LifecycleNode
from ros_system import Observer
from sensor_msgs.msg import PointCloud2

from lift3d_ros.bags.cloud_messages import packed_cloud_from_msg
from lift3d_ros.nodes.point_outputs import PointOutputs
from lift3d_ros.pipelines.cloud_sets import CloudSet, CloudSetEncoder
from lift3d_ros.pipelines.stream_colors import StreamColors

pytest.importorskip("torch")
from point_clouds import ellipsoid, encoder

pytestmark = pytest.mark.ros


def test_colours_are_made_only_for_a_subscriber(observer: Observer, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def color(_: StreamColors, points: Any, result: Any) -> Any:
        made.append("colours")
        return np.zeros((len(points), 3), np.uint8)

    monkeypatch.setattr(StreamColors, "color", color)
    subject = CloudSetEncoder(encoder())
    cloud = packed_cloud_from_msg(cloud_message(ellipsoid(200)), "/lidar/points")
    prepared = subject.prepare(CloudSet(cloud, LIDAR))
    result = subject.infer(prepared)
    node = LifecycleNode("point_features")
    try:
        outputs = PointOutputs(node)
        node.trigger_configure()
        node.trigger_activate()
        outputs.publish_colored(prepared, result)
        assert made == []
        observer.listen("/point_features/colored", PointCloud2)
        while not made:  # once the subscriber is known here
            outputs.publish_colored(prepared, result)
            rclpy.spin_once(node, timeout_sec=0.05)
        (message, *_) = observer.wait_for_messages("/point_features/colored", 1)
    finally:
        node.destroy_node()
    assert (message.width, message.header.frame_id) == (200, LIDAR)
