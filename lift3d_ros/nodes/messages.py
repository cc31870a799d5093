"""Turns results into ROS messages, and back for recorders; the only place where that happens.

Field values are plain Python numbers and `array.array`, as the field checks of older distributions demand.
"""

from __future__ import annotations

import importlib.util
import math
from array import array
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from sensor_msgs.msg import Image
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from lift3d_ros import types
from lift3d_ros.bags.messages import boxes_from_msg, stamp_ns
from lift3d_ros.msg import BevDetection, BevDetectionArray, CameraUse, StageTiming
from lift3d_ros.types import BevDetections, Boxes3D, Float64Array, TemporalState, UInt8Array
from lift3d_ros.viz.palette import class_color

HAS_VISION_MSGS = importlib.util.find_spec("vision_msgs") is not None

_NS = 1_000_000_000
_STANDING_M_S = 0.3  # slower boxes have no line of their velocity
_LARGEST_MARKER_ID = 2**31 - 1
_TEMPORAL_STATES: dict[TemporalState, int] = {
    "fused": BevDetectionArray.TEMPORAL_FUSED,
    "first_frame": BevDetectionArray.TEMPORAL_FIRST_FRAME,
    "no_ego_motion": BevDetectionArray.TEMPORAL_NO_EGO_MOTION,
    "gap": BevDetectionArray.TEMPORAL_GAP,
}


def time_msg(stamp_ns: int) -> Time:
    """Return integer nanoseconds as a Time message."""
    seconds, nanoseconds = divmod(stamp_ns, _NS)
    return Time(sec=seconds, nanosec=nanoseconds)


def header_msg(stamp_ns: int, frame_id: str) -> Header:
    """Return a header."""
    return Header(stamp=time_msg(stamp_ns), frame_id=frame_id)


def detections_msg(result: BevDetections, boxes: Boxes3D) -> BevDetectionArray:
    """Return a result as a message; `boxes` are those of the result in the frame in which they are published."""
    return BevDetectionArray(
        header=header_msg(result.stamp_ns, boxes.frame_id),
        detections=[_detection_msg(boxes, index) for index in range(len(boxes))],
        cameras=[
            CameraUse(
                name=use.name,
                is_used=use.is_used,
                stamp=time_msg(use.stamp_ns),
                age=float(use.age_s) if use.is_used else math.nan,
            )
            for use in result.cameras
        ],
        model=result.model.name,
        weights_sha256=result.model.weights_sha256,
        is_trained=result.model.is_trained,
        temporal_state=_TEMPORAL_STATES[result.temporal_state],
    )


def detections_from_msg(message: BevDetectionArray) -> BevDetections:
    """Return a published result; the backend is not part of the message and stays empty."""
    states = {number: name for name, number in _TEMPORAL_STATES.items()}
    return BevDetections(
        stamp_ns=stamp_ns(message.header),
        boxes=boxes_from_msg(message, ()),
        cameras=tuple(
            types.CameraUse(
                use.name,
                use.is_used,
                use.stamp.sec * _NS + use.stamp.nanosec,
                float(use.age) if use.is_used else 0.0,
            )
            for use in message.cameras
        ),
        model=types.ModelIdentity(message.model, message.weights_sha256, message.is_trained),
        temporal_state=states[message.temporal_state],
    )


def timings_from_msg(message: StageTiming) -> tuple[int, dict[str, float]]:
    """Return the stamp of a result and the seconds of each stage."""
    seconds = {name: ms * 1e-3 for name, ms in zip(message.stages, message.durations_ms, strict=True)}
    return stamp_ns(message.header), seconds


