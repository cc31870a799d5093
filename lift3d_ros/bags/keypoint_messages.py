"""Turns messages of 2D keypoints into the types of this package; ours, and those of yolo_ros.

As in `bags/messages.py`, anything with the fields of the message will do. An instance that cannot be used never costs
the others: it is left out and named in `problems`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.bags.messages import boxes_from_msg, stamp_ns
from lift3d_ros.errors import Lift3dError
from lift3d_ros.geometry.skeleton import SkeletonFacts
from lift3d_ros.pipelines.keypoint_sets import StampedBoxes, StampedKeypoints
from lift3d_ros.pipelines.skeleton_book import SkeletonBook
from lift3d_ros.types import Keypoints2D, TrackKey

KEYPOINTS = "lift3d_ros/msg/Keypoints2DArray"
YOLO_DETECTIONS = "yolo_msgs/msg/DetectionArray"


def keypoints_from_msg(msg: Any, book: SkeletonBook, source: str) -> StampedKeypoints:
    """Return a Keypoints2DArray; each instance has the skeleton that `book` finds for it."""
    instances: list[Keypoints2D] = []
    skeletons: dict[str, SkeletonFacts] = {}
    problems: list[str] = []
    tracks: set[TrackKey] = set()
    for number, entry in enumerate(msg.instances):
        where = f"topic '{source}', instances[{number}]"
        try:
            instance = _instance(entry, book, skeletons)
        except Lift3dError as error:
            problems.append(f"{where}: {error}; it is not lifted")
            continue
        instances.append(_only_of_its_track(instance, skeletons[instance.skeleton], tracks, where, problems))
    return StampedKeypoints(
        stamp_ns(msg.header),
        str(msg.header.frame_id).lstrip("/"),
        tuple(instances),
        skeletons,
        int(msg.width),
        int(msg.height),
        tuple(problems),
        len(msg.instances) - len(instances),
        source,
    )


def keypoints_from_yolo_msg(msg: Any, facts: SkeletonFacts, source: str) -> StampedKeypoints:
    """Return a DetectionArray of yolo_ros; detections without keypoints are of no interest here.

    There, keypoints are numbered from 1, those below the threshold are absent, and the track id is a text, empty
    without tracking.

    Args:
        facts: the skeleton of all of them; the message does not name it.
    """
    name, count = facts.skeleton.name, len(facts.skeleton)
    instances: list[Keypoints2D] = []
    problems: list[str] = []
    num_refused = 0
    tracks: set[TrackKey] = set()
    for number, detection in enumerate(msg.detections):
        where = f"topic '{source}', detections[{number}]"
        found = {int(point.id) - 1: point for point in detection.keypoints.data}
        if not found:
            continue
        if wrong := [joint for joint in found if not 0 <= joint < count]:
            num_refused += 1
            problems.append(
                f"{where}: keypoint id {wrong[0] + 1}; expected 1 to {count} for "
                f"skeleton '{name}'. Name the skeleton of your YOLO model in input.yolo_skeleton; it is not lifted"
            )
            continue
        points, scores = np.zeros((count, 2)), np.zeros(count)
        for joint, point in found.items():
            points[joint], scores[joint] = (point.point.x, point.point.y), point.score
        track = str(detection.id)
        track_id = int(track) if track.isascii() and track.isdigit() and len(track) < 19 else -1
        instance = Keypoints2D(points, scores, None, name, str(detection.class_name), number, track_id)
        instances.append(_only_of_its_track(instance, facts, tracks, where, problems))
    return StampedKeypoints(
        stamp_ns(msg.header),
        str(msg.header.frame_id).lstrip("/"),
        tuple(instances),
        {name: facts},
        problems=tuple(problems),
        num_refused=num_refused,
        source=source,
    )


def stamped_boxes_from_msg(msg: Any) -> StampedBoxes:
    """Return a BevDetectionArray with its stamp; errors as :func:`lift3d_ros.bags.messages.boxes_from_msg`."""
    return StampedBoxes(stamp_ns(msg.header), boxes_from_msg(msg, ()))


def _instance(entry: Any, book: SkeletonBook, skeletons: dict[str, SkeletonFacts]) -> Keypoints2D:
    """Return one instance and add its skeleton to `skeletons`."""
    points: NDArray[np.float64] = np.array(entry.points, dtype=np.float64).reshape(-1)
    scores: NDArray[np.float64] = np.array(entry.scores, dtype=np.float64).reshape(-1)
    joint_names, sides = tuple(map(str, entry.joint_names)), np.array(entry.sides, dtype=np.uint8).reshape(-1)
    if not points.size or points.size % 2:
        raise Lift3dError(f"points has {points.size} values; expected x and y for each joint, in px")
    count = points.size // 2
    lengths = {"scores": (scores.size, False), "joint_names": (len(joint_names), True), "sides": (sides.size, True)}
    for field, (length, may_be_empty) in lengths.items():
        if length != count and (length or not may_be_empty):
            empty = ", or none" if may_be_empty else ""
            raise Lift3dError(f"{field} has {length} values; expected {count}, one for each of the points{empty}")
    edges = np.array(entry.edges, dtype=np.uint16).reshape(-1)
    facts = book.find(str(entry.skeleton), count, joint_names, edges, sides)
    return Keypoints2D(
        points.reshape(-1, 2),
        scores,
        None,
        _name_in(skeletons, facts),
        str(entry.category),
        int(entry.instance_id),
        int(entry.track_id),
    )


def _name_in(skeletons: dict[str, SkeletonFacts], facts: SkeletonFacts) -> str:
    """Return the name of a skeleton in a table, and add it there; two of one name need not be the same."""
    name, number = facts.skeleton.name, 1
    while skeletons.get(name, facts) is not facts:
        number += 1
        name = f"{facts.skeleton.name} ({number})"
    skeletons[name] = facts
    return name


def _only_of_its_track(
    instance: Keypoints2D, facts: SkeletonFacts, tracks: set[TrackKey], where: str, problems: list[str]
) -> Keypoints2D:
    """Return an instance without its track where an earlier one of the message has it; `tracks` are those so far."""
    track = facts.skeleton.track(instance.track_id)
    if track is None:
        return instance
    if track not in tracks:
        tracks.add(track)
        return instance
    problems.append(
        f"{where}: track_id {instance.track_id} is there twice for skeleton '{facts.skeleton.name}'; expected one "
        "instance of a track. It is lifted without memory"
    )
    return dataclasses.replace(instance, track_id=-1)
