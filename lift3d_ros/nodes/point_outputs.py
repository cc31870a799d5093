"""The topics of the point_features node: publishes a result in each form that somebody listens to."""

from __future__ import annotations

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from sensor_msgs.msg import PointCloud2

from lift3d_ros.msg import PointFeaturesArray
from lift3d_ros.nodes.cloud_messages import colored_cloud_msg, features_msg
from lift3d_ros.pipelines.cloud_sets import PreparedCloudSet
from lift3d_ros.pipelines.stream_colors import StreamColors
from lift3d_ros.types import PointFeatureSet

_RELIABLE = QoSProfile(depth=5)


class PointOutputs:
    """Publishers of one node; what is only looked at is made while somebody subscribes."""

    def __init__(self, node: LifecycleNode) -> None:
        """Create the publishers."""
        create = node.create_lifecycle_publisher
        self._features = create(PointFeaturesArray, "~/features", _RELIABLE)
        self._colored = create(PointCloud2, "~/colored", _RELIABLE)
        self._colors = StreamColors()

    def publish(self, result: PointFeatureSet) -> None:
        """Publish a result."""
        self._features.publish(features_msg(result))

    def publish_colored(self, prepared: PreparedCloudSet, result: PointFeatureSet) -> None:
        """Publish the cloud in the colours of its features."""
        if not self._colored.get_subscription_count():
            return
        points = prepared.output_points
        colors = self._colors.color(points, result)
        self._colored.publish(colored_cloud_msg(points, colors, result.stamp_ns, result.frame_id))