def vision_detections_msg(boxes: Boxes3D, stamp_ns: int, model: types.ModelIdentity) -> Any:
    """Return boxes as vision_msgs/Detection3DArray; only where `HAS_VISION_MSGS`.

    It has no field for velocities, which are left out, nor for the model, so the id of each box of an untrained one
    says so.
    """
    from vision_msgs.msg import BoundingBox3D, Detection3D, Detection3DArray, ObjectHypothesisWithPose

    header = header_msg(stamp_ns, boxes.frame_id)
    message = Detection3DArray(header=header)
    note = "" if model.is_trained else "untrained weights "
    for index in range(len(boxes)):
        pose = _pose_msg(boxes, index)
        hypothesis = ObjectHypothesisWithPose()
        hypothesis.hypothesis.class_id = boxes.class_names[boxes.labels[index]]
        hypothesis.hypothesis.score = float(boxes.scores[index])
        hypothesis.pose.pose = pose
        bbox = BoundingBox3D(center=pose, size=_vector_msg(boxes.sizes[index]))
        message.detections.append(
            Detection3D(header=header, results=[hypothesis], bbox=bbox, id=(note + _track_name(boxes, index)).strip())
        )
    return message


def marker_msgs(
    boxes: Boxes3D,
    stamp_ns: int,
    description: str,
    lifetime_s: float,
    trails: Mapping[int, Float64Array] | None = None,
    trails_frame: str = "",
) -> MarkerArray:
    """Return boxes for RViz: translucent cubes, lines for headings and velocities, labels, the model's name.

    A box that moves has a line from its centre to where it is after a second.

    Each class has namespaces of its own. A tracked box keeps its marker from frame to frame: the track id is the id of
    the marker. Boxes without a track are numbered in namespaces beside.

    Args:
        trails: track id -> (K, 3) where the box with this id has been, in `trails_frame`.
    """
    header = header_msg(stamp_ns, boxes.frame_id)
    lifetime = Duration(sec=int(lifetime_s), nanosec=int(lifetime_s % 1.0 * _NS))
    common = {"header": header, "lifetime": lifetime}
    message = MarkerArray()
    headings = Marker(**common, ns="headings", type=Marker.LINE_LIST, color=_color_msg((255, 255, 255), 1.0))
    headings.scale.x = 0.12
    headings.pose.orientation.w = 1.0
    for index, (group, marker_id) in enumerate(_marker_names(boxes)):
        name = boxes.class_names[boxes.labels[index]]
        color = class_color(name)
        pose = _pose_msg(boxes, index)
        x, y, z = (float(value) for value in boxes.centers[index])
        length, _, height = (float(value) for value in boxes.sizes[index])
        message.markers.append(
            Marker(
                **common,
                ns=f"boxes/{group}",
                id=marker_id,
                type=Marker.CUBE,
                pose=pose,
                scale=_vector_msg(boxes.sizes[index]),
                color=_color_msg(color, 0.45),
            )
        )
        yaw = float(boxes.yaws[index])
        front = (x + 0.5 * length * math.cos(yaw), y + 0.5 * length * math.sin(yaw))
        tip = (x + 0.9 * length * math.cos(yaw), y + 0.9 * length * math.sin(yaw))
        headings.points += [Point(x=front[0], y=front[1], z=z), Point(x=tip[0], y=tip[1], z=z)]
        vx, vy = (float(value) for value in boxes.velocities[index])
        if _STANDING_M_S < math.hypot(vx, vy) < math.inf:
            headings.points += [Point(x=x, y=y, z=z), Point(x=x + vx, y=y + vy, z=z)]
        label = Marker(
            **common,
            ns=f"labels/{group}",
            id=marker_id,
            type=Marker.TEXT_VIEW_FACING,
            text=f"{name} {boxes.scores[index]:.2f} {_track_name(boxes, index)}".rstrip(),
            color=_color_msg(color, 1.0),
        )
        label.pose.position = Point(x=x, y=y, z=z + 0.5 * height + 0.6)
        label.scale.z = 0.8
        message.markers.append(label)
        trail = (trails or {}).get(int(boxes.track_ids[index]))
        if trail is not None:
            line = Marker(header=header_msg(stamp_ns, trails_frame), lifetime=lifetime, ns=f"trails/{group}")
            line.id, line.type, line.color = marker_id, Marker.LINE_STRIP, _color_msg(color, 0.8)
            line.scale.x, line.pose.orientation.w = 0.1, 1.0
            line.points = [Point(x=px, y=py, z=pz) for px, py, pz in trail.tolist()]
            message.markers.append(line)
    title = Marker(
        **common, ns="model", type=Marker.TEXT_VIEW_FACING, text=description, color=_color_msg((255, 196, 0), 1.0)
    )
    title.pose.position = Point(x=0.0, y=0.0, z=4.0)
    title.scale.z = 1.0
    message.markers += [headings, title]
    return message


