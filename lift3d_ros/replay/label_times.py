"""Labels away from their stamps: which ones belong to a frame set, and where their objects are by then."""

from __future__ import annotations

import bisect
import dataclasses
import math
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from lift3d_ros.geometry.boxes import transform_boxes
from lift3d_ros.geometry.rigid import invert
from lift3d_ros.replay.source import Labels
from lift3d_ros.types import Boxes3D, EgoMotion

_MAX_TOLERANCE_S = 0.2
# Where the motion of the vehicle is not known, labels hold only so far from their stamp: half a metre at city speed.
_UNMOVED_S = 0.05


def label_tolerance_s(label_stamps: Collection[int]) -> float:
    """Return how far from its labels a frame set may be: half the time between labels, at most 0.2 s."""
    gaps = np.diff(sorted(label_stamps))
    return min(float(np.median(gaps)) * 0.5e-9 if len(gaps) else math.inf, _MAX_TOLERANCE_S)


def nearest_stamp(stamps: Sequence[int], stamp_ns: int) -> int:
    """Return the entry of the sorted `stamps` nearest to `stamp_ns`, the earlier one of two equally near."""
    after = bisect.bisect_left(stamps, stamp_ns)
    candidates = stamps[max(after - 1, 0) : after + 1]
    return min(candidates, key=lambda candidate: abs(candidate - stamp_ns))


def pair_stamps(label_stamps: Collection[int], stamps: Iterable[int], tolerance_s: float) -> dict[int, int]:
    """Return label stamp -> the nearest of `stamps`, each taking part in one pair at most.

    Labels may be denser than frame sets, or the other way round; what has no partner within the tolerance is left out.
    """
    ordered = sorted(label_stamps)
    partner: dict[int, int] = {}
    for stamp_ns in sorted(stamps) if ordered else ():
        label_ns = nearest_stamp(ordered, stamp_ns)
        distance = abs(label_ns - stamp_ns)
        if distance <= round(tolerance_s * 1e9) and (
            label_ns not in partner or distance < abs(label_ns - partner[label_ns])
        ):
            partner[label_ns] = stamp_ns
    return dict(sorted(partner.items()))


def moved_labels(labels: Labels, label_ns: int, pose: EgoMotion | None, stamp_ns: int) -> Boxes3D | None:
    """Return the labels of `label_ns` as they are at `stamp_ns`, in the base frame at that time.

    Objects go on with their labelled velocity, where there is one. None where the motion of the vehicle between both
    is not known and the time between them is not short.

    Args:
        pose: where the vehicle is at `stamp_ns`, None where not known.
    """
    seconds = (stamp_ns - label_ns) * 1e-9
    steps = np.zeros((len(labels.boxes), 3))
    steps[:, :2] = np.nan_to_num(labels.boxes.velocities) * seconds
    boxes = dataclasses.replace(labels.boxes, centers=labels.boxes.centers + steps)
    if labels.ego is None or pose is None or labels.ego.world_frame != pose.world_frame:
        return boxes if abs(seconds) <= _UNMOVED_S else None
    T = invert(pose.T_world_base) @ labels.ego.T_world_base
    return transform_boxes(T, boxes, boxes.frame_id)
