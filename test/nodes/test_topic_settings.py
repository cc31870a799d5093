"""Names of topics are refused at once where the middleware would refuse them later, and only there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lift3d_ros.errors import ConfigError
from lift3d_ros.geometry.rig import Rig, RigCamera
from lift3d_ros.nodes.bev_detection_config import BevDetectionNodeConfig, TopicsConfig
from lift3d_ros.nodes.topic_settings import is_topic_name

GOOD = ("image", "/image", "~/image", "a__b", "_a", "a_/b1", "/front/camera_info")
BAD = ("", "~image", "caméra", "/кам", "x²", "a//b", "a/", "/1a", "a/1", "a b", "a-b", "/~/x", "image\n")


@pytest.mark.parametrize("name", GOOD)
def test_usual_names_are_taken(name: str) -> None:
    assert is_topic_name(name)


@pytest.mark.parametrize("name", BAD)
def test_names_that_ros_refuses_are_refused(name: str) -> None:
    assert not is_topic_name(name)


@pytest.mark.ros
@pytest.mark.parametrize("name", [*GOOD, *BAD])
def test_ros_is_of_the_same_opinion(name: str) -> None:
    expand = pytest.importorskip("rclpy.expand_topic_name", reason="rclpy is not installed")
    validate = pytest.importorskip("rclpy.validate_full_topic_name", reason="rclpy is not installed")
    try:
        validate.validate_full_topic_name(expand.expand_topic_name(name, "node", "/robot"))
    except Exception:
        assert name in BAD
    else:
        assert name in GOOD


@pytest.mark.parametrize(
    ("topics", "rig", "message"),
    [
        (TopicsConfig(image="{camera}/my image"), Rig(), "camera 'front': 'front/my image' is not a topic name"),
        (TopicsConfig(camera_info="{camera}/info-1"), Rig(), "camera 'front': 'front/info-1' is not a topic name"),
        (
            TopicsConfig(),
            Rig(odometry_topic="wheel odometry"),
            "rig file: 'wheel odometry' is not a topic name",
        ),
    ],
    ids=["pictures", "calibration", "odometry"],
)
def test_the_detector_names_the_topic_that_cannot_be(topics: TopicsConfig, rig: Rig, message: str) -> None:
    config = BevDetectionNodeConfig(topics=topics)
    with pytest.raises(ConfigError, match=message):
        config.check_topics(replace(rig, cameras={"front": RigCamera()}))
