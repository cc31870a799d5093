"""The topics of the bev_detection node: publishes a result in each form that somebody listens to."""

from __future__ import annotations

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from visualization_msgs.msg import MarkerArray

from lift3d_ros.msg import BevDetectionArray
from lift3d_ros.nodes.messages import (
    HAS_VISION_MSGS,
    detections_msg,
    image_msg,
    marker_keys,
    marker_msgs,
    vision_detections_msg,
    with_deletions,
)
from lift3d_ros.types import BevDetections, Boxes3D, FrameSet
from lift3d_ros.viz.bev import draw_bev
from lift3d_ros.viz.trails import TrackTrails

_RELIABLE = QoSProfile(depth=5)


class BevOutputs:
    """Publishers of one node; what is only looked at is made while somebody subscribes."""

    def __init__(self, node: LifecycleNode, marker_lifetime_s: float) -> None:
        """Create the publishers.

        Args:
            marker_lifetime_s: markers vanish after this time without a result.
        """
        create = node.create_lifecycle_publisher
        self._marker_lifetime_s = marker_lifetime_s
        self._shown: set[tuple[str, int]] | None = None  # markers; None before the first ones
        self._trails = TrackTrails()
        self._publishers = {
            "detections": create(BevDetectionArray, "~/detections", _RELIABLE),
            "markers": create(MarkerArray, "~/markers", _RELIABLE),
            "bev": create(Image, "~/bev", _RELIABLE),
        }
        if HAS_VISION_MSGS:
            from vision_msgs.msg import Detection3DArray

            self._publishers["detections_vision"] = create(Detection3DArray, "~/detections_vision", _RELIABLE)

    def publish(self, result: BevDetections, boxes: Boxes3D) -> None:
        """Publish a result; `boxes` are its boxes in the output frame."""
        self._publishers["detections"].publish(detections_msg(result, boxes))
        if self._is_watched("detections_vision"):
            self._publishers["detections_vision"].publish(vision_detections_msg(boxes, result.stamp_ns, result.model))

    def publish_views(self, result: BevDetections, boxes: Boxes3D, frame_set: FrameSet) -> None:
        """Publish markers and the bird's-eye picture of a result; `frame_set` is the one that made it."""
        is_watched = {output: self._is_watched(output) for output in ("markers", "bev")}
        if not any(is_watched.values()):
            return
        description, base_frame = result.model.description, result.boxes.frame_id
        trails = self._trails.add(result.boxes, result.stamp_ns, frame_set.ego)
        if is_watched["markers"]:
            markers = marker_msgs(boxes, result.stamp_ns, description, self._marker_lifetime_s, trails, base_frame)
            self._publishers["markers"].publish(with_deletions(markers, self._shown))
            self._shown = marker_keys(markers)
        if is_watched["bev"]:
            picture = draw_bev(result.boxes, views=frame_set.views, trails=trails, caption=description)
            self._publishers["bev"].publish(image_msg(picture, result.stamp_ns, base_frame))

    def _is_watched(self, output: str) -> bool:
        return output in self._publishers and bool(self._publishers[output].get_subscription_count() > 0)