def with_deletions(message: MarkerArray, shown: Collection[tuple[str, int]] | None) -> MarkerArray:
    """Return the markers with orders in front to delete those of `shown`, (namespace, id), that are no longer there.

    Args:
        shown: the markers of the message before; None deletes everything, whoever put it there.
    """
    if shown is None:
        deletions = [Marker(header=message.markers[0].header, action=Marker.DELETEALL)]
    else:
        ended = sorted(set(shown) - marker_keys(message))
        deletions = [Marker(header=message.markers[0].header, action=Marker.DELETE, ns=ns, id=k) for ns, k in ended]
    return MarkerArray(markers=[*deletions, *message.markers])


def marker_keys(message: MarkerArray) -> set[tuple[str, int]]:
    """Return namespace and id of each marker."""
    return {(marker.ns, marker.id) for marker in message.markers}


def image_msg(rgb: UInt8Array, stamp_ns: int, frame_id: str) -> Image:
    """Return an RGB picture (H, W, 3) as an Image message."""
    height, width = rgb.shape[:2]
    message = Image(header=header_msg(stamp_ns, frame_id), height=height, width=width, encoding="rgb8", is_bigendian=0)
    message.step = 3 * width
    data = array("B")
    data.frombytes(memoryview(rgb).cast("B"))
    message.data = data
    return message


def timing_msg(
    stamp_ns: int, stages_s: Mapping[str, float], total_s: float, latency_s: float, dropped_sets: int
) -> StageTiming:
    """Return where the time of one result went."""
    return StageTiming(
        header=header_msg(stamp_ns, ""),
        stages=list(stages_s),
        durations_ms=array("f", [seconds * 1e3 for seconds in stages_s.values()]),
        total_ms=total_s * 1e3,
        latency_ms=latency_s * 1e3,
        dropped_sets=dropped_sets,
    )


def _detection_msg(boxes: Boxes3D, index: int) -> BevDetection:
    assert boxes.track_ids is not None
    vx, vy = (float(value) for value in boxes.velocities[index])
    return BevDetection(
        pose=_pose_msg(boxes, index),
        size=_vector_msg(boxes.sizes[index]),
        velocity=Vector3(x=vx, y=vy, z=0.0),
        label=boxes.class_names[boxes.labels[index]],
        score=float(boxes.scores[index]),
        track_id=int(boxes.track_ids[index]),
    )


def _pose_msg(boxes: Boxes3D, index: int) -> Pose:
    x, y, z = (float(value) for value in boxes.centers[index])
    half_yaw = 0.5 * float(boxes.yaws[index])
    orientation = Quaternion(x=0.0, y=0.0, z=math.sin(half_yaw), w=math.cos(half_yaw))
    return Pose(position=Point(x=x, y=y, z=z), orientation=orientation)


def _vector_msg(values: Any) -> Vector3:
    x, y, z = (float(value) for value in values)
    return Vector3(x=x, y=y, z=z)


def _color_msg(rgb: tuple[int, int, int], alpha: float) -> ColorRGBA:
    red, green, blue = (value / 255.0 for value in rgb)
    return ColorRGBA(r=red, g=green, b=blue, a=alpha)


def _track_name(boxes: Boxes3D, index: int) -> str:
    assert boxes.track_ids is not None
    return "" if boxes.track_ids[index] < 0 else str(int(boxes.track_ids[index]))


def _marker_names(boxes: Boxes3D) -> Iterator[tuple[str, int]]:
    """Yield class and number of each box: its track, or its place among the boxes of the class without one."""
    assert boxes.track_ids is not None
    counts: Counter[str] = Counter()
    for label, track_id in zip(boxes.labels.tolist(), boxes.track_ids.tolist(), strict=True):
        name = boxes.class_names[label]
        if track_id >= 0:
            yield name, track_id & _LARGEST_MARKER_ID
        else:
            yield f"{name} without track", counts[name]
            counts[name] += 1
