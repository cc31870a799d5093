"""Starts the skeleton lifter: ros2 launch lift3d_ros skeleton_lifting.launch.py keypoints:=/front/keypoints."""

from launch import LaunchDescription
from lift3d_ros.nodes.launch_node import LaunchArgument, launch_node

ARGUMENTS = {
    "keypoints": LaunchArgument("topics.keypoints", "topic of the 2D keypoints of one camera"),
    "keypoints_type": LaunchArgument(
        "topics.keypoints_type", "lift3d_ros (Keypoints2DArray) or yolo_ros (yolo_msgs/DetectionArray)"
    ),
    "camera_info": LaunchArgument("topics.camera_info", "topic of the calibration of this camera"),
    "depth": LaunchArgument(
        "topics.depth", "topic of depth pictures registered to the pictures of the keypoints, for scale"
    ),
    "boxes": LaunchArgument("topics.boxes", "topic of detected 3D boxes, for scale"),
    "gravity_frame": LaunchArgument("input.gravity_frame", "frame whose z axis points up"),
}


def generate_launch_description() -> LaunchDescription:
    return launch_node("skeleton_lifting", ARGUMENTS, results="skeletons", rviz="skeletons.rviz")
