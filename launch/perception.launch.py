"""Starts any of the nodes: ros2 launch lift3d_ros perception.launch.py nodes:=bev_detection,object_reconstruction."""

from launch import LaunchDescription
from lift3d_ros.nodes.launch_perception import launch_perception


def generate_launch_description() -> LaunchDescription:
    return launch_perception()
