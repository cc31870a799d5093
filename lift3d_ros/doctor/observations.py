"""What a few seconds of listening to a running system gave, as plain data."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

from lift3d_ros.doctor.shared_memory import Segment
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.types import CameraImage, CameraModel, Float64Array


class StampSeries:
    """Stamps of one stream with the times at which they arrived."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.arrivals_s: list[float] = []
        self.zero_stamps = self.jumps_back = self.repeats = 0
        self._ages_s: list[float] = []
        self._intervals_s: list[float] = []
        self._last_ns: int | None = None

    def add(self, stamp_ns: int, now_ns: int, arrival_s: float) -> None:
        """Take one stamp.

        Args:
            stamp_ns: of the message.
            now_ns: the clock that stamps are compared with.
            arrival_s: steady time.
        """
        self.arrivals_s.append(arrival_s)
        if stamp_ns == 0:
            self.zero_stamps += 1
            return
        self._ages_s.append((now_ns - stamp_ns) * 1e-9)
        if self._last_ns is not None:
            interval_s = (stamp_ns - self._last_ns) * 1e-9
            self.jumps_back += interval_s < 0
            self.repeats += interval_s == 0
            if interval_s > 0:
                self._intervals_s.append(interval_s)
        self._last_ns = stamp_ns

    @property
    def count(self) -> int:
        """Number of messages."""
        return len(self.arrivals_s)

    @property
    def rate_hz(self) -> float:
        """Messages per second that arrived, 0 where there were fewer than two."""
        span_s = self.arrivals_s[-1] - self.arrivals_s[0] if self.count > 1 else 0.0
        return (self.count - 1) / span_s if span_s > 0 else 0.0

    @property
    def stamp_rate_hz(self) -> float:
        """Rate at which the source sends, as far as stamps tell; 0 where they tell none.

        The shorter intervals are those between neighbours, of which neither was lost.
        """
        if not self._intervals_s:
            return 0.0
        return 1.0 / sorted(self._intervals_s)[len(self._intervals_s) // 10]

    @property
    def age_s(self) -> float | None:
        """Median age on arrival; None without stamps."""
        return statistics.median(self._ages_s) if self._ages_s else None

    @property
    def youngest_s(self) -> float | None:
        """Smallest age on arrival, negative for stamps of the future; None without stamps."""
        return min(self._ages_s, default=None)

    def longest_silence_s(self, end_s: float) -> float:
        """Return the longest time between messages, or after the last one until `end_s`."""
        times = [*self.arrivals_s, end_s]
        return max((after - before for before, after in itertools.pairwise(times)), default=0.0)


@dataclass(frozen=True)
class Publisher:
    """Who publishes a topic and what quality of service it offers; `refusal` says why it does not fit ours."""

    node: str
    type: str
    reliability: str
    durability: str
    refusal: str = ""


@dataclass
class CameraObservation:
    """One camera of a running system.

    Args:
        model: from CameraInfo, or from the rig file.
        model_error: why the last CameraInfo cannot be used.
        T_base_cam: from the rig file; None where transforms have to give it.
        is_compressed_by_choice: the configured topic is silent and its compressed variant was taken instead.
    """

    name: str
    image_topic: str
    info_topic: str
    type: str
    frame_id: str | None = None
    model: CameraModel | None = None
    is_model_of_rig: bool = False
    T_base_cam: Float64Array | None = None
    is_compressed_by_choice: bool = False
    publishers: list[Publisher] = field(default_factory=list)
    info_publishers: list[Publisher] = field(default_factory=list)
    images: StampSeries = field(default_factory=StampSeries)
    first_image: CameraImage | None = None
    largest_bytes: int = 0
    image_error: str = ""
    infos: int = 0
    model_error: str = ""
    info_frame_id: str = ""

    def optical_frame(self) -> str:
        """Return the frame of the pictures: that of the rig file, else that of the messages."""
        of_message = "" if self.first_image is None else self.first_image.frame_id
        return self.frame_id or of_message or f"{self.name}_optical_frame"


@dataclass
class SystemObservation:
    """A running system.

    Args:
        ego_source: topic of ego motion, empty where it is switched off.
        ego: stamps at which the pose of the base frame became known.
        topics: name -> type of everything that is published.
        segments: shared memory of other processes, from before we took part.
        deadline_s: how long the node waits for ego motion before it releases a set without it.
    """

    cameras: list[CameraObservation]
    tree: TransformTree
    base_frame: str
    world_frame: str
    ego_source: str
    ego: StampSeries = field(default_factory=StampSeries)
    topics: Mapping[str, str] = field(default_factory=dict)
    segments: list[Segment] = field(default_factory=list)
    transform_problems: list[str] = field(default_factory=list)
    reliability: str = "best_effort"
    deadline_s: float = 0.2
    seconds: float = 0.0
    end_s: float = 0.0
    rmw: str = ""
    is_simulated_time: bool = False
