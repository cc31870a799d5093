"""Metres for a batch of placed skeletons: for each instance the best source that there is.

Depth is measured, so it comes first; then a detected box, lengths that the user measured, and the usual size of the
category. Depth and boxes may be of something else: what is far from the size that the last two tell is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lift3d_ros.geometry.skeleton import SkeletonFacts
from lift3d_ros.pipelines.skeleton_batches import FARTHEST_PX, KeypointFrame, PreparedBatch, instance_label
from lift3d_ros.pipelines.skeleton_scale import (
    Scale,
    Scales,
    is_plausible,
    match_boxes,
    read_depth,
    scale_from_center,
    scale_from_depth,
    scales_from_category,
    scales_from_known_lengths,
)
from lift3d_ros.types import Float64Array, Keypoints2D


def box_centers(frame: KeypointFrame, min_confidence: float) -> dict[int, Float64Array]:
    """Return the centres of detected boxes by instance, in the optical frame."""
    if frame.boxes is None or frame.camera is None:
        return {}
    seen = {}
    for number, instance in enumerate(frame.instances):
        # Detectors put joints that they do not see anywhere, with a low confidence: their boxes would be others'.
        is_seen = instance.seen(min_confidence) & (np.abs(instance.points) <= FARTHEST_PX).all(axis=1)
        if is_seen.any():
            seen[number] = instance.points[is_seen]
    extents = np.array([[*points.min(axis=0), *points.max(axis=0)] for points in seen.values()]).reshape(-1, 4)
    centers = match_boxes(frame.boxes, frame.T_cam_boxes, frame.camera, extents)
    return {number: center for number, center in zip(seen, centers, strict=True) if center is not None}


def find_scales(
    frame: KeypointFrame,
    batch: PreparedBatch,
    facts: Sequence[SkeletonFacts],
    joints: Float64Array,
    centers: Mapping[int, Float64Array],
    problems: list[str],
) -> list[list[Scale] | None]:
    """Return the scale of each hypothesis of each instance, None for an instance that stays without metres.

    Both hypotheses have theirs from the same source; the likelier one, which is the first, decides on what is refused.

    Args:
        facts: of each instance, its skeleton.
        joints: (B, 2, J, 3) both hypotheses, placed.
        centers: as of :func:`box_centers`.
        problems: receives a sentence for each source that is refused.
    """
    if frame.camera is None:
        return [None] * len(facts)
    alike: dict[tuple[str, str], list[int]] = {}
    for row, number in enumerate(batch.members):
        instance = frame.instances[number]
        alike.setdefault((instance.skeleton, instance.category), []).append(row)
    found: list[list[Scale] | None] = [None] * len(facts)
    for (_, category), rows in alike.items():
        known_facts, own_joints, is_seen = facts[rows[0]], joints[rows], batch.is_seen[rows]
        names = set(known_facts.skeleton.joint_names)
        known = [length for length in frame.known_lengths if {length.first, length.second} <= names]
        by_lengths = scales_from_known_lengths(own_joints, is_seen, known_facts, known)
        by_category = scales_from_category(own_joints, is_seen, known_facts, category)
        for place, row in enumerate(rows):
            number = batch.members[row]
            points = frame.instances[number].points
            size, center = len(points), centers.get(number)
            readings = None if frame.depth is None else read_depth(frame.depth, points, is_seen[place, :size])
            own = own_joints[place, :, :size]
            by_depth = [] if readings is None else [scale_from_depth(joints, readings) for joints in own]
            by_box = [] if center is None else [scale_from_center(joints, center) for joints in own]
            usual = _of_row(by_lengths, place) or _of_row(by_category, place)
            found[row] = usual
            for measured in (_complete(by_depth), _complete(by_box)):
                if measured is None:
                    continue
                if usual is None or is_plausible(measured[0], usual[0]):
                    found[row] = measured
                    break
                problems.append(_refusal(frame.instances[number], measured[0], usual[0]))
    return found


def _complete(scales: Sequence[Scale | None]) -> list[Scale] | None:
    """Return the scales of a source, None unless it tells that of each hypothesis."""
    found = [scale for scale in scales if scale is not None]
    return found if found and len(found) == len(scales) else None


def _of_row(scales: Scales | None, row: int) -> list[Scale] | None:
    return None if scales is None else _complete([scales.at(row, which) for which in range(scales.factor.shape[1])])


def _refusal(instance: Keypoints2D, scale: Scale, usual: Scale) -> str:
    remedy = "depth is registered to these pictures" if scale.source == "depth" else "the boxes are of these objects"
    known = "known_lengths say" if usual.source == "bone_length" else f"category '{instance.category}'"
    ratio = f"{scale.factor / usual.factor:.2g} times as large as {known}"
    return (
        f"{instance_label(instance)}: with its {scale.source} it is {ratio}; expected about 1, so this one "
        f"is not used: check that {remedy}, and what tells its size"
    )


def why_no_scale(instance: Keypoints2D, facts: SkeletonFacts) -> str:
    """Return why an instance has no metres, as the end of a sentence."""
    reason = (
        f"category '{instance.category}' has no size in this skeleton (known: {', '.join(facts.sizes) or 'none'})"
        if facts.size_of(instance.category) is None
        else "no joints of a known length were seen together"
    )
    return f"{reason}; it is normalised, not in metres"
