"""The same warning is said once in a while, with a count."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="the room of nodes needs ROS")

from lift3d_ros.nodes import throttled_log
from lift3d_ros.nodes.throttled_log import ThrottledLog


def test_a_sentence_is_said_again_after_five_seconds_with_the_number_of_those_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    now_s = [100.0]
    monkeypatch.setattr(throttled_log.time, "monotonic", lambda: now_s[0])
    log = ThrottledLog(said.append)
    for number in range(4):
        log.add(f"cloud {number} has no points")
    log.add("another thing")
    now_s[0] += 5.0
    log.add("cloud 9 has no points")
    assert said == ["cloud 0 has no points", "another thing", "cloud 9 has no points (3 more since the last line)"]
