"""Starts the surround-camera 3D detector: ros2 launch lift3d_ros bev_detection.launch.py rig:=/path/rig.yaml."""

from launch import LaunchDescription
from lift3d_ros.nodes.launch_node import LaunchArgument, launch_node

ARGUMENTS = {"rig": LaunchArgument("rig", "rig file with topics, calibration and mounting of the cameras")}


def generate_launch_description() -> LaunchDescription:
    return launch_node("bev_detection", ARGUMENTS, results="boxes", rviz="bev_detection.rviz")
