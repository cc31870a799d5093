"""Reads the labels of a recording, and where the vehicle was when they were made."""

from __future__ import annotations

from lift3d_ros.bags.discover import BagStreams
from lift3d_ros.bags.messages import boxes_from_msg, stamp_ns
from lift3d_ros.bags.reader import BagReader
from lift3d_ros.replay.bag_motion import BagMotion
from lift3d_ros.replay.source import Labels
from lift3d_ros.types import Boxes3D


def read_labels(reader: BagReader, streams: BagStreams) -> dict[int, Labels]:
    """Return stamp -> labels in the order of recording; empty where the recording has none.

    Raises:
        TransformError: a labelled box has an orientation that is no rotation.
    """
    if streams.ground_truth_topic is None:
        return {}
    motion = BagMotion(streams)
    waiting: dict[int, Boxes3D] = {}
    labels: dict[int, Labels] = {}
    for message in reader.messages((*streams.motion_topics, streams.ground_truth_topic)):
        if not motion.take(message):
            waiting[stamp_ns(message.message.header)] = boxes_from_msg(message.message, ())
        newest_ns = motion.newest_ns
        for covered_ns in [label_ns for label_ns in waiting if newest_ns is not None and label_ns <= newest_ns]:
            labels[covered_ns] = Labels(waiting.pop(covered_ns), motion.ego_at(covered_ns))
    return labels | {label_ns: Labels(boxes) for label_ns, boxes in waiting.items()}
