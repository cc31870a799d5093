"""A callback that raises what nobody foresaw is told of, and the node is called again."""

from __future__ import annotations

import time

import pytest
import rclpy
from doubling_node import DoublingNode, log_of_the_package_kept
from ros_system import Observer
from std_msgs.msg import Int32

pytestmark = pytest.mark.ros


def test_a_node_outlives_a_callback_that_raises_and_takes_the_next_message(
    observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, taken = list[str](), list[int]()

    def take(message: Int32) -> None:
        taken.append(100 // message.data)

    with log_of_the_package_kept():
        node = DoublingNode()
        monkeypatch.setattr(node, "report_problem", told.append)
        try:
            node.create_subscription(Int32, "/numbers", take, 10)
            node.create_timer(0.05, lambda: {}["nothing"])
            publisher = observer.node.create_publisher(Int32, "/numbers", 10)
            end_s = time.monotonic() + 30.0
            while time.monotonic() < end_s and not publisher.get_subscription_count():
                time.sleep(0.05)
            for number in (0, 20):
                publisher.publish(Int32(data=number))
            while time.monotonic() < end_s and not (taken and len(told) >= 3):
                rclpy.spin_once(node, timeout_sec=0.05)
        finally:
            node.stop(1.0)
            node.destroy_node()
    assert taken == [5]
    topic = [sentence for sentence in told if sentence.startswith("topic '/numbers'")]
    assert len(topic) == 1
    assert "unexpected ZeroDivisionError in test_callbacks.py, line" in topic[0]
    assert "unexpected KeyError" in next(sentence for sentence in told if sentence.startswith("timer of 0.05 s"))
