"""Parameters of topics that several nodes have; without ROS, so that the documentation can be made from it anywhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lift3d_ros.config import setting
from lift3d_ros.errors import ConfigError

_TOPIC_NAME = re.compile(r"(~?/)?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)
TOPIC_NAME_RULE = "letters (a to z, A to Z), digits, '_' and '/', and no digit after a '/'"


@dataclass(frozen=True)
class QosConfig:
    """Quality of service of the inputs."""

    reliability: Literal["best_effort", "reliable"] = setting(
        "best_effort", "best_effort matches every publisher; reliable waits for lost packets and adds latency"
    )
    depth: int = setting(1, "messages kept per topic; more than 1 only adds latency", minimum=1, maximum=1000)


def is_topic_name(name: str) -> bool:
    """Return whether the middleware takes this as the name of a topic."""
    return _TOPIC_NAME.fullmatch(name) is not None


def check_topic_names(topics: Mapping[str, str]) -> None:
    """Refuse names that the middleware would refuse later; empty ones stand for topics that are not used.

    Args:
        topics: parameter of the group ``topics`` -> its value.

    Raises:
        ConfigError: names the parameter.
    """
    for parameter, topic in topics.items():
        if topic and not is_topic_name(topic):
            raise ConfigError(
                f"parameter 'topics.{parameter}': '{topic}' is not a topic name; expected {TOPIC_NAME_RULE}"
            )
