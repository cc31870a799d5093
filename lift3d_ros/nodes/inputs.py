"""What the life of a node asks of its subscriptions, and the words for inputs that are silent."""

from __future__ import annotations

import math
from typing import Protocol

from rclpy.node import Node

from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.nodes.diagnostics import Status

# An input that delivered nothing for this long is waited for, and its silence is reported.
SILENT_S = 2.0


class Inputs(Protocol):
    """The subscriptions of one task node; everything but `tree`, which locks itself, is for the executor's thread."""

    tree: TransformTree

    def close(self) -> None:
        """Stop listening."""

    def reset(self) -> None:
        """Forget what waits; transforms start afresh by themselves when their stamps jump back."""

    def adapt_to_publishers(self) -> None:
        """Subscribe again where publishers that came up later offer something that the subscriptions miss."""

    def waiting_for(self) -> list[str]:
        """Return what has not arrived yet, one phrase each."""

    def status(self) -> Status:
        """Return the health of the inputs since the last call."""


def silence_text(node: Node, topic: str, silence_s: float) -> str:
    """Return for how long a topic has been silent, infinite before its first message, and whether anybody sends it."""
    publishers = node.count_publishers(topic)
    if math.isfinite(silence_s):
        return f"silent for {silence_s:.1f} s" + ("" if publishers else ", nobody publishes it any more")
    if not publishers:
        return "nothing arrived yet, nobody publishes it"
    return f"nothing arrived yet from {'its publisher' if publishers == 1 else f'its {publishers} publishers'}"
