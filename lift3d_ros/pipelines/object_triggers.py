"""Decides which detected objects of a picture are worth a reconstruction, and when one of them is due again.

Time is that of the pictures, so a recording gives the same requests however fast it is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from lift3d_ros.config import setting
from lift3d_ros.models.lrm.object_image import PixelBox
from lift3d_ros.types import Boxes3D, Float64Array

_NS = 1_000_000_000
# Of objects that were not seen for long nothing is kept; so many are only reached by broken track ids.
_MOST_REMEMBERED = 10_000


@dataclass(frozen=True)
class TriggerConfig:
    """Which detected objects are reconstructed."""

    labels: tuple[str, ...] = setting((), "class names of the objects that are reconstructed; empty: all")
    min_score: float = setting(0.3, "objects with a lower score are left out", minimum=0.0, maximum=1.0)
    min_interval_s: float = setting(
        5.0, "an object is reconstructed again after this time at the earliest", unit="s", minimum=0.0, maximum=86400.0
    )
    min_side_px: int = setting(
        32, "objects whose box is smaller along its longer side are left out", unit="px", minimum=4, maximum=4096
    )
    min_visible: float = setting(
        0.7, "objects of whose box a smaller part lies in the picture are left out", minimum=0.01, maximum=1.0
    )


@dataclass(frozen=True, eq=False)
class DetectedObject:
    """An object that a detector found in a picture.

    Args:
        left, top, right, bottom: edges of its box, px; may reach beyond the picture.
        track_id: number that stays with the object, -1 where it is not tracked.
        box_3d: the same as one box in space.
        T_cam_box: (4, 4) from the frame of `box_3d` to the optical frame.
    """

    left: float
    top: float
    right: float
    bottom: float
    label: str = ""
    score: float = 1.0
    track_id: int = -1
    box_3d: Boxes3D | None = None
    T_cam_box: Float64Array = field(default_factory=lambda: np.eye(4))


@dataclass(frozen=True, eq=False)
class TriggeredObject:
    """An object that is due.

    Args:
        box: its pixels, within the picture.
        key: the same for the same object in another picture.
        track: its number for names of files, be it tracked or not.
    """

    found: DetectedObject
    box: PixelBox
    key: str
    track: str


class ObjectTriggers:
    """Remembers when each object was reconstructed last; `skipped` counts what was left out, by reason."""

    def __init__(self, config: TriggerConfig) -> None:
        """Remember nothing yet."""
        self._config = config
        self._interval_ns = round(config.min_interval_s * _NS)
        self._last_ns: dict[str, int] = {}
        self.skipped: Counter[str] = Counter()

    def reset(self) -> None:
        """Forget every object; counters stay."""
        self._last_ns.clear()

    def choose(
        self, objects: Iterable[DetectedObject], stamp_ns: int, width: int, height: int
    ) -> list[TriggeredObject]:
        """Return the objects of one picture that are due, in their order.

        Objects without a track are told apart by class and place among those of their class.

        Args:
            width, height: of the picture, px.
        """
        chosen, places = [], Counter[str]()
        for found in objects:
            if found.track_id >= 0:
                track = str(found.track_id)
            else:
                track = f"untracked{places[found.label]}"
                places[found.label] += 1
            key = f"{found.label} {track}"
            box = PixelBox(
                *(
                    int(np.clip(np.floor(edge + 0.5), 0, limit)) if np.isfinite(edge) else 0
                    for edge, limit in (
                        (found.top, height),
                        (found.left, width),
                        (found.bottom, height),
                        (found.right, width),
                    )
                )
            )
            reason = self._reason_against(found, box) or self._note(key, stamp_ns)
            if reason:
                self.skipped[reason] += 1
            else:
                chosen.append(TriggeredObject(found, box, key, track))
        return chosen

    def _reason_against(self, found: DetectedObject, box: PixelBox) -> str:
        config = self._config
        if config.labels and found.label not in config.labels:
            return "another class"
        if not found.score >= config.min_score:
            return "low score"
        area = (found.right - found.left) * (found.bottom - found.top)
        if box.width < 1 or box.height < 1 or not area > 0.0:
            return "outside of the picture"
        if box.width * box.height < config.min_visible * area:
            return "cut off by the picture"
        return "too small" if max(box.width, box.height) < config.min_side_px else ""

    def _note(self, key: str, stamp_ns: int) -> str:
        """Note that an object is due now, or say that it is not."""
        last_ns = self._last_ns.get(key)
        if last_ns is not None and 0 <= stamp_ns - last_ns < self._interval_ns:
            return "within the interval"
        if len(self._last_ns) >= _MOST_REMEMBERED:
            self._last_ns.clear()
        self._last_ns[key] = stamp_ns
        return ""
