"""Service and action of the object reconstructor end with their node."""

from __future__ import annotations

import time

import pytest
import rclpy
from rclpy.node import Node

from lift3d_ros.nodes.object_servers import ObjectServers
from lift3d_ros.pipelines.object_sets import ObjectRequest

pytestmark = pytest.mark.ros


def read_nothing(message: object, source: str) -> ObjectRequest:
    raise NotImplementedError


def test_a_service_that_nobody_calls_ends_at_once() -> None:
    rclpy.init(args=[])
    node = Node("reconstruction")
    try:
        servers = ObjectServers(node, read_nothing, lambda pending: None, lambda pending: None, lambda: None)
        start_s = time.monotonic()
        servers.close(10.0)
        took_s = time.monotonic() - start_s
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    assert took_s < 5.0
