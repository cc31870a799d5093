"""Turns lifted skeletons into ROS messages; the only place where that happens.

Field values are plain Python numbers and `array.array`, as the field checks of older distributions demand.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from lift3d_ros.msg import Skeleton3D as Skeleton3DMsg
from lift3d_ros.msg import Skeleton3DArray
from lift3d_ros.nodes.messages import header_msg
from lift3d_ros.types import Float64Array, Skeleton3D, Skeletons3D
from lift3d_ros.viz.palette import WARNING, Color
from lift3d_ros.viz.skeletons import SIDE_COLORS

_LARGEST_MARKER_ID = 2**31 - 1
_COMPLETED: Color = (120, 120, 120)
# Normalised skeletons have no place: they are drawn side by side in front of the camera, one unit as one metre.
_SHELF_DISTANCE_M, _SHELF_STEP_M = 5.0, 2.5


def skeletons_msg(result: Skeletons3D) -> Skeleton3DArray:
    """Return a result as a message; metric joints are in ``result.frame_id``."""
    return Skeleton3DArray(
        header=header_msg(result.stamp_ns, result.frame_id),
        skeletons=[_skeleton_msg(skeleton) for skeleton in result.skeletons],
        model=result.model.name,
        weights_sha256=result.model.weights_sha256,
        is_trained=result.model.is_trained,
    )


def skeleton_marker_msgs(result: Skeletons3D, optical_frame: str, lifetime_s: float) -> MarkerArray:
    """Return skeletons for RViz: bones and joints, a cross of one standard deviation at each joint, labels, the model.

    Left is one colour and right another; joints that were not seen are grey. Where nothing decided between the two
    mirror images, the other one is drawn thin. A tracked skeleton keeps its marker from message to message.

    Args:
        optical_frame: in front of which normalised skeletons are drawn, which have no place.
    """
    lifetime = Duration(sec=int(lifetime_s), nanosec=int(lifetime_s % 1.0 * 1e9))
    header, shelf = header_msg(result.stamp_ns, result.frame_id), header_msg(result.stamp_ns, optical_frame)
    title = Marker(header=shelf, lifetime=lifetime, ns="model", type=Marker.TEXT_VIEW_FACING)
    title.text, title.color, title.scale.z = result.model.description, _color_msg(WARNING, 1.0), 0.15
    message, places = MarkerArray(markers=[title]), 0
    for skeleton, (group, marker_id) in zip(result.skeletons, _marker_names(result), strict=True):
        common: dict[str, Any] = {"header": header, "lifetime": lifetime, "id": marker_id}
        joints = skeleton.hypotheses
        if not skeleton.is_metric:
            joints = joints + np.array([_SHELF_STEP_M * places, 0.0, _SHELF_DISTANCE_M])
            common["header"] = shelf
            places += 1
        message.markers += _markers_of(skeleton, joints, group, common)
    return message


def _skeleton_msg(skeleton: Skeleton3D) -> Skeleton3DMsg:
    has_several = len(skeleton.probabilities) > 1
    return Skeleton3DMsg(
        skeleton=skeleton.skeleton.name,
        joint_names=list(skeleton.skeleton.joint_names),
        edges=array("H", skeleton.skeleton.edges.reshape(-1).tolist()),
        points=_floats(skeleton.joints),
        is_valid=skeleton.is_observed.tolist(),
        uncertainty=_floats(skeleton.uncertainty),
        is_metric=skeleton.is_metric,
        scale_source=skeleton.scale_source,
        scale_std=float(skeleton.scale_std),
        hypotheses=_floats(skeleton.hypotheses) if has_several else array("f"),
        probabilities=_floats(skeleton.probabilities) if has_several else array("f"),
        mirror_cue=skeleton.mirror_cue,
        category=skeleton.category,
        score=float(skeleton.score),
        instance_id=skeleton.instance_id,
        track_id=skeleton.track_id,
    )


def _floats(values: Float64Array) -> array[float]:
    return array("f", values.reshape(-1).tolist())


def _markers_of(skeleton: Skeleton3D, joints: Float64Array, group: str, common: dict[str, Any]) -> Iterator[Marker]:
    """Yield the markers of one skeleton; `joints` (H, J, 3) are where it is drawn."""
    best, edges = joints[0], skeleton.skeleton.edges
    size = max(float(np.ptp(best, axis=0).max()), 1e-3)
    sides = skeleton.skeleton.sides
    colors = [SIDE_COLORS[int(side)] for side in sides]
    joint_colors = [
        _color_msg(color if is_seen else _COMPLETED, 1.0)
        for color, is_seen in zip(colors, skeleton.is_observed, strict=True)
    ]
    spheres = Marker(**common, ns=f"joints/{group}", type=Marker.SPHERE_LIST, points=_points(best), colors=joint_colors)
    spheres.scale.x = spheres.scale.y = spheres.scale.z = 0.03 * size
    yield spheres
    if len(edges):
        bones = _lines(best[edges].reshape(-1, 3), f"bones/{group}", 0.012 * size, common)
        # Of an edge between both sides neither colour would be right.
        kinds = [{int(side) for side in sides[edge]} - {0} for edge in edges]
        bone_colors = [_color_msg(SIDE_COLORS[kind.pop() if len(kind) == 1 else 0], 1.0) for kind in kinds]
        bones.colors = [color for color in bone_colors for _ in range(2)]
        yield bones
        if skeleton.mirror_cue == "undecided" and len(joints) > 1:
            other = _lines(joints[1][edges].reshape(-1, 3), f"other mirror image/{group}", 0.004 * size, common)
            other.color = _color_msg(_COMPLETED, 0.7)
            yield other
    reach = np.nan_to_num(skeleton.uncertainty)[:, None, None] * np.eye(3)
    crosses = np.stack([best[:, None] - reach, best[:, None] + reach], axis=2).reshape(-1, 3)
    uncertainty = _lines(crosses, f"uncertainty/{group}", 0.004 * size, common)
    uncertainty.color = _color_msg(WARNING, 0.8)
    yield uncertainty
    label = Marker(**common, ns=f"labels/{group}", type=Marker.TEXT_VIEW_FACING, text=_label(skeleton))
    top = best.mean(axis=0)
    label.pose.position = Point(x=float(top[0]), y=float(top[1]), z=float(top[2]))
    label.scale.z, label.color = 0.08 * size, _color_msg((255, 255, 255), 1.0)
    yield label


def _lines(points: Float64Array, namespace: str, width: float, common: dict[str, Any]) -> Marker:
    marker = Marker(**common, ns=namespace, type=Marker.LINE_LIST, points=_points(points))
    marker.scale.x, marker.pose.orientation.w = width, 1.0
    return marker


def _points(points: Float64Array) -> list[Point]:
    return [Point(x=x, y=y, z=z) for x, y, z in points.tolist()]


def _label(skeleton: Skeleton3D) -> str:
    """Return what a viewer has to know: what it is, and what is not known of it."""
    words = [skeleton.category or skeleton.skeleton.name]
    if skeleton.track_id >= 0:
        words.append(str(skeleton.track_id))
    if not skeleton.is_metric:
        words.append("normalised, no metres")
    if skeleton.mirror_cue == "undecided":
        words.append(f"mirror undecided {skeleton.probabilities[0]:.2f}")
    return " ".join(words)


def _marker_names(result: Skeletons3D) -> Iterator[tuple[str, int]]:
    """Yield group and number of each skeleton: its track, or its place among those of its kind without one."""
    counts: Counter[str] = Counter()
    for skeleton in result.skeletons:
        # A hand may have category and track id of its body.
        name = f"{skeleton.category} {skeleton.skeleton.name}".lstrip()
        if skeleton.track_id >= 0:
            yield name, skeleton.track_id & _LARGEST_MARKER_ID
        else:
            yield f"{name} without track", counts[name]
            counts[name] += 1


def _color_msg(rgb: Color, alpha: float) -> ColorRGBA:
    red, green, blue = (value / 255.0 for value in rgb)
    return ColorRGBA(r=red, g=green, b=blue, a=alpha)
