"""The paths of the vehicle, of its tracks and of the labelled objects over a whole run, in one frame."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from lift3d_ros.evaluation.labels import RunLabels
from lift3d_ros.geometry.rigid import invert, transform_points
from lift3d_ros.geometry.rotations import yaw_of
from lift3d_ros.types import BevDetections, Boxes3D, EgoMotion, Float64Array
from lift3d_ros.viz.report_content import Trajectories, Trajectory


def run_trajectories(
    results: Sequence[BevDetections], poses: Mapping[int, EgoMotion | None], labels: RunLabels
) -> Trajectories | None:
    """Return the paths of a run; None where the motion of the vehicle is not known.

    Args:
        poses: ego motion of each result by its stamp; results without take no part.
    """
    known = [(result, ego) for result in results if (ego := poses.get(result.stamp_ns)) is not None]
    if not known:
        return None
    T_first_world = invert(known[0][1].T_world_base)
    T_first_base = {result.stamp_ns: T_first_world @ ego.T_world_base for result, ego in known}
    truth = [(result.stamp_ns, labels.at(result.stamp_ns)) for result, _ in known]
    return Trajectories(
        stamps_ns=tuple(T_first_base),
        ego_poses=np.array([[T[0, 3], T[1, 3], yaw_of(T[:3, :3])] for T in T_first_base.values()]),
        detections=_paths(((result.stamp_ns, result.boxes) for result, _ in known), T_first_base),
        ground_truth=_paths(((stamp_ns, boxes) for stamp_ns, boxes in truth if boxes is not None), T_first_base),
    )


def _paths(frames: Iterable[tuple[int, Boxes3D]], T_first_base: Mapping[int, Float64Array]) -> tuple[Trajectory, ...]:
    """Return the path of each track; boxes without an id belong to none."""
    points: defaultdict[int, list[tuple[int, Float64Array]]] = defaultdict(list)
    classes: defaultdict[int, Counter[str]] = defaultdict(Counter)
    scores: defaultdict[int, float] = defaultdict(float)
    for stamp_ns, boxes in frames:
        assert boxes.track_ids is not None
        centers = transform_points(T_first_base[stamp_ns], boxes.centers)
        for index, track in enumerate(boxes.track_ids.tolist()):
            if track >= 0:
                points[track].append((stamp_ns, centers[index, :2]))
                classes[track][boxes.class_names[boxes.labels[index]]] += 1
                scores[track] = max(scores[track], float(boxes.scores[index]))
    return tuple(
        Trajectory(
            class_name=classes[track].most_common(1)[0][0],
            track=track,
            stamps_ns=tuple(stamp_ns for stamp_ns, _ in entries),
            positions=np.array([position for _, position in entries]),
            score=scores[track],
        )
        for track, entries in sorted(points.items())
    )
