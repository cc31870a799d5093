"""The topics of the skeleton_lifting node: publishes a result in each form that somebody listens to."""

from __future__ import annotations

import dataclasses

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from visualization_msgs.msg import MarkerArray

from lift3d_ros.geometry.rigid import transform_points
from lift3d_ros.msg import Skeleton3DArray
from lift3d_ros.nodes.messages import marker_keys, with_deletions
from lift3d_ros.nodes.skeleton_messages import skeleton_marker_msgs, skeletons_msg
from lift3d_ros.types import Float64Array, Skeletons3D

_RELIABLE = QoSProfile(depth=5)
# Markers vanish after this time without a result.
_MARKER_LIFETIME_S = 1.0


class SkeletonOutputs:
    """Publishers of one node; what is only looked at is made while somebody subscribes."""

    def __init__(self, node: LifecycleNode) -> None:
        """Create the publishers."""
        create = node.create_lifecycle_publisher
        self._shown: set[tuple[str, int]] | None = None  # markers; None before the first ones
        self._skeletons = create(Skeleton3DArray, "~/skeletons", _RELIABLE)
        self._markers = create(MarkerArray, "~/markers", _RELIABLE)

    def publish(self, result: Skeletons3D) -> None:
        """Publish a result."""
        self._skeletons.publish(skeletons_msg(result))

    def publish_markers(self, result: Skeletons3D, optical_frame: str) -> None:
        """Publish the markers of a result; `optical_frame` is that of the keypoints."""
        if not self._markers.get_subscription_count():
            return
        markers = skeleton_marker_msgs(result, optical_frame, _MARKER_LIFETIME_S)
        self._markers.publish(with_deletions(markers, self._shown))
        self._shown = marker_keys(markers)


def in_frame(result: Skeletons3D, T_target_optical: Float64Array, target: str) -> Skeletons3D:
    """Return the result with its metric skeletons in the frame `target`; normalised ones have no place to move."""
    skeletons = []
    for skeleton in result.skeletons:
        if skeleton.is_metric:
            points = transform_points(T_target_optical, skeleton.hypotheses.reshape(-1, 3))
            skeleton = dataclasses.replace(skeleton, hypotheses=points.reshape(skeleton.hypotheses.shape))
        skeletons.append(skeleton)
    return dataclasses.replace(result, frame_id=target, skeletons=tuple(skeletons))
