"""The type of a topic of boxes."""

from __future__ import annotations

import sys

import pytest

from lift3d_ros.errors import ConfigError
from lift3d_ros.msg import BevDetectionArray
from lift3d_ros.nodes.boxes_topic import boxes_message

pytestmark = pytest.mark.ros


def test_our_own_boxes_need_no_other_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vision_msgs.msg", None)
    assert boxes_message("lift3d_ros", "Detection2DArray") is BevDetectionArray


def test_boxes_of_vision_msgs_are_refused_with_the_package_where_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "vision_msgs.msg", None)
    with pytest.raises(ConfigError, match="vision_msgs with Detection2DArray is not there; install ros-"):
        boxes_message("vision_msgs", "Detection2DArray")


@pytest.mark.parametrize("name", ["Detection2DArray", "Detection3DArray"])
def test_boxes_of_vision_msgs_are_read_where_it_is_installed(name: str) -> None:
    messages = pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not installed")
    assert boxes_message("vision_msgs", name) is getattr(messages, name)
