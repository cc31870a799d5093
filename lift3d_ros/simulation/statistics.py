"""How many objects rendered scenes hold, how far away and how hidden they are: the shares that the protocol fixes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lift3d_ros.datasets.frames import CLASS_NAMES, SceneFrame
from lift3d_ros.simulation.drive import COUNTED_RANGE_M
from lift3d_ros.types import Boxes3D, Float64Array

HIDDEN_BELOW = 0.8
"""An object that shows less than this share of its pixels is partly hidden."""

FAR_M = 30.0


@dataclass(frozen=True)
class SceneStatistics:
    """Counts over frames; add two for those of both.

    Args:
        fewest, most: labelled objects within 51.2 m in the frame with the fewest and with the most.
        by_class: labelled objects of each class, over all frames.
        hidden, far: those that are partly hidden, and those beyond 30 m.
    """

    frames: int
    fewest: int
    most: int
    by_class: tuple[int, ...]
    hidden: int
    far: int

    @property
    def objects(self) -> int:
        """Labelled objects over all frames."""
        return sum(self.by_class)

    @property
    def hidden_share(self) -> float:
        """Share of the labelled objects that are partly hidden."""
        return self.hidden / max(self.objects, 1)

    @property
    def far_share(self) -> float:
        """Share of the labelled objects beyond 30 m."""
        return self.far / max(self.objects, 1)

    def __add__(self, other: SceneStatistics) -> SceneStatistics:
        """Return the counts over the frames of both."""
        return SceneStatistics(
            self.frames + other.frames,
            min(self.fewest, other.fewest),
            max(self.most, other.most),
            tuple(a + b for a, b in zip(self.by_class, other.by_class, strict=True)),
            self.hidden + other.hidden,
            self.far + other.far,
        )

    def lines(self) -> list[str]:
        """Return the counts as text, one fact a line."""
        classes = ", ".join(f"{name} {n}" for name, n in zip(CLASS_NAMES, self.by_class, strict=True) if n)
        return [
            f"{self.frames} frames, {self.objects} labelled objects ({classes})",
            f"labelled objects within {COUNTED_RANGE_M:g} m of a frame: {self.fewest} to {self.most}",
            f"partly hidden (visibility below {HIDDEN_BELOW:g}): {100 * self.hidden_share:.0f} %",
            f"beyond {FAR_M:g} m: {100 * self.far_share:.0f} %",
        ]


def frame_statistics(boxes: Boxes3D, visibility: Float64Array) -> SceneStatistics:
    """Return the counts of one frame with boxes in the base frame and the visible share (M,) of each."""
    distances = np.linalg.norm(boxes.centers[:, :2], axis=1)
    near = int(np.count_nonzero(distances <= COUNTED_RANGE_M))
    counts = np.bincount(boxes.labels, minlength=len(CLASS_NAMES))
    return SceneStatistics(
        1,
        near,
        near,
        tuple(counts.tolist()),
        int(np.count_nonzero(visibility < HIDDEN_BELOW)),
        int(np.count_nonzero(distances > FAR_M)),
    )


def scene_statistics(frames: Iterable[SceneFrame]) -> SceneStatistics | None:
    """Return the counts of stored frames that have boxes with visibility; None where there are none."""
    total: SceneStatistics | None = None
    for frame in frames:
        if frame.boxes is None or frame.visibility is None:
            continue
        one = frame_statistics(frame.boxes, frame.visibility)
        total = one if total is None else total + one
    return total
