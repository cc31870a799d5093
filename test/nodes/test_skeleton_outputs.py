"""Markers of skeletons cost nothing while nobody looks at them."""

from __future__ import annotations

from typing import Any

import pytest
import rclpy
from known_shapes import frame_of, known_lifter, seen_person
from rclpy.lifecycle import LifecycleNode
from ros_system import Observer
from visualization_msgs.msg import Marker, MarkerArray

from lift3d_ros.nodes import skeleton_outputs
from lift3d_ros.nodes.skeleton_outputs import SkeletonOutputs

pytestmark = pytest.mark.ros


def test_markers_are_made_only_for_a_subscriber(observer: Observer, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def markers(*_: Any) -> MarkerArray:
        made.append("markers")
        return MarkerArray(markers=[Marker()])

    monkeypatch.setattr(skeleton_outputs, "skeleton_marker_msgs", markers)
    lifter, _ = known_lifter()
    result = lifter.infer(lifter.prepare(frame_of(seen_person()[1])))
    node = LifecycleNode("skeleton_lifting")
    try:
        outputs = SkeletonOutputs(node)
        node.trigger_configure()
        node.trigger_activate()
        outputs.publish_markers(result, "front_optical")
        assert made == []
        observer.listen("/skeleton_lifting/markers", MarkerArray)
        while not made:  # once the subscriber is known here
            outputs.publish_markers(result, "front_optical")
            rclpy.spin_once(node, timeout_sec=0.05)
        observer.wait_for_messages("/skeleton_lifting/markers", 1)
    finally:
        node.destroy_node()
