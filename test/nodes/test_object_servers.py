"""Service and action of the object reconstructor end with their node."""

from __future__ import annotations

import time

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from lift3d_ros.nodes.object_servers import ObjectServers
from lift3d_ros.pipelines.object_sets import ObjectRequest
from lift3d_ros.srv import ReconstructObject

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


def test_a_request_that_nobody_foresaw_is_answered_and_the_service_lives_on() -> None:
    rclpy.init(args=[])
    node, client_node = Node("reconstruction"), Node("caller")
    executor = SingleThreadedExecutor()
    executor.add_node(client_node)
    answers = []
    try:
        servers = ObjectServers(node, read_nothing, lambda pending: None, lambda pending: None, lambda: None)
        client = client_node.create_client(ReconstructObject, "/reconstruction/reconstruct")
        assert client.wait_for_service(30.0)
        for _ in range(2):
            future = client.call_async(ReconstructObject.Request())
            executor.spin_until_future_complete(future, 30.0)
            answers.append(future.result())
        servers.close(10.0)
    finally:
        client_node.destroy_node()
        node.destroy_node()
        rclpy.try_shutdown()
    for answer in answers:
        assert not answer.success
        assert "service 'reconstruct': unexpected NotImplementedError in test_object_servers.py" in answer.message
