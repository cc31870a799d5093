"""The topics and files of the object_reconstruction node: puts out a mesh in each form that somebody wants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import Marker, MarkerArray

from lift3d_ros.atomic_file import write_atomically
from lift3d_ros.errors import Lift3dError
from lift3d_ros.nodes.diagnostics import Level, Status
from lift3d_ros.nodes.object_messages import HAS_SHAPE_MSGS, cloud_msg, mesh_msg, object_marker_msgs
from lift3d_ros.nodes.results import ResultTiming
from lift3d_ros.pipelines.object_requests import ObjectOutputConfig, PlacedObject, mesh_file
from lift3d_ros.types import Float64Array

_RELIABLE = QoSProfile(depth=5)
# Meshes are rare: who comes later gets the last one.
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class ObjectOutputs:
    """Publishers and folder of one node; what is only looked at is made while somebody subscribes."""

    def __init__(self, node: LifecycleNode, config: ObjectOutputConfig) -> None:
        """Create the publishers."""
        self._config = config
        create = node.create_lifecycle_publisher
        self._points = create(PointCloud2, "~/points", _LATCHED)
        self._markers = create(MarkerArray, "~/markers", _RELIABLE)
        self._mesh: Any = None
        if HAS_SHAPE_MSGS:
            from shape_msgs.msg import Mesh

            self._mesh = create(Mesh, "~/mesh", _LATCHED)
        self._has_shown = False

    def publish(self, placed: PlacedObject, T_frame_object: Float64Array, frame_id: str) -> None:
        """Publish an object; cloud and mesh are in metres, so that without metres there are only markers."""
        if placed.is_metric:
            self._points.publish(cloud_msg(placed, T_frame_object, frame_id))
            # Made for nobody as well: who comes later gets it.
            if self._mesh is not None:
                self._mesh.publish(mesh_msg(placed, T_frame_object))
        if not self._markers.get_subscription_count():
            return
        message = object_marker_msgs(placed, T_frame_object, frame_id, self._config.marker_lifetime_s)
        if not self._has_shown:
            message.markers.insert(0, Marker(header=message.markers[0].header, action=Marker.DELETEALL))
            self._has_shown = True
        self._markers.publish(message)

    def write(self, placed: PlacedObject) -> Path | None:
        """Write the mesh under the folder of the configuration and return where; None where there is no folder.

        Raises:
            Lift3dError: it cannot be written.
        """
        if not self._config.folder:
            return None
        path = mesh_file(Path(self._config.folder), self._config.file, placed.request)
        try:
            write_atomically(path, placed.glb())
        except OSError as error:
            raise Lift3dError(
                f"{path}: the mesh cannot be written ({error.strerror or error}); check permissions and free space, or "
                "name another folder in output.folder"
            ) from None
        return path


def object_status(placed: PlacedObject, cutting: str, timing: ResultTiming) -> Status:
    """Return how one object went.

    Args:
        cutting: what told it from what is around it.
    """
    identity, mesh = placed.mesh.identity, placed.mesh
    values = {
        "model": identity.description,
        "weights": identity.weights_sha256,
        "backend": identity.backend,
        "size from": "unknown" if mesh.pose is None else mesh.pose.scale_source,
        "cut out by": cutting,
        "triangles": str(len(mesh.faces)),
        "field queries": str(mesh.num_queries),
        "total": f"{timing.total_s:.2f} s",
        "latency": f"{timing.latency_s:.2f} s",
    }
    values |= {f"stage {name}": f"{seconds * 1e3:.0f} ms" for name, seconds in timing.stages_s.items()}
    sentences = [] if placed.is_metric else [f"{placed.request.name}: its size is not known"]
    sentences += [] if identity.is_trained else ["untrained weights: the shape has no meaning"]
    return Status(Level.WARN if sentences else Level.OK, "; ".join(sentences) or placed.summary, values)
