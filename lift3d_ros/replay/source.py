"""What replay reads from: a recording or a folder, as a sequence of frame sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from lift3d_ros.replay.sets import RecordedSet
from lift3d_ros.types import Boxes3D, EgoMotion, FrameSet


@dataclass(frozen=True, eq=False)
class Labels:
    """Labelled boxes of one moment in the base frame, and where the vehicle was then (None where not known)."""

    boxes: Boxes3D
    ego: EgoMotion | None = None


class FrameSource(Protocol):
    """Frame sets in order, the same ones each time they are asked for."""

    @property
    def name(self) -> str:
        """Short name for titles."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """Camera names in rig order."""

    @property
    def labels(self) -> Mapping[int, Labels]:
        """What was labelled, by its stamp; empty where nothing is."""

    @property
    def expected_sets(self) -> int:
        """About how many sets there will be."""

    def frame_sets(self) -> Iterator[FrameSet]:
        """Yield the frame sets in order."""

    def recorded_frame_sets(self, recorded: Iterable[RecordedSet]) -> Iterator[FrameSet]:
        """Yield exactly the sets that were recorded, with their pictures."""
