"""Starts the point encoder: ros2 launch lift3d_ros point_features.launch.py cloud:=/lidar/points."""

from launch import LaunchDescription
from lift3d_ros.nodes.launch_node import LaunchArgument, launch_node

ARGUMENTS = {
    "cloud": LaunchArgument("topics.cloud", "topic of the point clouds (sensor_msgs/PointCloud2)"),
    "boxes": LaunchArgument("topics.boxes", "topic of 3D boxes of the objects to encode; empty: clouds as a whole"),
    "boxes_type": LaunchArgument(
        "topics.boxes_type", "lift3d_ros (BevDetectionArray) or vision_msgs (Detection3DArray)"
    ),
    "classifier": LaunchArgument("encoder.classifier", "classifier.safetensors of 'lift3d fit-classifier'"),
}


def generate_launch_description() -> LaunchDescription:
    return launch_node("point_features", ARGUMENTS, results="features", rviz="point_features.rviz")
