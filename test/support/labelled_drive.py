"""Writes the small recording of `drive` with labels of a car on /ground_truth/boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from drive import START_NS, Drive

from lift3d_ros.bags.discover import GROUND_TRUTH_TOPIC
from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.types import Boxes3D

MS = 1_000_000


def box(x: float, name: str = "car", length: float = 4.0) -> Boxes3D:
    """A car in front that drives at 3 m/s."""
    return Boxes3D(
        "base_link", (name,), np.array([[x, 1.0, 0.8]]), np.array([[length, 2.0, 1.5]]), np.zeros(1),
        np.array([[3.0, 0.0]]), np.ones(1), np.zeros(1, np.int64),
    )  # fmt: skip


@dataclass(frozen=True)
class Labelled(Drive):
    """Labels come `label_ms` after the pictures of the front camera."""

    label_ms: tuple[int, ...] = (60, 560)
    labels: Boxes3D = field(default_factory=lambda: box(20.0))

    def more(self) -> Iterable[tuple[int, Callable[[BagWriter], Any]]]:
        for ms in self.label_ms:
            stamp_ns = START_NS + ms * MS
            yield stamp_ns, lambda writer, s=stamp_ns: writer.boxes(GROUND_TRUTH_TOPIC, self.labels, s, s)
