"""Turns messages of point clouds, and of boxes that cut objects out of them, into the types of this package.

As in `bags/messages.py`, anything with the fields of the message will do. A box that cannot be used never costs the
others: it is left out and named in `problems`.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from lift3d_ros.bags.messages import boxes_from_msg, bytes_of, pose_matrix, stamp_ns
from lift3d_ros.errors import Lift3dError
from lift3d_ros.geometry.packed_points import PackedCloud, PackedField
from lift3d_ros.pipelines.cloud_sets import CloudBoxes

POINT_CLOUD = "sensor_msgs/msg/PointCloud2"
VISION_DETECTIONS = "vision_msgs/msg/Detection3DArray"

_TILT_TO_TELL_DEG = 5.0
_STANDS = SimpleNamespace(x=math.nan, y=math.nan, z=math.nan)  # a velocity that is not known


def packed_cloud_from_msg(msg: Any, source: str) -> PackedCloud:
    """Return a PointCloud2 as a view of its bytes; they are read by ``geometry.packed_points.unpack_points``."""
    return PackedCloud(
        stamp_ns=stamp_ns(msg.header),
        frame_id=str(msg.header.frame_id).lstrip("/"),
        fields=tuple(PackedField(str(f.name), int(f.offset), int(f.datatype), int(f.count)) for f in msg.fields),
        data=bytes_of(msg.data),
        height=int(msg.height),
        width=int(msg.width),
        point_step=int(msg.point_step),
        row_step=int(msg.row_step),
        is_bigendian=bool(msg.is_bigendian),
        source=source,
    )


def cloud_boxes_from_msg(msg: Any, source: str) -> CloudBoxes:
    """Return a BevDetectionArray or a vision_msgs/Detection3DArray as boxes with their places in the message.

    Of a tilted box only the heading is used, and that is said.
    """
    frame_id = str(msg.header.frame_id).lstrip("/")
    boxes: list[Any] = []
    indices: list[int] = []
    problems: list[str] = []
    for index, entry in enumerate(msg.detections):
        where = f"topic '{source}', detections[{index}]"
        try:
            box = _box_of_vision_msgs(entry, frame_id) if hasattr(entry, "bbox") else entry
            tilt_deg = _tilt_deg(box)
        except Lift3dError as error:
            problems.append(f"{where}: {error}; it is left out")
            continue
        if tilt_deg > _TILT_TO_TELL_DEG:
            problems.append(
                f"{where}: leans by {tilt_deg:.0f} degrees; expected an upright box, and it is taken as one"
            )
        boxes.append(box)
        indices.append(index)
    return CloudBoxes(
        stamp_ns(msg.header),
        boxes_from_msg(SimpleNamespace(header=msg.header, detections=boxes), ()),
        np.array(indices, dtype=np.int64),
        len(msg.detections),
        tuple(problems),
    )


def _box_of_vision_msgs(entry: Any, frame_id: str) -> Any:
    """Return a Detection3D with the fields of our box; the class is that of the best hypothesis."""
    own_frame = str(entry.header.frame_id).lstrip("/")
    if own_frame not in ("", frame_id):
        raise Lift3dError(f"header.frame_id is '{own_frame}'; expected '{frame_id}' as in the header of the array")
    best = max(entry.results, key=lambda result: float(result.hypothesis.score), default=None)
    return SimpleNamespace(
        pose=entry.bbox.center,
        size=entry.bbox.size,
        velocity=_STANDS,
        label="" if best is None else str(best.hypothesis.class_id),
        score=0.0 if best is None else float(best.hypothesis.score),
        track_id=-1,
    )


def _tilt_deg(box: Any) -> float:
    """Return by how much a box leans; raises Lift3dError where its pose or size is none."""
    position, size = ([float(v.x), float(v.y), float(v.z)] for v in (box.pose.position, box.size))
    if not np.isfinite(position).all():
        raise Lift3dError(f"position is {position}; expected finite metres")
    if not (np.isfinite(size).all() and min(size) > 0.0):
        raise Lift3dError(f"size is {size}; expected positive length, width and height in metres")
    T = pose_matrix(box.pose.position, box.pose.orientation, "pose")
    return math.degrees(math.acos(min(max(float(T[2, 2]), -1.0), 1.0)))
