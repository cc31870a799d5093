"""Turns reconstructed objects into ROS messages; the only place where that happens.

Field values are plain Python numbers and `array.array`, as the field checks of older distributions demand.
"""

from __future__ import annotations

import importlib.util
import zlib
from array import array
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Pose, Quaternion
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from lift3d_ros.geometry.rigid import transform_points
from lift3d_ros.geometry.rotations import matrix_to_quaternion
from lift3d_ros.nodes.messages import header_msg
from lift3d_ros.pipelines.object_requests import PlacedObject
from lift3d_ros.types import Float64Array

HAS_SHAPE_MSGS = importlib.util.find_spec("shape_msgs") is not None

_LARGEST_MARKER_ID = 2**31 - 1
_CLOUD = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("is_seen", "u1")])
_FIELDS = (("x", 0, PointField.FLOAT32), ("y", 4, PointField.FLOAT32), ("z", 8, PointField.FLOAT32))


def pose_msg(T: Float64Array) -> Pose:
    """Return a transform as a Pose message."""
    x, y, z = T[:3, 3].tolist()
    qx, qy, qz, qw = matrix_to_quaternion(T[:3, :3]).tolist()
    return Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))


def mesh_msg(placed: PlacedObject, T_frame_object: Float64Array) -> Any:
    """Return the mesh as shape_msgs/Mesh with its vertices in a frame; only where `HAS_SHAPE_MSGS`."""
    from shape_msgs.msg import Mesh, MeshTriangle

    return Mesh(
        triangles=[MeshTriangle(vertex_indices=face) for face in placed.mesh.faces.astype(np.uint32)],
        vertices=_points(transform_points(T_frame_object, placed.vertices)),
    )


def cloud_msg(placed: PlacedObject, T_frame_object: Float64Array, frame_id: str) -> PointCloud2:
    """Return the vertices as a cloud with fields x, y, z, rgb and is_seen (0: guessed)."""
    data = np.zeros(len(placed.vertices), _CLOUD)
    points = transform_points(T_frame_object, placed.vertices).astype(np.float32)
    data["x"], data["y"], data["z"] = points.T
    red, green, blue = placed.mesh.colors.astype(np.uint32).T
    data["rgb"] = red << 16 | green << 8 | blue
    data["is_seen"] = placed.mesh.is_seen
    message = PointCloud2(
        header=header_msg(placed.request.stamp_ns, frame_id),
        height=1,
        width=len(data),
        fields=[
            PointField(name=name, offset=offset, datatype=kind, count=1)
            for name, offset, kind in (*_FIELDS, ("rgb", 12, PointField.FLOAT32), ("is_seen", 16, PointField.UINT8))
        ],
        is_bigendian=False,
        point_step=_CLOUD.itemsize,
        row_step=_CLOUD.itemsize * len(data),
        is_dense=True,
    )
    message.data = array("B", data.tobytes())
    return message


def object_marker_msgs(
    placed: PlacedObject, T_frame_object: Float64Array, frame_id: str, lifetime_s: float
) -> MarkerArray:
    """Return the mesh for RViz as coloured triangles, with a label above; an object keeps its markers.

    Args:
        lifetime_s: markers vanish after this time; 0 keeps them until the next mesh of the object.
    """
    request = placed.request
    common: dict[str, Any] = {
        "header": header_msg(request.stamp_ns, frame_id),
        "lifetime": Duration(sec=int(lifetime_s), nanosec=int(lifetime_s % 1.0 * 1e9)),
        "id": zlib.crc32(request.key.encode()) & _LARGEST_MARKER_ID,
        "pose": pose_msg(T_frame_object),
    }
    group = request.label or "object"
    white = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
    mesh = Marker(**common, ns=f"meshes/{group}", type=Marker.TRIANGLE_LIST, color=white)
    mesh.scale.x = mesh.scale.y = mesh.scale.z = 1.0
    corners = placed.mesh.faces.reshape(-1).tolist()
    points = _points(placed.vertices)
    colors = [ColorRGBA(r=r, g=g, b=b, a=1.0) for r, g, b in (placed.mesh.colors / 255.0).tolist()]
    mesh.points = [points[corner] for corner in corners]
    mesh.colors = [colors[corner] for corner in corners]
    label = Marker(**common, ns=f"labels/{group}", type=Marker.TEXT_VIEW_FACING, text=_label(placed))
    extents = np.ptp(placed.vertices, axis=0)
    top = transform_points(T_frame_object, [[0.0, 0.0, float(placed.vertices[:, 2].max() + 0.2 * extents.max())]])[0]
    label.pose = Pose(position=Point(x=float(top[0]), y=float(top[1]), z=float(top[2])))
    label.scale.z, label.color = float(max(0.12 * extents.max(), 0.02)), white
    return MarkerArray(markers=[mesh, label])


def _label(placed: PlacedObject) -> str:
    words = [placed.request.name]
    if not placed.is_metric:
        words.append("of unknown size and place")
    if not placed.mesh.identity.is_trained:
        words.append("untrained weights")
    return ", ".join(words)


def _points(points: Float64Array) -> list[Point]:
    return [Point(x=x, y=y, z=z) for x, y, z in points.tolist()]
