"""What replay reads from: a recording or a folder, as a sequence of frame sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from lift3d_ros.replay.sets import RecordedSet
from lift3d_ros.types import Boxes3D, FrameSet


class FrameSource(Protocol):
    """Frame sets in order, the same ones each time they are asked for."""

    @property
    def name(self) -> str:
        """Short name for titles."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """Camera names in rig order."""

    @property
    def ground_truth(self) -> Mapping[int, Boxes3D]:
        """Labelled boxes in the base frame by their stamp; empty where nothing is labelled."""

    @property
    def expected_sets(self) -> int:
        """About how many sets there will be."""

    def frame_sets(self) -> Iterator[FrameSet]:
        """Yield the frame sets in order."""

    def recorded_frame_sets(self, recorded: Iterable[RecordedSet]) -> Iterator[FrameSet]:
        """Yield exactly the sets that were recorded, with their pictures."""
