"""Brings the labels of a recording to the stamps of its results, between which vehicle and objects move on."""

from __future__ import annotations

from collections.abc import Mapping

from lift3d_ros.replay.label_times import label_tolerance_s, moved_labels, nearest_stamp
from lift3d_ros.replay.source import Labels
from lift3d_ros.types import Boxes3D, EgoMotion


class RunLabels:
    """The labels of one run, for drawing and for scoring."""

    def __init__(self, labels: Mapping[int, Labels], poses: Mapping[int, EgoMotion | None]) -> None:
        """Use labels by their stamp; `poses` holds the ego motion of each result by its stamp."""
        self._labels, self._poses = labels, poses
        self._stamps = sorted(labels)
        self.tolerance_s = label_tolerance_s(labels)

    @property
    def boxes(self) -> Mapping[int, Boxes3D]:
        """The labelled boxes at their own stamps."""
        return {stamp_ns: labels.boxes for stamp_ns, labels in self._labels.items()}

    def at(self, stamp_ns: int) -> Boxes3D | None:
        """Return the nearest labels as they are at the result with this stamp, None where none are near."""
        if not self._stamps:
            return None
        label_ns = nearest_stamp(self._stamps, stamp_ns)
        return self.moved(label_ns, stamp_ns) if abs(label_ns - stamp_ns) <= self.tolerance_s * 1e9 else None

    def moved(self, label_ns: int, stamp_ns: int) -> Boxes3D | None:
        """Return the labels of `label_ns` as they are at the result with stamp `stamp_ns`.

        Objects go on with their labelled velocity, where there is one. None where the motion of the vehicle between
        both is not known and the time between them is not short.
        """
        if label_ns == stamp_ns:
            return self._labels[label_ns].boxes  # to the last digit, however exactly both poses are known
        return moved_labels(self._labels[label_ns], label_ns, self._poses.get(stamp_ns), stamp_ns)
